//! Conditions, and the status shapes that several kinds share.
//!
//! In: what `resolve` decided, or what another controller wrote. Out: the status as the API server stores it.
//! Deliberately not here: when which condition is set (`resolve`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::meta::Timestamp;
use super::refs::ParentReference;
use super::values::string_enum;

/// One observed aspect of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// What is stated.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// The generation of the object that was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When `status` changed last; filled in by whoever writes the status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
    /// Why, for machines.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
}

/// Whether a condition holds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(from = "String")]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows.
    #[default]
    Unknown,
}

impl ConditionStatus {
    /// As written in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(holds: bool) -> Self {
        if holds { Self::True } else { Self::False }
    }
}

impl From<String> for ConditionStatus {
    fn from(text: String) -> Self {
        match text.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

string_enum! {
    /// What a condition states.
    ConditionType {
        /// The configuration is understood and taken.
        Accepted = "Accepted",
        /// Two listeners claim the same traffic.
        Conflicted = "Conflicted",
        /// A frontend lets clients in without a valid certificate.
        InsecureFrontendValidationMode = "InsecureFrontendValidationMode",
        /// Two TLS listeners overlap, so that a connection could be reused for the other one.
        OverlappingTlsConfig = "OverlappingTLSConfig",
        /// Some rules of a route are not taken.
        PartiallyInvalid = "PartiallyInvalid",
        /// The data plane serves it.
        Programmed = "Programmed",
        /// Every reference points to something that may be used.
        ResolvedRefs = "ResolvedRefs",
        /// The installed CRDs are of a version that is known.
        SupportedVersion = "SupportedVersion",
    }
}

string_enum! {
    /// Why a condition has its status. One list for all kinds, spelled as upstream.
    Reason {
        /// Taken as it is.
        Accepted = "Accepted",
        /// No address was assigned yet.
        AddressNotAssigned = "AddressNotAssigned",
        /// The wanted address cannot be used here.
        AddressNotUsable = "AddressNotUsable",
        /// The backend or its port does not exist.
        BackendNotFound = "BackendNotFound",
        /// The mode was changed to an insecure one.
        ConfigurationChanged = "ConfigurationChanged",
        /// Another, older object has the same claim.
        Conflicted = "Conflicted",
        /// Another listener has the same port, protocol and hostname.
        HostnameConflict = "HostnameConflict",
        /// The filters of the route cannot be combined.
        IncompatibleFilters = "IncompatibleFilters",
        /// Invalid for a reason without its own name.
        Invalid = "Invalid",
        /// A CA certificate reference is of a kind that is not supported.
        InvalidCaCertificateKind = "InvalidCACertificateKind",
        /// A CA certificate reference cannot be used.
        InvalidCaCertificateRef = "InvalidCACertificateRef",
        /// A certificate reference cannot be used.
        InvalidCertificateRef = "InvalidCertificateRef",
        /// The client certificate for backends cannot be used.
        InvalidClientCertificateRef = "InvalidClientCertificateRef",
        /// A reference is of a kind that is not supported.
        InvalidKind = "InvalidKind",
        /// The parameters cannot be used.
        InvalidParameters = "InvalidParameters",
        /// A listener allows kinds of routes that it cannot carry.
        InvalidRouteKinds = "InvalidRouteKinds",
        /// The TLS settings of a listener cannot be used.
        InvalidTlsConfig = "InvalidTLSConfig",
        /// Some listeners have references that cannot be resolved.
        ListenersNotResolved = "ListenersNotResolved",
        /// Some or all listeners are not valid.
        ListenersNotValid = "ListenersNotValid",
        /// No listener conflicts with this one.
        NoConflicts = "NoConflicts",
        /// The hostnames of route and listeners have nothing in common.
        NoMatchingListenerHostname = "NoMatchingListenerHostname",
        /// The parent has no such listener.
        NoMatchingParent = "NoMatchingParent",
        /// There is nothing to run the data plane on.
        NoResources = "NoResources",
        /// No CA certificate can be used.
        NoValidCaCertificate = "NoValidCACertificate",
        /// The Gateway does not allow this ListenerSet.
        NotAllowed = "NotAllowed",
        /// The listeners do not allow this route.
        NotAllowedByListeners = "NotAllowedByListeners",
        /// Certificates of different listeners share names.
        OverlappingCertificates = "OverlappingCertificates",
        /// Hostnames of different listeners overlap.
        OverlappingHostnames = "OverlappingHostnames",
        /// The parent is not accepted.
        ParentNotAccepted = "ParentNotAccepted",
        /// Nobody has looked yet.
        Pending = "Pending",
        /// The port cannot be used.
        PortUnavailable = "PortUnavailable",
        /// The data plane serves it.
        Programmed = "Programmed",
        /// Another listener uses the port with a protocol that cannot share it.
        ProtocolConflict = "ProtocolConflict",
        /// The reference leaves its namespace and no ReferenceGrant allows it.
        RefNotPermitted = "RefNotPermitted",
        /// All references are fine.
        ResolvedRefs = "ResolvedRefs",
        /// The installed CRDs are of a known version.
        SupportedVersion = "SupportedVersion",
        /// What the policy applies to does not exist.
        TargetNotFound = "TargetNotFound",
        /// The Gateway has more listeners than can be served.
        TooManyListeners = "TooManyListeners",
        /// Not supported at all.
        Unsupported = "Unsupported",
        /// The kind of address is not supported.
        UnsupportedAddress = "UnsupportedAddress",
        /// The protocol is not supported.
        UnsupportedProtocol = "UnsupportedProtocol",
        /// A value is not supported.
        UnsupportedValue = "UnsupportedValue",
        /// The installed CRDs are of a version that is not known.
        UnsupportedVersion = "UnsupportedVersion",
        /// Nobody has looked yet (classes).
        Waiting = "Waiting",
    }
}

/// What became of a route, for each of its parents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RouteStatus {
    /// One entry per parent and controller.
    pub parents: Vec<RouteParentStatus>,
}

/// What one controller says about a route and one parent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RouteParentStatus {
    /// The parent, as written in the spec with defaults filled in.
    pub parent_ref: ParentReference,
    /// Who says it.
    pub controller_name: String,
    /// What is said.
    pub conditions: Vec<Condition>,
}

/// What became of a policy, for each ancestor it takes effect through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyStatus {
    /// One entry per ancestor and controller, at most 16.
    pub ancestors: Vec<PolicyAncestorStatus>,
}

/// What one controller says about a policy and one ancestor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PolicyAncestorStatus {
    /// The ancestor, usually a Gateway.
    pub ancestor_ref: ParentReference,
    /// Who says it.
    pub controller_name: String,
    /// What is said.
    pub conditions: Vec<Condition>,
}

/// What became of a listener, of a Gateway or of a ListenerSet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListenerStatus {
    /// Name of the listener.
    pub name: String,
    /// Kinds of routes that can attach; an empty list is written out.
    pub supported_kinds: Vec<super::gateway::RouteGroupKind>,
    /// Number of routes that are attached.
    pub attached_routes: i32,
    /// What is said.
    pub conditions: Vec<Condition>,
}

/// A feature that an implementation supports, by its upstream name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SupportedFeature {
    /// Name of the feature.
    pub name: String,
}
