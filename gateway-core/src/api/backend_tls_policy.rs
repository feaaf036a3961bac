//! BackendTLSPolicy: TLS from the gateway to backends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::condition::PolicyStatus;
use super::meta::ObjectMeta;
use super::refs::{LocalObjectReference, LocalPolicyTargetReferenceWithSectionName};
use super::values::string_enum;

/// How the gateway speaks TLS to the backends it applies to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BackendTlsPolicy {
    /// Name and age; the older of two policies for the same target wins.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: BackendTlsPolicySpec,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<PolicyStatus>,
}

/// What is wanted of a BackendTLSPolicy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BackendTlsPolicySpec {
    /// Services, or single named ports of them, 1 to 16.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<LocalPolicyTargetReferenceWithSectionName>,
    /// How the certificate of the backend is validated.
    pub validation: BackendTlsPolicyValidation,
    /// Implementation-specific settings, at most 16.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// How the certificate of a backend is validated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BackendTlsPolicyValidation {
    /// Trusted CA certificates, at most 8; excludes `wellKnownCACertificates`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ca_certificate_refs: Vec<LocalObjectReference>,
    /// A well-known set of trusted CA certificates; excludes `caCertificateRefs`.
    #[serde(rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificatesType>,
    /// Server name to send, and the name to verify unless `subjectAltNames` is given.
    pub hostname: String,
    /// Names of which the certificate must carry at least one, at most 5.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<SubjectAltName>,
}

string_enum! {
    /// A well-known set of CA certificates; other values are implementation-specific and contain a domain.
    WellKnownCaCertificatesType {
        /// The trust store of the system.
        System = "System",
    }
}

/// A name in a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SubjectAltName {
    /// Kind of the name.
    #[serde(rename = "type")]
    pub kind: SubjectAltNameType,
    /// The name, if it is a hostname; may be a wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// The name, if it is a URI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

string_enum! {
    /// Kind of a name in a certificate.
    SubjectAltNameType {
        /// A DNS name.
        Hostname = "Hostname",
        /// A URI, such as a SPIFFE id.
        Uri = "URI",
    }
}
