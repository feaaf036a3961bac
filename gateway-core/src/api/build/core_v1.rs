//! Building the core objects that routes and Gateways refer to.

use crate::api::*;

impl Namespace {
    /// A namespace with the label that every namespace has.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { metadata: ObjectMeta::new("", name.clone()) }
            .label("kubernetes.io/metadata.name", name)
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.labels.insert(key.into(), value.into());
        self
    }
}

impl Service {
    /// A Service without ports.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { metadata: ObjectMeta::new(namespace, name), spec: ServiceSpec::default() }
    }

    /// Adds a TCP port without name.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.spec.ports.push(ServicePort { port: port.into(), ..ServicePort::default() });
        self
    }

    /// Adds a TCP port with a name.
    #[must_use]
    pub fn named_port(mut self, name: impl Into<String>, port: u16) -> Self {
        let name = Some(name.into());
        self.spec.ports.push(ServicePort { name, port: port.into(), ..ServicePort::default() });
        self
    }

    /// Says what is spoken on the port added last, such as `kubernetes.io/h2c`.
    #[must_use]
    pub fn app_protocol(mut self, protocol: impl Into<String>) -> Self {
        if let Some(port) = self.spec.ports.last_mut() {
            port.app_protocol = Some(protocol.into());
        }
        self
    }
}

impl EndpointSlice {
    /// Endpoints of the Service `service`, none yet.
    ///
    /// ```
    /// use gateway_core::api::{EndpointSlice, Service};
    /// let service = Service::new("shop", "cart").port(8080);
    /// let slice = EndpointSlice::for_service(&service).port(8080).address("10.1.0.7").address("10.1.0.8");
    /// assert_eq!(slice.endpoints.len(), 2);
    /// ```
    #[must_use]
    pub fn for_service(service: &Service) -> Self {
        let ObjectMeta { namespace, name, .. } = &service.metadata;
        let mut metadata = ObjectMeta::new(namespace, format!("{name}-1"));
        metadata.labels.insert("kubernetes.io/service-name".to_owned(), name.clone());
        Self { metadata, address_type: EndpointAddressType::IpV4, ..Self::default() }
    }

    /// Adds a TCP port without name.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports.push(EndpointPort { port: Some(port.into()), ..EndpointPort::default() });
        self
    }

    /// Adds a TCP port with the name of the Service's port.
    #[must_use]
    pub fn named_port(mut self, name: impl Into<String>, port: u16) -> Self {
        let name = Some(name.into());
        self.ports.push(EndpointPort { name, port: Some(port.into()), ..EndpointPort::default() });
        self
    }

    /// Adds a ready endpoint; its address says whether the slice is of IPv4, IPv6 or DNS names.
    #[must_use]
    pub fn address(mut self, address: impl Into<String>) -> Self {
        let address = address.into();
        self.address_type = match address.parse() {
            Ok(std::net::IpAddr::V4(_)) => EndpointAddressType::IpV4,
            Ok(std::net::IpAddr::V6(_)) => EndpointAddressType::IpV6,
            Err(_) => EndpointAddressType::Fqdn,
        };
        self.endpoints.push(Endpoint { addresses: vec![address], ..Endpoint::default() });
        self
    }
}

impl Secret {
    /// A TLS Secret with a certificate chain and its key, both PEM.
    #[must_use]
    pub fn tls(
        namespace: impl Into<String>,
        name: impl Into<String>,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Self {
        let mut secret = Self { metadata: ObjectMeta::new(namespace, name), ..Self::default() };
        secret.kind = Some("kubernetes.io/tls".to_owned());
        secret.data.insert("tls.crt".to_owned(), Base64::encode(certificate.as_ref()));
        secret.data.insert("tls.key".to_owned(), Base64::encode(key.as_ref()));
        secret
    }
}

impl ConfigMap {
    /// A ConfigMap without values.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { metadata: ObjectMeta::new(namespace, name), ..Self::default() }
    }

    /// Sets a value.
    #[must_use]
    pub fn value(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.data.insert(key.into(), value.into());
        self
    }
}
