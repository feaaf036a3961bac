//! The experimental kinds XBackendTrafficPolicy, XBackend and XMesh.

use serde::{Deserialize, Serialize};

use super::backend_tls_policy::BackendTlsPolicyValidation;
use super::condition::{Condition, PolicyStatus, RouteParentStatus, SupportedFeature};
use super::http_route::SessionPersistence;
use super::meta::ObjectMeta;
use super::refs::{LocalPolicyTargetReference, ParametersReference, SecretObjectReference};
use super::values::{Duration, string_enum};

/// Retry budget and session persistence of backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XBackendTrafficPolicy {
    /// Name and age; the older of two policies for the same target wins.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: XBackendTrafficPolicySpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PolicyStatus>,
}

/// What is wanted of an XBackendTrafficPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XBackendTrafficPolicySpec {
    /// Services, 1 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<LocalPolicyTargetReference>,
    /// How much of the traffic may be retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,
    /// Whether a client stays with its endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_persistence: Option<SessionPersistence>,
}

/// How much of the traffic may be retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RetryConstraint {
    /// Greatest share of retries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetDetails>,
    /// Rate of retries that is always allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_retry_rate: Option<RequestRate>,
}

/// Greatest share of retries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BudgetDetails {
    /// Share of active requests, 0 to 100; default 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,
    /// Window in which requests count, 1 s to 1 h; default 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

impl BudgetDetails {
    /// The share after defaulting.
    #[must_use]
    pub fn percent(&self) -> i32 {
        self.percent.unwrap_or(20)
    }
}

/// A number of requests per time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RequestRate {
    /// Number of requests, 1 to 1000000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i32>,
    /// Time, more than 0 and at most 1 h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
}

/// A backend outside of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XBackend {
    /// Name and age.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: XBackendSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<XBackendStatus>,
}

/// What is wanted of an XBackend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XBackendSpec {
    /// What the backend is.
    #[serde(rename = "type")]
    pub kind: XBackendType,
    /// Its name, if it is an external hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_hostname: Option<ExternalHostnameBackend>,
    /// Its port.
    pub port: XBackendPort,
    /// Protocol it speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<XBackendProtocol>,
    /// TLS settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<XBackendTls>,
}

string_enum! {
    /// What an XBackend is.
    XBackendType {
        /// A DNS name outside of the cluster.
        ExternalHostname = "ExternalHostname",
    }
}

/// A backend given by a DNS name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExternalHostnameBackend {
    /// The name; neither an IP address nor cluster-internal.
    pub hostname: String,
}

/// Port of an XBackend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XBackendPort {
    /// Name of the port, a DNS label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Number, 1 to 65535.
    pub port: i32,
}

string_enum! {
    /// Protocol that an XBackend speaks.
    XBackendProtocol {
        /// Any TCP.
        Tcp = "TCP",
        /// HTTP of any version.
        Http = "HTTP",
        /// HTTP/2 over TLS.
        Http2 = "HTTP2",
        /// HTTP/1.1.
        Http11 = "HTTP11",
        /// HTTP/2 without TLS.
        H2c = "H2C",
        /// Model Context Protocol.
        Mcp = "MCP",
    }
}

/// TLS settings of an XBackend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XBackendTls {
    /// Who identifies itself.
    pub mode: XBackendTlsMode,
    /// How the certificate of the backend is validated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<BackendTlsPolicyValidation>,
    /// Certificate to present, if the mode is ClientAndServer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

string_enum! {
    /// Who identifies itself to whom.
    XBackendTlsMode {
        /// Nobody: no TLS.
        None = "None",
        /// The backend.
        ServerOnly = "ServerOnly",
        /// Both.
        ClientAndServer = "ClientAndServer",
    }
}

/// What became of an XBackend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XBackendStatus {
    /// One entry per parent and controller.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<RouteParentStatus>,
}

/// A service mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XMesh {
    /// Name and age.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: XMeshSpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<XMeshStatus>,
}

/// What is wanted of an XMesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XMeshSpec {
    /// Controller that runs the mesh. Immutable.
    pub controller_name: String,
    /// Settings for the controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<ParametersReference>,
    /// For people, at most 64 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What became of an XMesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct XMeshStatus {
    /// Accepted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Supported features, sorted by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub supported_features: Vec<SupportedFeature>,
}
