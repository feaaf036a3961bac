//! HTTPRoute: which request goes where.
//!
//! In: rules as written. Out: plain data with accessors for defaults.
//! Deliberately not here: filters (`http_filter`), matching (`matcher`), precedence (`compile`).

use serde::{Deserialize, Serialize};

use super::condition::RouteStatus;
use super::gateway::GatewayDefaultScope;
use super::http_filter::HttpRouteFilter;
use super::meta::ObjectMeta;
use super::refs::{BackendObjectReference, ParentReference};
use super::values::{Duration, string_enum};

/// Routing of HTTP requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRoute {
    /// Name and age; age decides between equal matches.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: HttpRouteSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RouteStatus>,
}

/// What is wanted of an HTTPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRouteSpec {
    /// Gateways, ListenerSets or Services to attach to, at most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether to attach to default Gateways (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Hostnames to serve, at most 16; none means all of the listener.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Rules, 1 to 16; default: one that matches everything and has no backends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<HttpRouteRule>,
}

/// One rule: what to match, how to treat it, where to send it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRouteRule {
    /// Name, unique in the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Alternatives, at most 64; default: the path prefix `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpRouteMatch>,
    /// What to do with requests and responses, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<HttpRouteFilter>,
    /// Where to send requests, by weight, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<HttpBackendRef>,
    /// Time limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<HttpRouteTimeouts>,
    /// When to try again (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<HttpRouteRetry>,
    /// Whether a client stays with its backend (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions on a request, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRouteMatch {
    /// Condition on the path; default: the prefix `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<HttpPathMatch>,
    /// Conditions on headers, at most 16, keyed by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HttpHeaderMatch>,
    /// Conditions on query parameters, at most 16, keyed by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_params: Vec<HttpQueryParamMatch>,
    /// Condition on the method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<HttpMethod>,
}

/// Condition on the path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpPathMatch {
    /// How the value is compared; default: PathPrefix.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<PathMatchType>,
    /// The value; default `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl HttpPathMatch {
    /// How the value is compared, after defaulting.
    #[must_use]
    pub fn kind(&self) -> &PathMatchType {
        self.kind.as_ref().unwrap_or(&PathMatchType::PathPrefix)
    }

    /// The value after defaulting.
    #[must_use]
    pub fn value(&self) -> &str {
        self.value.as_deref().unwrap_or("/")
    }
}

string_enum! {
    /// How a path is compared.
    PathMatchType {
        /// The whole path, byte for byte.
        Exact = "Exact",
        /// Whole segments from the start.
        PathPrefix = "PathPrefix",
        /// A regular expression.
        RegularExpression = "RegularExpression",
    }
}

/// Condition on a header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpHeaderMatch {
    /// How the value is compared; default: Exact.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<HeaderMatchType>,
    /// Name of the header, in any case.
    pub name: String,
    /// The value.
    pub value: String,
}

impl HttpHeaderMatch {
    /// How the value is compared, after defaulting.
    #[must_use]
    pub fn kind(&self) -> &HeaderMatchType {
        self.kind.as_ref().unwrap_or(&HeaderMatchType::Exact)
    }
}

string_enum! {
    /// How a header is compared.
    HeaderMatchType {
        /// The whole value.
        Exact = "Exact",
        /// A regular expression.
        RegularExpression = "RegularExpression",
    }
}

/// Condition on a query parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpQueryParamMatch {
    /// How the value is compared; default: Exact.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<QueryParamMatchType>,
    /// Name of the parameter, case-sensitive.
    pub name: String,
    /// The value.
    pub value: String,
}

impl HttpQueryParamMatch {
    /// How the value is compared, after defaulting.
    #[must_use]
    pub fn kind(&self) -> &QueryParamMatchType {
        self.kind.as_ref().unwrap_or(&QueryParamMatchType::Exact)
    }
}

string_enum! {
    /// How a query parameter is compared.
    QueryParamMatchType {
        /// The whole value.
        Exact = "Exact",
        /// A regular expression.
        RegularExpression = "RegularExpression",
    }
}

string_enum! {
    /// Method of a request.
    HttpMethod {
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
    }
}

/// A backend of an HTTPRoute, with its share of the traffic and its own filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatHttpBackendRef", into = "FlatHttpBackendRef")]
pub struct HttpBackendRef {
    /// Where to send requests.
    pub reference: BackendObjectReference,
    /// Share of the traffic, relative to the sum of the rule; default 1.
    pub weight: Option<i32>,
    /// What to do with requests that go to this backend, at most 16.
    pub filters: Vec<HttpRouteFilter>,
}

impl HttpBackendRef {
    /// The weight after defaulting.
    #[must_use]
    pub fn weight(&self) -> i32 {
        self.weight.unwrap_or(1)
    }
}

/// How an [`HttpBackendRef`] is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlatHttpBackendRef {
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<i32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filters: Vec<HttpRouteFilter>,
}

impl From<FlatHttpBackendRef> for HttpBackendRef {
    fn from(flat: FlatHttpBackendRef) -> Self {
        let FlatHttpBackendRef { group, kind, name, namespace, port, weight, filters } = flat;
        Self {
            reference: BackendObjectReference { group, kind, name, namespace, port },
            weight,
            filters,
        }
    }
}

impl From<HttpBackendRef> for FlatHttpBackendRef {
    fn from(backend: HttpBackendRef) -> Self {
        let HttpBackendRef { reference, weight, filters } = backend;
        let BackendObjectReference { group, kind, name, namespace, port } = reference;
        Self { group, kind, name, namespace, port, weight, filters }
    }
}

/// Time limits of a rule; `0s` turns a limit off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRouteTimeouts {
    /// From the request's arrival to the end of the response, retries included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Duration>,
    /// For one attempt at a backend; not longer than `request`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend_request: Option<Duration>,
}

/// When to try again (experimental).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HttpRouteRetry {
    /// Response codes of the backend that call for another attempt, each 400 to 599.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<i32>,
    /// Attempts after the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i32>,
    /// Least time between attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// Whether a client stays with its backend (experimental).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SessionPersistence {
    /// Name of the cookie or header, at most 128 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// When a session ends at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absolute_timeout: Option<Duration>,
    /// What carries the session; default: Cookie.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<SessionPersistenceType>,
    /// Settings of the cookie.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_config: Option<CookieConfig>,
}

impl SessionPersistence {
    /// What carries the session, after defaulting.
    #[must_use]
    pub fn kind(&self) -> &SessionPersistenceType {
        self.kind.as_ref().unwrap_or(&SessionPersistenceType::Cookie)
    }
}

string_enum! {
    /// What carries a session.
    SessionPersistenceType {
        /// A cookie.
        Cookie = "Cookie",
        /// A header.
        Header = "Header",
    }
}

/// Settings of a session cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CookieConfig {
    /// How long the client keeps the cookie; default: Session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime_type: Option<CookieLifetimeType>,
}

impl CookieConfig {
    /// How long the client keeps the cookie, after defaulting.
    #[must_use]
    pub fn lifetime_type(&self) -> &CookieLifetimeType {
        self.lifetime_type.as_ref().unwrap_or(&CookieLifetimeType::Session)
    }
}

string_enum! {
    /// How long a client keeps a cookie.
    CookieLifetimeType {
        /// Until `absoluteTimeout`, which is then required.
        Permanent = "Permanent",
        /// Until the client ends.
        Session = "Session",
    }
}
