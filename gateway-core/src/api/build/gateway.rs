//! Building Gateways, their classes and ListenerSets.

use crate::api::*;

impl GatewayClass {
    /// A class whose Gateways are run by `controller_name`.
    #[must_use]
    pub fn new(name: impl Into<String>, controller_name: impl Into<String>) -> Self {
        let spec = GatewayClassSpec {
            controller_name: controller_name.into(),
            ..GatewayClassSpec::default()
        };
        Self { metadata: ObjectMeta::new("", name), spec, status: None }
    }
}

impl Gateway {
    /// A Gateway without listeners.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { metadata: ObjectMeta::new(namespace, name), ..Self::default() }
    }

    /// Sets the name of the GatewayClass.
    #[must_use]
    pub fn class(mut self, name: impl Into<String>) -> Self {
        self.spec.gateway_class_name = name.into();
        self
    }

    /// Adds a listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.spec.listeners.push(listener);
        self
    }

    /// Allows ListenerSets from these namespaces.
    #[must_use]
    pub fn allow_listener_sets(mut self, from: FromNamespaces) -> Self {
        let namespaces = ListenerNamespaces { from: Some(from), selector: None };
        self.spec.allowed_listeners = Some(AllowedListeners { namespaces: Some(namespaces) });
        self
    }
}

impl ListenerSet {
    /// A set of listeners, still empty, for the Gateway `parent` in the same namespace.
    #[must_use]
    pub fn new(
        namespace: impl Into<String>,
        name: impl Into<String>,
        parent: impl Into<String>,
    ) -> Self {
        let parent_ref =
            ParentGatewayReference { name: parent.into(), ..ParentGatewayReference::default() };
        let spec = ListenerSetSpec { parent_ref, listeners: Vec::new() };
        Self { metadata: ObjectMeta::new(namespace, name), spec, status: None }
    }

    /// Adds a listener.
    #[must_use]
    pub fn listener(mut self, listener: Listener) -> Self {
        self.spec.listeners.push(listener);
        self
    }
}

impl Listener {
    /// A listener for any protocol.
    #[must_use]
    pub fn new(name: impl Into<String>, port: u16, protocol: ProtocolType) -> Self {
        Self { name: name.into(), port: port.into(), protocol, ..Self::default() }
    }

    /// A listener for plain HTTP.
    #[must_use]
    pub fn http(name: impl Into<String>, port: u16) -> Self {
        Self::new(name, port, ProtocolType::Http)
    }

    /// A listener for HTTPS with the certificate in the Secret `certificate`.
    #[must_use]
    pub fn https(name: impl Into<String>, port: u16, certificate: impl Into<String>) -> Self {
        Self::new(name, port, ProtocolType::Https).certificate(certificate)
    }

    /// A listener for TLS that is passed through to backends.
    #[must_use]
    pub fn tls_passthrough(name: impl Into<String>, port: u16) -> Self {
        let tls = ListenerTlsConfig {
            mode: Some(TlsModeType::Passthrough),
            ..ListenerTlsConfig::default()
        };
        Self { tls: Some(tls), ..Self::new(name, port, ProtocolType::Tls) }
    }

    /// A listener for TLS that ends here, with the certificate in the Secret `certificate`.
    #[must_use]
    pub fn tls_terminate(
        name: impl Into<String>,
        port: u16,
        certificate: impl Into<String>,
    ) -> Self {
        Self::new(name, port, ProtocolType::Tls).certificate(certificate)
    }

    /// A listener for TCP.
    #[must_use]
    pub fn tcp(name: impl Into<String>, port: u16) -> Self {
        Self::new(name, port, ProtocolType::Tcp)
    }

    /// A listener for UDP.
    #[must_use]
    pub fn udp(name: impl Into<String>, port: u16) -> Self {
        Self::new(name, port, ProtocolType::Udp)
    }

    /// Serves only this hostname, which may start with `*.`.
    #[must_use]
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Ends TLS here, with the certificate in the Secret `name` of the same namespace.
    #[must_use]
    pub fn certificate(mut self, name: impl Into<String>) -> Self {
        let tls = self.tls.get_or_insert_default();
        tls.mode.get_or_insert(TlsModeType::Terminate);
        tls.certificate_refs
            .push(SecretObjectReference { name: name.into(), ..SecretObjectReference::default() });
        self
    }

    /// Lets routes from these namespaces attach.
    #[must_use]
    pub fn allow_routes(mut self, from: FromNamespaces) -> Self {
        let namespaces = RouteNamespaces { from: Some(from), selector: None };
        self.allowed_routes.get_or_insert_default().namespaces = Some(namespaces);
        self
    }
}
