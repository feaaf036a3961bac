//! Building policies and grants.

use crate::api::*;

impl BackendTlsPolicy {
    /// Speaks TLS to the Service `service`, whose certificate must be for `hostname`.
    #[must_use]
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        service: impl Into<String>,
        hostname: impl Into<String>,
    ) -> Self {
        let target = LocalPolicyTargetReferenceWithSectionName {
            group: Some(String::new()),
            kind: Kind::Service.as_str().to_owned(),
            name: service.into(),
            section_name: None,
        };
        let validation = BackendTlsPolicyValidation {
            hostname: hostname.into(),
            ..BackendTlsPolicyValidation::default()
        };
        let spec = BackendTlsPolicySpec {
            target_refs: vec![target],
            validation,
            ..BackendTlsPolicySpec::default()
        };
        Self { metadata: ObjectMeta::new(namespace, name), spec, status: None }
    }

    /// Trusts the CA certificates in the ConfigMap `name`.
    #[must_use]
    pub fn ca_config_map(mut self, name: impl Into<String>) -> Self {
        self.spec.validation.ca_certificate_refs.push(LocalObjectReference {
            group: Some(String::new()),
            kind: Kind::ConfigMap.as_str().to_owned(),
            name: name.into(),
        });
        self
    }

    /// Trusts the CA certificates of the system.
    #[must_use]
    pub fn system_ca(mut self) -> Self {
        self.spec.validation.well_known_ca_certificates = Some(WellKnownCaCertificatesType::System);
        self
    }
}

impl ReferenceGrant {
    /// A grant for objects in `namespace` that allows nothing yet.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { metadata: ObjectMeta::new(namespace, name), ..Self::default() }
    }

    /// Allows objects of this kind and namespace to refer.
    #[must_use]
    pub fn from(mut self, kind: Kind, namespace: impl Into<String>) -> Self {
        self.spec.from.push(ReferenceGrantFrom {
            group: Some(kind.group().to_owned()),
            kind: kind.as_str().to_owned(),
            namespace: namespace.into(),
        });
        self
    }

    /// Allows references to all objects of this kind.
    #[must_use]
    pub fn to(mut self, kind: Kind) -> Self {
        self.spec.to.push(ReferenceGrantTo {
            group: Some(kind.group().to_owned()),
            kind: kind.as_str().to_owned(),
            name: None,
        });
        self
    }
}
