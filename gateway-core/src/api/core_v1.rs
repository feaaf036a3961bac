//! The slices of Namespace, Service, EndpointSlice, Secret and ConfigMap that a gateway reads.
//!
//! In: those objects as Kubernetes has them. Out: the fields that matter here.
//! Deliberately not here: everything else in them, which is skipped silently.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::base64::{Base64, Base64Error};
use super::meta::ObjectMeta;
use super::values::string_enum;

/// A namespace, read for its labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Namespace {
    /// Name and labels.
    pub metadata: ObjectMeta,
}

/// A Service, the usual backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Service {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ServiceSpec,
}

/// The part of a Service that a gateway reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Kind of the Service; default: ClusterIP.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ServiceType>,
    /// Its address, `None` for a headless Service.
    #[serde(rename = "clusterIP", skip_serializing_if = "Option::is_none")]
    pub cluster_ip: Option<String>,
    /// All its addresses.
    #[serde(rename = "clusterIPs", skip_serializing_if = "Vec::is_empty")]
    pub cluster_ips: Vec<String>,
    /// The name it stands for, if it is of type ExternalName.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_name: Option<String>,
    /// Its ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// Which pods are behind it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// `ClientIP` or `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<String>,
}

string_enum! {
    /// Kind of a Service.
    ServiceType {
        /// Reachable inside of the cluster.
        ClusterIp = "ClusterIP",
        /// Reachable on a port of each node, too.
        NodePort = "NodePort",
        /// Reachable from outside through a load balancer, too.
        LoadBalancer = "LoadBalancer",
        /// An alias of a DNS name.
        ExternalName = "ExternalName",
    }
}

/// A port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePort {
    /// Name of the port; required if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Number that clients use.
    pub port: i32,
    /// Number or name at the pods; default: `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<IntOrString>,
    /// Transport; default: TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<TransportProtocol>,
    /// What is spoken, such as `kubernetes.io/h2c` or `kubernetes.io/ws`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

impl ServicePort {
    /// The transport after defaulting.
    #[must_use]
    pub fn protocol(&self) -> &TransportProtocol {
        self.protocol.as_ref().unwrap_or(&TransportProtocol::Tcp)
    }
}

string_enum! {
    /// Transport of a port.
    TransportProtocol {
        /// TCP.
        Tcp = "TCP",
        /// UDP.
        Udp = "UDP",
        /// SCTP.
        Sctp = "SCTP",
    }
}

/// Endpoints of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Name and labels; `kubernetes.io/service-name` names the Service.
    pub metadata: ObjectMeta,
    /// Kind of all addresses.
    pub address_type: EndpointAddressType,
    /// The endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
    /// Ports that each endpoint has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<EndpointPort>,
}

string_enum! {
    /// Kind of the addresses of an EndpointSlice.
    EndpointAddressType {
        /// IPv4.
        IpV4 = "IPv4",
        /// IPv6.
        IpV6 = "IPv6",
        /// DNS names.
        Fqdn = "FQDN",
    }
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// Its addresses, all of which lead to the same place; usually one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Whether it can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<EndpointConditions>,
    /// Its hostname.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The node it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The zone it runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl Endpoint {
    /// Whether new traffic may be sent here; unknown counts as yes.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    }
}

/// Whether an endpoint can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointConditions {
    /// Takes traffic and is not terminating; unknown counts as yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<bool>,
    /// Takes traffic, maybe while terminating.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<bool>,
    /// Is going away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating: Option<bool>,
}

/// A port of all endpoints of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointPort {
    /// Name, that of the Service's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Number; none means all ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Transport; default: TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<TransportProtocol>,
    /// What is spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// A Secret. Its values are never shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Secret {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Kind of the content, such as `kubernetes.io/tls`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Values in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, Base64>,
    /// Values in plain text; they win over `data`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub string_data: BTreeMap<String, String>,
}

impl Secret {
    /// The value of `key`.
    ///
    /// # Errors
    ///
    /// If the value is not base64.
    pub fn value(&self, key: &str) -> Result<Option<Cow<'_, [u8]>>, Base64Error> {
        match self.string_data.get(key) {
            Some(text) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
            None => self.data.get(key).map(|value| value.decode().map(Cow::Owned)).transpose(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&String> = self.data.keys().chain(self.string_data.keys()).collect();
        f.debug_struct("Secret")
            .field("metadata", &format_args!("{}/{}", self.metadata.namespace, self.metadata.name))
            .field("kind", &self.kind)
            .field("keys", &keys)
            .finish_non_exhaustive()
    }
}

/// A ConfigMap, read for CA certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigMap {
    /// Name and labels.
    pub metadata: ObjectMeta,
    /// Values in plain text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Values in base64.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub binary_data: BTreeMap<String, Base64>,
}

// === IntOrString ===

/// A number or a name, as in `targetPort`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A name.
    String(String),
}

impl Serialize for IntOrString {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(number) => serializer.serialize_i32(*number),
            Self::String(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntOrStringVisitor)
    }
}

struct IntOrStringVisitor;

impl serde::de::Visitor<'_> for IntOrStringVisitor {
    type Value = IntOrString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a name")
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<IntOrString, E> {
        let unexpected = serde::de::Unexpected::Signed(number);
        i32::try_from(number).map(IntOrString::Int).map_err(|_| E::invalid_value(unexpected, &self))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<IntOrString, E> {
        let unexpected = serde::de::Unexpected::Unsigned(number);
        i32::try_from(number).map(IntOrString::Int).map_err(|_| E::invalid_value(unexpected, &self))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<IntOrString, E> {
        Ok(IntOrString::String(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show_their_values() {
        let secret = Secret {
            data: BTreeMap::from([("tls.key".to_owned(), Base64::encode(b"hunter2"))]),
            string_data: BTreeMap::from([("token".to_owned(), "hunter3".to_owned())]),
            ..Secret::default()
        };
        let shown = format!("{secret:?} {:?}", secret.data);
        assert!(
            shown.contains("tls.key") && !shown.contains("hunter") && !shown.contains("aHVu"),
            "{shown}"
        );
    }

    #[test]
    fn plain_values_of_a_secret_win() {
        let secret = Secret {
            data: BTreeMap::from([
                ("a".to_owned(), Base64::encode(b"1")),
                ("b".to_owned(), Base64::new("?")),
            ]),
            string_data: BTreeMap::from([("a".to_owned(), "2".to_owned())]),
            ..Secret::default()
        };
        assert_eq!(secret.value("a"), Ok(Some(Cow::Borrowed(&b"2"[..]))));
        assert_eq!(secret.value("b"), Err(Base64Error));
        assert_eq!(secret.value("c"), Ok(None));
    }
}
