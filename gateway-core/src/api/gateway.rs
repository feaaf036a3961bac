//! Gateway: where traffic comes in.
//!
//! In: listeners, addresses and TLS settings as written. Out: plain data with accessors for defaults.
//! Deliberately not here: conflicts between listeners and attachment of routes (`resolve`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::condition::{Condition, ListenerStatus};
use super::meta::{GATEWAY_GROUP, ObjectMeta};
use super::refs::{LocalObjectReference, ObjectReference, SecretObjectReference};
use super::values::string_enum;

/// A request for a data plane with listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Gateway {
    /// Name and age.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: GatewaySpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<GatewayStatus>,
}

/// What is wanted of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Name of the GatewayClass.
    pub gateway_class_name: String,
    /// What to listen on, 1 to 64, keyed by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<Listener>,
    /// Wanted addresses; none means any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewaySpecAddress>,
    /// Labels, annotations and parameters for what is created on behalf of the Gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<GatewayInfrastructure>,
    /// Which ListenerSets may add listeners; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_listeners: Option<AllowedListeners>,
    /// TLS settings of the Gateway as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<GatewayTlsConfig>,
    /// Whether routes that ask for default Gateways attach (experimental).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_scope: Option<GatewayDefaultScope>,
}

/// One port, protocol and hostname to accept traffic on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Listener {
    /// Name, unique in the Gateway; routes refer to it as `sectionName`.
    pub name: String,
    /// Hostname to serve, maybe with wildcard; default: all. Not for TCP and UDP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Port, 1 to 65535.
    pub port: i32,
    /// Protocol expected from clients.
    pub protocol: ProtocolType,
    /// TLS settings, for HTTPS and TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTlsConfig>,
    /// Which routes may attach; default: any supported kind from the same namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_routes: Option<AllowedRoutes>,
}

string_enum! {
    /// Protocol of a listener; other values are implementation-specific and contain a domain.
    ProtocolType {
        /// Plain HTTP.
        Http = "HTTP",
        /// HTTP over TLS.
        Https = "HTTPS",
        /// TLS, passed through or terminated.
        Tls = "TLS",
        /// Any TCP.
        Tcp = "TCP",
        /// Any UDP.
        Udp = "UDP",
    }
}

/// TLS settings of a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListenerTlsConfig {
    /// Whether TLS ends here; default: Terminate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<TlsModeType>,
    /// Certificates to present, the first one by default, others by server name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub certificate_refs: Vec<SecretObjectReference>,
    /// Implementation-specific settings.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl ListenerTlsConfig {
    /// The mode after defaulting.
    #[must_use]
    pub fn mode(&self) -> &TlsModeType {
        self.mode.as_ref().unwrap_or(&TlsModeType::Terminate)
    }
}

string_enum! {
    /// Where TLS ends.
    TlsModeType {
        /// At the gateway.
        Terminate = "Terminate",
        /// At the backend.
        Passthrough = "Passthrough",
    }
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AllowedRoutes {
    /// Namespaces of the routes; default: the listener's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<RouteNamespaces>,
    /// Kinds of the routes; default: all that fit the protocol.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<RouteGroupKind>,
}

/// Namespaces from which routes may attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RouteNamespaces {
    /// How namespaces are chosen; default: Same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// The choice, if `from` is Selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl RouteNamespaces {
    /// How namespaces are chosen, after defaulting.
    #[must_use]
    pub fn from(&self) -> &FromNamespaces {
        self.from.as_ref().unwrap_or(&FromNamespaces::Same)
    }
}

string_enum! {
    /// How namespaces are chosen.
    FromNamespaces {
        /// Every namespace.
        All = "All",
        /// Namespaces whose labels match.
        Selector = "Selector",
        /// The namespace of the listener.
        Same = "Same",
        /// No namespace; only for ListenerSets.
        None = "None",
    }
}

/// Chooses objects by their labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelector {
    /// Labels that must have these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions, all of which must hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelSelectorRequirement>,
}

/// A condition on one label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LabelSelectorRequirement {
    /// Key of the label.
    pub key: String,
    /// Relation between the label and `values`.
    pub operator: LabelSelectorOperator,
    /// Values, for In and NotIn.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

string_enum! {
    /// Relation between a label and a list of values.
    LabelSelectorOperator {
        /// The label has one of the values.
        In = "In",
        /// The label is missing or has none of the values.
        NotIn = "NotIn",
        /// The label is there.
        Exists = "Exists",
        /// The label is missing.
        DoesNotExist = "DoesNotExist",
    }
}

/// A kind of route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RouteGroupKind {
    /// Group of the kind; default `gateway.networking.k8s.io`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The kind.
    pub kind: String,
}

impl RouteGroupKind {
    /// The group after defaulting.
    #[must_use]
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(GATEWAY_GROUP)
    }
}

/// A wanted address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewaySpecAddress {
    /// Kind of the address; default: IPAddress.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<AddressType>,
    /// The address; none means any of this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl GatewaySpecAddress {
    /// The kind after defaulting.
    #[must_use]
    pub fn kind(&self) -> &AddressType {
        self.kind.as_ref().unwrap_or(&AddressType::IpAddress)
    }
}

string_enum! {
    /// Kind of an address; other values are implementation-specific and contain a domain.
    AddressType {
        /// IPv4 or IPv6.
        IpAddress = "IPAddress",
        /// A DNS name.
        Hostname = "Hostname",
        /// An implementation-specific name; deprecated.
        NamedAddress = "NamedAddress",
    }
}

/// What is passed on to everything created on behalf of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayInfrastructure {
    /// Labels, at most 8.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations, at most 16.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Settings for the implementation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters_ref: Option<LocalObjectReference>,
}

/// Which ListenerSets may attach to a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AllowedListeners {
    /// Namespaces of the ListenerSets; default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<ListenerNamespaces>,
}

/// Namespaces from which ListenerSets may attach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListenerNamespaces {
    /// How namespaces are chosen; default: None.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<FromNamespaces>,
    /// The choice, if `from` is Selector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

impl ListenerNamespaces {
    /// How namespaces are chosen, after defaulting.
    #[must_use]
    pub fn from(&self) -> &FromNamespaces {
        self.from.as_ref().unwrap_or(&FromNamespaces::None)
    }
}

/// TLS settings of a Gateway as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayTlsConfig {
    /// Towards backends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<GatewayBackendTls>,
    /// Towards clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend: Option<FrontendTlsConfig>,
}

/// How the Gateway identifies itself to backends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayBackendTls {
    /// Client certificate to present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<SecretObjectReference>,
}

/// How clients are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FrontendTlsConfig {
    /// For every port without its own setting; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<TlsConfig>,
    /// For single ports, keyed by port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub per_port: Vec<TlsPortConfig>,
}

/// How clients of one port are checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsPortConfig {
    /// The port.
    pub port: i32,
    /// Its settings; required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
}

/// Frontend TLS settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct TlsConfig {
    /// How client certificates are validated; none: not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<FrontendTlsValidation>,
}

/// How client certificates are validated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct FrontendTlsValidation {
    /// Trusted CA certificates, 1 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// What happens without a valid certificate; default: AllowValidOnly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<FrontendValidationModeType>,
}

impl FrontendTlsValidation {
    /// The mode after defaulting.
    #[must_use]
    pub fn mode(&self) -> &FrontendValidationModeType {
        self.mode.as_ref().unwrap_or(&FrontendValidationModeType::AllowValidOnly)
    }
}

string_enum! {
    /// What happens to clients without a valid certificate.
    FrontendValidationModeType {
        /// They are refused.
        AllowValidOnly = "AllowValidOnly",
        /// They are let in.
        AllowInsecureFallback = "AllowInsecureFallback",
    }
}

string_enum! {
    /// Whether a Gateway is a default one, and whether a route asks for default Gateways (experimental).
    GatewayDefaultScope {
        /// Yes.
        All = "All",
        /// No.
        None = "None",
    }
}

/// What became of a Gateway.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayStatus {
    /// Addresses that clients can reach.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<GatewayStatusAddress>,
    /// Accepted, Programmed and ResolvedRefs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// One entry per listener of the Gateway itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// Number of accepted ListenerSets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
}

/// An address that clients can reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GatewayStatusAddress {
    /// Kind of the address; always written.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<AddressType>,
    /// The address.
    pub value: String,
}
