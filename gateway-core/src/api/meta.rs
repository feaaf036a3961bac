//! Object metadata, identity and age.
//!
//! In: the `metadata` of any object. Out: [`ObjectKey`] (who is it), [`ObjectMeta::seniority_cmp`] (who was first).
//! Deliberately not here: metadata that nothing in a gateway looks at (managed fields, self links).

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What the names of our own options and annotations begin with.
pub const OWN_PREFIX: &str = "gateway-rs.github.io/";

/// The part of Kubernetes object metadata that a gateway reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Name, unique per kind and namespace.
    pub name: String,
    /// Namespace; empty for cluster-scoped kinds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Counts changes of the spec; conditions repeat it as `observedGeneration`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When the object was created. Objects from files usually have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
    /// Set once the object is being deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Timestamp>,
    /// Labels, as matched by selectors.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Identity across deletion and re-creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Version of the object for optimistic writes; opaque.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
    /// Who must act before the object may vanish.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Who owns the object.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
}

/// Names the object that owns another one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner, in the same namespace.
    pub name: String,
    /// Uid of the owner.
    pub uid: String,
    /// Whether the owner is the managing controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether deleting the owner waits for this object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

impl ObjectMeta {
    /// Metadata with a namespace and a name.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), ..Self::default() }
    }

    /// Orders by age: the oldest first, then by `namespace/name`. This decides every conflict in the API.
    ///
    /// An object without creation time counts as younger than any object with one.
    // SPEC: the tie-break compares the joined text, in which `a-b/x` comes before `a/x`.
    #[must_use]
    pub fn seniority_cmp(&self, other: &Self) -> Ordering {
        let age = |meta: &Self| {
            meta.creation_timestamp.as_ref().and_then(Timestamp::seconds).unwrap_or(i64::MAX)
        };
        age(self).cmp(&age(other)).then_with(|| self.joined_name().cmp(other.joined_name()))
    }

    fn joined_name(&self) -> impl Iterator<Item = u8> + '_ {
        self.namespace.bytes().chain(std::iter::once(b'/')).chain(self.name.bytes())
    }
}

// === Timestamp ===

/// A moment in RFC 3339, kept as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(String);

impl Timestamp {
    /// Keeps `text`, which may be anything.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whole seconds since 1970-01-01 UTC, or nothing if the text is not RFC 3339.
    ///
    /// ```
    /// use gateway_core::api::Timestamp;
    /// assert_eq!(Timestamp::new("1970-01-02T01:00:00+01:00").seconds(), Some(86_400));
    /// assert_eq!(Timestamp::new("yesterday").seconds(), None);
    /// ```
    #[must_use]
    pub fn seconds(&self) -> Option<i64> {
        let bytes = self.0.as_bytes();
        let (date_time, rest) = bytes.split_at_checked(19)?;
        for (at, mark) in
            [(4, b"-"), (7, b"-"), (10, b"Tt"), (13, b":"), (16, b":")] as [(usize, &[u8]); 5]
        {
            if !mark.contains(&date_time[at]) {
                return None;
            }
        }
        let field = |range: std::ops::Range<usize>| decimal(&date_time[range]);
        let (year, month, day) = (field(0..4)?, field(5..7)?, field(8..10)?);
        let (hour, minute, second) = (field(11..13)?, field(14..16)?, field(17..19)?);
        let in_range = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        let offset = offset_seconds(skip_fraction(rest)?)?;
        in_range.then(|| {
            days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second
                - offset
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn decimal(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

fn skip_fraction(rest: &[u8]) -> Option<&[u8]> {
    let Some(fraction) = rest.strip_prefix(b".") else { return Some(rest) };
    let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &fraction[digits..])
}

fn offset_seconds(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let seconds = decimal(&[*h1, *h2])? * 3_600 + decimal(&[*m1, *m2])? * 60;
            Some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar, counting years from March so that leap days come last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

// === ObjectKey ===

/// Identity of an object: kind, namespace (empty if cluster-scoped) and name.
///
/// Displays as `HTTPRoute default/shop`, or `GatewayClass public` without namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Kind of the object.
    pub kind: Kind,
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: Box<str>,
    /// Name.
    pub name: Box<str>,
}

impl ObjectKey {
    /// The key of a namespaced object.
    #[must_use]
    pub fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }

    /// The key of a cluster-scoped object.
    #[must_use]
    pub fn cluster(kind: Kind, name: &str) -> Self {
        Self::new(kind, "", name)
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

// === Kind ===

/// The group of the Gateway API.
pub const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";
/// The group of the experimental kinds.
pub const EXPERIMENTAL_GROUP: &str = "gateway.networking.x-k8s.io";
/// The group of Service, Secret, ConfigMap and Namespace.
pub const CORE_GROUP: &str = "";
/// The group of EndpointSlice.
pub const DISCOVERY_GROUP: &str = "discovery.k8s.io";

macro_rules! kinds {
    ($($(#[$meta:meta])* $variant:ident = $text:literal, $group:ident, [$($version:literal),+], $scope:ident;)+) => {
        /// Every kind that a gateway reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[$meta])* $variant,)+
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The kind as upstream spells it, such as `HTTPRoute`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The API group; empty for the core group.
            #[must_use]
            pub const fn group(self) -> &'static str {
                match self { $(Self::$variant => $group,)+ }
            }

            /// The versions that are read, the preferred one first.
            #[must_use]
            pub const fn versions(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$($version),+],)+ }
            }

            /// Whether objects of the kind live in a namespace.
            #[must_use]
            pub const fn is_namespaced(self) -> bool {
                match self { $(Self::$variant => kinds!(@$scope),)+ }
            }
        }
    };
    (@Namespaced) => { true };
    (@Cluster) => { false };
}

kinds! {
    /// A class of Gateways, all run by the same controller.
    GatewayClass = "GatewayClass", GATEWAY_GROUP, ["v1", "v1beta1"], Cluster;
    /// A request for a data plane with listeners.
    Gateway = "Gateway", GATEWAY_GROUP, ["v1", "v1beta1"], Namespaced;
    /// More listeners for a Gateway, owned by someone else.
    ListenerSet = "ListenerSet", GATEWAY_GROUP, ["v1"], Namespaced;
    /// Routing of HTTP requests.
    HttpRoute = "HTTPRoute", GATEWAY_GROUP, ["v1", "v1beta1"], Namespaced;
    /// Routing of gRPC calls.
    GrpcRoute = "GRPCRoute", GATEWAY_GROUP, ["v1"], Namespaced;
    /// Routing of TLS connections by server name.
    TlsRoute = "TLSRoute", GATEWAY_GROUP, ["v1", "v1alpha3", "v1alpha2"], Namespaced;
    /// Forwarding of TCP connections.
    TcpRoute = "TCPRoute", GATEWAY_GROUP, ["v1", "v1alpha2"], Namespaced;
    /// Forwarding of UDP datagrams.
    UdpRoute = "UDPRoute", GATEWAY_GROUP, ["v1", "v1alpha2"], Namespaced;
    /// Permission for references from other namespaces.
    ReferenceGrant = "ReferenceGrant", GATEWAY_GROUP, ["v1", "v1beta1"], Namespaced;
    /// TLS from the gateway to backends.
    BackendTlsPolicy = "BackendTLSPolicy", GATEWAY_GROUP, ["v1", "v1alpha3"], Namespaced;
    /// Retry budget and session persistence of backends (experimental).
    XBackendTrafficPolicy = "XBackendTrafficPolicy", EXPERIMENTAL_GROUP, ["v1alpha1"], Namespaced;
    /// A backend outside of the cluster (experimental).
    XBackend = "XBackend", EXPERIMENTAL_GROUP, ["v1alpha1"], Namespaced;
    /// A service mesh (experimental).
    XMesh = "XMesh", EXPERIMENTAL_GROUP, ["v1alpha1"], Cluster;
    /// A namespace, read for its labels.
    Namespace = "Namespace", CORE_GROUP, ["v1"], Cluster;
    /// A Service, the usual backend.
    Service = "Service", CORE_GROUP, ["v1"], Namespaced;
    /// The endpoints behind a Service.
    EndpointSlice = "EndpointSlice", DISCOVERY_GROUP, ["v1"], Namespaced;
    /// A Secret, read for certificates.
    Secret = "Secret", CORE_GROUP, ["v1"], Namespaced;
    /// A ConfigMap, read for CA certificates.
    ConfigMap = "ConfigMap", CORE_GROUP, ["v1"], Namespaced;
}

impl Kind {
    /// Finds the kind by its group and spelling, whatever the version.
    #[must_use]
    pub fn find(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == kind && known.group() == group)
    }

    /// Whether the kind belongs to the Gateway API, so that its schema is known in full.
    #[must_use]
    pub fn is_gateway_api(self) -> bool {
        matches!(self.group(), GATEWAY_GROUP | EXPERIMENTAL_GROUP)
    }

    /// Group and preferred version as in `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> String {
        match (self.group(), self.versions()[0]) {
            ("", version) => version.to_owned(),
            (group, version) => format!("{group}/{version}"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, seconds: Option<i64>) {
        assert_eq!(Timestamp::new(text).seconds(), seconds, "{text:?}");
    }

    #[test]
    fn timestamps_count_seconds() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2000-02-29T12:00:00Z", Some(951_825_600));
        check("2024-12-31T23:59:59.999999Z", Some(1_735_689_599));
        check("1969-12-31T23:59:59Z", Some(-1));
        check("2024-01-01T00:00:00-05:30", Some(1_704_087_000));
        for bad in [
            "",
            "2024-01-01",
            "2024-01-01T00:00:00",
            "2024-13-01T00:00:00Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01x00:00:00Z",
        ] {
            check(bad, None);
        }
    }

    fn meta(created: &str, namespace: &str, name: &str) -> ObjectMeta {
        let creation_timestamp = (!created.is_empty()).then(|| Timestamp::new(created));
        ObjectMeta { creation_timestamp, ..ObjectMeta::new(namespace, name) }
    }

    #[test]
    fn the_older_object_comes_first_then_the_joined_name() {
        let (old, new) = ("2020-01-01T00:00:00Z", "2024-01-01T00:00:00Z");
        for (first, second) in [
            (meta(old, "z", "z"), meta(new, "a", "a")),
            (meta(new, "z", "z"), meta("", "a", "a")),
            (meta(old, "a", "b"), meta(old, "a", "c")),
            (meta("", "a-b", "x"), meta("", "a", "x")),
        ] {
            assert_eq!(first.seniority_cmp(&second), Ordering::Less, "{first:?} {second:?}");
            assert_eq!(second.seniority_cmp(&first), Ordering::Greater);
        }
    }

    #[test]
    fn keys_display_as_kubectl_users_know_them() {
        assert_eq!(
            ObjectKey::new(Kind::HttpRoute, "default", "shop").to_string(),
            "HTTPRoute default/shop"
        );
        assert_eq!(
            ObjectKey::cluster(Kind::GatewayClass, "public").to_string(),
            "GatewayClass public"
        );
    }
}
