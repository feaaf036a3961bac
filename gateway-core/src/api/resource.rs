//! One enum over all kinds.
//!
//! In: `apiVersion`, `kind` and a serde value. Out: [`Resource`], or nothing if the kind is not one that is read.
//! Deliberately not here: reports about unknown kinds and fields (`source`).

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::meta::{EXPERIMENTAL_GROUP, Kind, ObjectKey, ObjectMeta};

macro_rules! resources {
    ($($variant:ident),+ $(,)?) => {
        /// An object of any kind that a gateway reads.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Resource {
            $(
                #[doc = concat!("A ", stringify!($variant), ".")]
                $variant(super::$variant),
            )+
        }

        impl Resource {
            /// Kind of the object.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant,)+ }
            }

            /// Metadata of the object.
            #[must_use]
            pub fn metadata(&self) -> &ObjectMeta {
                match self { $(Self::$variant(object) => &object.metadata,)+ }
            }

            /// Metadata of the object, to be changed.
            pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Self::$variant(object) => &mut object.metadata,)+ }
            }

            /// Reads an object of a given kind; `apiVersion` and `kind` in the value are not looked at.
            ///
            /// # Errors
            ///
            /// If a value has the wrong type, such as text where a number is wanted.
            pub fn deserialize<'de, D: Deserializer<'de>>(kind: Kind, value: D) -> Result<Self, D::Error> {
                match kind { $(Kind::$variant => super::$variant::deserialize(value).map(Self::$variant),)+ }
            }
        }

        $(
            impl From<super::$variant> for Resource {
                fn from(object: super::$variant) -> Self {
                    Self::$variant(object)
                }
            }
        )+

        impl Serialize for Resource {
            /// Writes the object with `apiVersion` and `kind`.
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(object) => Tagged::new(self.kind(), object).serialize(serializer),)+ }
            }
        }
    };
}

resources! {
    GatewayClass, Gateway, ListenerSet, HttpRoute, GrpcRoute, TlsRoute, TcpRoute, UdpRoute, ReferenceGrant,
    BackendTlsPolicy, XBackendTrafficPolicy, XBackend, XMesh, Namespace, Service, EndpointSlice, Secret, ConfigMap,
}

impl Resource {
    /// Reads an object of any served version, or gives nothing if the kind is not one that is read.
    ///
    /// # Errors
    ///
    /// If a value has the wrong type, such as text where a number is wanted.
    pub fn from_value<'de, D: Deserializer<'de>>(
        api_version: &str,
        kind: &str,
        value: D,
    ) -> Result<Option<Self>, D::Error> {
        Self::find_kind(api_version, kind).map(|kind| Self::deserialize(kind, value)).transpose()
    }

    /// The kind behind `apiVersion` and `kind`, if it is read in that version.
    ///
    /// XListenerSet, as ListenerSet was called before, is read as ListenerSet.
    #[must_use]
    pub fn find_kind(api_version: &str, kind: &str) -> Option<Kind> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        if (group, version, kind) == (EXPERIMENTAL_GROUP, "v1alpha1", "XListenerSet") {
            return Some(Kind::ListenerSet);
        }
        Kind::find(group, kind).filter(|found| found.versions().contains(&version))
    }

    /// Identity of the object.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let metadata = self.metadata();
        ObjectKey::new(self.kind(), &metadata.namespace, &metadata.name)
    }
}

/// An object together with its `apiVersion` and `kind`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tagged<'a, T> {
    api_version: String,
    kind: Kind,
    #[serde(flatten)]
    object: &'a T,
}

impl<'a, T> Tagged<'a, T> {
    fn new(kind: Kind, object: &'a T) -> Self {
        Self { api_version: kind.api_version(), kind, object }
    }
}
