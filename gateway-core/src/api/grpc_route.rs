//! GRPCRoute: which gRPC call goes where.
//!
//! In: rules as written. Out: plain data with accessors for defaults.
//! Deliberately not here: that a call is an HTTP request with a path (`resolve`).

use serde::{Deserialize, Serialize};

use super::condition::RouteStatus;
use super::gateway::GatewayDefaultScope;
use super::http_filter::{FilterType, HttpHeaderFilter, HttpRequestMirrorFilter};
use super::http_route::{HeaderMatchType, SessionPersistence};
use super::meta::ObjectMeta;
use super::refs::{BackendObjectReference, LocalObjectReference, ParentReference};
use super::values::string_enum;

/// Routing of gRPC calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcRoute {
    /// Name and age; age decides between equal matches.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: GrpcRouteSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RouteStatus>,
}

/// What is wanted of a GRPCRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcRouteSpec {
    /// Gateways, ListenerSets or Services to attach to, at most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether to attach to default Gateways (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Hostnames to serve, at most 16; none means all of the listener.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Rules, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<GrpcRouteRule>,
}

/// One rule: what to match, how to treat it, where to send it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcRouteRule {
    /// Name, unique in the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Alternatives, at most 64; none means every call.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<GrpcRouteMatch>,
    /// What to do with calls, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<GrpcRouteFilter>,
    /// Where to send calls, by weight, at most 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<GrpcBackendRef>,
    /// Whether a client stays with its backend (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// Conditions on a call, all of which must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcRouteMatch {
    /// Condition on service and method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<GrpcMethodMatch>,
    /// Conditions on metadata, at most 16, keyed by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<GrpcHeaderMatch>,
}

/// Condition on service and method, at least one of which must be given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcMethodMatch {
    /// How the values are compared; default: Exact.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<GrpcMethodMatchType>,
    /// Full name of the service; default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Name of the method; default: any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

impl GrpcMethodMatch {
    /// How the values are compared, after defaulting.
    #[must_use]
    pub fn kind(&self) -> &GrpcMethodMatchType {
        self.kind.as_ref().unwrap_or(&GrpcMethodMatchType::Exact)
    }
}

string_enum! {
    /// How service and method are compared.
    GrpcMethodMatchType {
        /// The whole names.
        Exact = "Exact",
        /// Regular expressions.
        RegularExpression = "RegularExpression",
    }
}

/// Condition on metadata of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcHeaderMatch {
    /// How the value is compared; default: Exact.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<HeaderMatchType>,
    /// Name of the header, in any case.
    pub name: String,
    /// The value.
    pub value: String,
}

impl GrpcHeaderMatch {
    /// How the value is compared, after defaulting.
    #[must_use]
    pub fn kind(&self) -> &HeaderMatchType {
        self.kind.as_ref().unwrap_or(&HeaderMatchType::Exact)
    }
}

/// One step of what happens to a call. Exactly the member named by `type` should be set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GrpcRouteFilter {
    /// Which member applies; RequestRedirect, URLRewrite, CORS and ExternalAuth are not for GRPCRoute.
    #[serde(rename = "type")]
    pub kind: FilterType,
    /// Changes request headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_header_modifier: Option<HttpHeaderFilter>,
    /// Changes response headers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_header_modifier: Option<HttpHeaderFilter>,
    /// Sends a copy of the call elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_mirror: Option<HttpRequestMirrorFilter>,
    /// A filter of the implementation or the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extension_ref: Option<LocalObjectReference>,
}

/// A backend of a GRPCRoute, with its share of the traffic and its own filters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "FlatGrpcBackendRef", into = "FlatGrpcBackendRef")]
pub struct GrpcBackendRef {
    /// Where to send calls.
    pub reference: BackendObjectReference,
    /// Share of the traffic, relative to the sum of the rule; default 1.
    pub weight: Option<i32>,
    /// What to do with calls that go to this backend, at most 16.
    pub filters: Vec<GrpcRouteFilter>,
}

impl GrpcBackendRef {
    /// The weight after defaulting.
    #[must_use]
    pub fn weight(&self) -> i32 {
        self.weight.unwrap_or(1)
    }
}

/// How a [`GrpcBackendRef`] is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FlatGrpcBackendRef {
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
    filters: Vec<GrpcRouteFilter>,
}

impl From<FlatGrpcBackendRef> for GrpcBackendRef {
    fn from(flat: FlatGrpcBackendRef) -> Self {
        let FlatGrpcBackendRef { group, kind, name, namespace, port, weight, filters } = flat;
        Self {
            reference: BackendObjectReference { group, kind, name, namespace, port },
            weight,
            filters,
        }
    }
}

impl From<GrpcBackendRef> for FlatGrpcBackendRef {
    fn from(backend: GrpcBackendRef) -> Self {
        let GrpcBackendRef { reference, weight, filters } = backend;
        let BackendObjectReference { group, kind, name, namespace, port } = reference;
        Self { group, kind, name, namespace, port, weight, filters }
    }
}
