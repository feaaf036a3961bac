//! TLSRoute, TCPRoute and UDPRoute: routes that do not look into HTTP.

use serde::{Deserialize, Serialize};

use super::condition::RouteStatus;
use super::gateway::GatewayDefaultScope;
use super::meta::ObjectMeta;
use super::refs::{BackendRef, ParentReference};

/// Routing of TLS connections by server name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsRoute {
    /// Name and age; age decides between equal hostnames.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: TlsRouteSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RouteStatus>,
}

/// What is wanted of a TLSRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsRouteSpec {
    /// Gateways, ListenerSets or Services to attach to, at most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether to attach to default Gateways (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Server names to serve, 1 to 1024.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hostnames: Vec<String>,
    /// Exactly one rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<L4RouteRule>,
}

/// Forwarding of TCP connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TcpRoute {
    /// Name and age.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: L4RouteSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RouteStatus>,
}

/// Forwarding of UDP datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UdpRoute {
    /// Name and age.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: L4RouteSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RouteStatus>,
}

/// What is wanted of a TCPRoute or UDPRoute.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct L4RouteSpec {
    /// Gateways, ListenerSets or Services to attach to, at most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parent_refs: Vec<ParentReference>,
    /// Whether to attach to default Gateways (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_default_gateways: Option<GatewayDefaultScope>,
    /// Exactly one rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<L4RouteRule>,
}

/// Where to send connections or datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct L4RouteRule {
    /// Name, unique in the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Backends, by weight, 1 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend_refs: Vec<BackendRef>,
}
