//! The filters of HTTPRoute and GRPCRoute.
//!
//! In: filters as written, type and members side by side. Out: plain data with accessors for defaults.
//! Deliberately not here: agreement of type and member (`validate`), behaviour (`filter`).

use serde::{Deserialize, Serialize};

use super::refs::{BackendObjectReference, LocalObjectReference};
use super::values::string_enum;

/// One step of what happens to a request or response. Exactly the member named by `type` should be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRouteFilter {
    /// Which member applies.
    #[serde(rename = "type")]
    pub kind: FilterType,
    /// Changes request headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes response headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy of the request elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// Answers with a redirect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_redirect: Option<HttpRequestRedirectFilter>,
    /// Changes host or path on the way to the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_rewrite: Option<HttpUrlRewriteFilter>,
    /// Answers cross-origin preflights and marks responses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<HttpCorsFilter>,
    /// Asks an authorization service first (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_auth: Option<HttpExternalAuthFilter>,
    /// A filter of the implementation or the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

string_enum! {
    /// Kind of a filter.
    FilterType {
        /// Changes request headers.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Changes response headers.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Sends a copy of the request elsewhere.
        RequestMirror = "RequestMirror",
        /// Answers with a redirect.
        RequestRedirect = "RequestRedirect",
        /// Changes host or path on the way to the backend.
        UrlRewrite = "URLRewrite",
        /// A filter of the implementation or the application.
        ExtensionRef = "ExtensionRef",
        /// Answers cross-origin preflights and marks responses.
        Cors = "CORS",
        /// Asks an authorization service first (experimental).
        ExternalAuth = "ExternalAuth",
    }
}

/// Changes to headers. A name should occur in only one of the lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpHeaderFilter {
    /// Headers to overwrite, at most 16, keyed by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<HttpHeader>,
    /// Headers to append to, at most 16, keyed by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<HttpHeader>,
    /// Names of headers to remove, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpHeader {
    /// Name, in any case.
    pub name: String,
    /// Value.
    pub value: String,
}

/// Sends a copy of the request elsewhere and ignores the response.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRequestMirrorFilter {
    /// Where the copy goes.
    pub backend_ref: BackendObjectReference,
    /// Share of requests to copy, 0 to 100; excludes `fraction`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Share of requests to copy; excludes `percent`. Default: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Fraction {
    /// Parts, 0 or more; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numerator: Option<i32>,
    /// Parts of the whole, 1 or more; default 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denominator: Option<i32>,
}

impl Fraction {
    /// The parts; a missing number reads as 0.
    #[must_use]
    pub fn numerator(&self) -> i32 {
        self.numerator.unwrap_or(0)
    }

    /// The parts of the whole, after defaulting.
    #[must_use]
    pub fn denominator(&self) -> i32 {
        self.denominator.unwrap_or(100)
    }
}

/// Answers with a redirect. What is not set comes from the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRequestRedirectFilter {
    /// Scheme of the new location, `http` or `https`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheme: Option<RedirectScheme>,
    /// Host of the new location, without wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Path of the new location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
    /// Port of the new location.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// 301, 302 (default), 303, 307 or 308.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<i32>,
}

impl HttpRequestRedirectFilter {
    /// The status code after defaulting.
    #[must_use]
    pub fn status_code(&self) -> i32 {
        self.status_code.unwrap_or(302)
    }
}

string_enum! {
    /// Scheme of a redirect.
    RedirectScheme {
        /// Plain HTTP.
        Http = "http",
        /// HTTP over TLS.
        Https = "https",
    }
}

/// Changes host or path on the way to the backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpUrlRewriteFilter {
    /// New host, without wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// New path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathModifier>,
}

/// A new path. Exactly the member named by `type` should be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpPathModifier {
    /// Which member applies.
    #[serde(rename = "type")]
    pub kind: HttpPathModifierType,
    /// Replaces the whole path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_full_path: Option<String>,
    /// Replaces the prefix that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replace_prefix_match: Option<String>,
}

string_enum! {
    /// How a path is changed.
    HttpPathModifierType {
        /// As a whole.
        ReplaceFullPath = "ReplaceFullPath",
        /// Only the prefix that matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpCorsFilter {
    /// Origins that may ask, maybe with wildcards, at most 64; a single `*` stands for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_origins: Vec<String>,
    /// Whether credentials are allowed; default: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_credentials: Option<bool>,
    /// Methods that are allowed, at most 9; a single `*` stands for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_methods: Vec<CorsMethod>,
    /// Request headers that are allowed, at most 64; a single `*` stands for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow_headers: Vec<String>,
    /// Response headers that scripts may read, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose_headers: Vec<String>,
    /// For how many seconds the answer may be kept; default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<i32>,
}

impl HttpCorsFilter {
    /// Whether credentials are allowed, after defaulting.
    #[must_use]
    pub fn allow_credentials(&self) -> bool {
        self.allow_credentials.unwrap_or(false)
    }

    /// For how many seconds the answer may be kept, after defaulting.
    #[must_use]
    pub fn max_age(&self) -> i32 {
        self.max_age.unwrap_or(5)
    }
}

string_enum! {
    /// A method that is allowed across origins.
    CorsMethod {
        /// GET
        Get = "GET",
        /// HEAD
        Head = "HEAD",
        /// POST
        Post = "POST",
        /// PUT
        Put = "PUT",
        /// DELETE
        Delete = "DELETE",
        /// CONNECT
        Connect = "CONNECT",
        /// OPTIONS
        Options = "OPTIONS",
        /// TRACE
        Trace = "TRACE",
        /// PATCH
        Patch = "PATCH",
        /// Every method.
        Any = "*",
    }
}

/// Asks an authorization service before the request goes on (experimental).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpExternalAuthFilter {
    /// How the service is spoken to.
    pub protocol: ExternalAuthProtocol,
    /// The service.
    pub backend_ref: BackendObjectReference,
    /// Settings, if the protocol is GRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcAuthConfig>,
    /// Settings, if the protocol is HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpAuthConfig>,
    /// Whether the service sees the body; default: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_body: Option<ForwardBodyConfig>,
}

string_enum! {
    /// How an authorization service is spoken to.
    ExternalAuthProtocol {
        /// HTTP.
        Http = "HTTP",
        /// Envoy's gRPC protocol.
        Grpc = "GRPC",
    }
}

/// Settings for a gRPC authorization service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcAuthConfig {
    /// Request headers that the service sees, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
}

/// Settings for an HTTP authorization service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpAuthConfig {
    /// Prefix of the path of requests to the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Request headers that the service sees, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_headers: Vec<String>,
    /// Headers of the service's answer that the backend sees, at most 64.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_response_headers: Vec<String>,
}

/// Whether an authorization service sees the body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ForwardBodyConfig {
    /// At most so many bytes; 0 means no body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_size: Option<i64>,
}
