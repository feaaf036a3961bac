//! Building routes, references and what all rules share.

use crate::api::*;

impl ParentReference {
    /// Refers to the Gateway `name` in the namespace of the route.
    #[must_use]
    pub fn gateway(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Refers to the ListenerSet `name` in the namespace of the route.
    #[must_use]
    pub fn listener_set(name: impl Into<String>) -> Self {
        Self { kind: Some(Kind::ListenerSet.as_str().to_owned()), ..Self::gateway(name) }
    }

    /// Refers to one listener only.
    #[must_use]
    pub fn section(mut self, name: impl Into<String>) -> Self {
        self.section_name = Some(name.into());
        self
    }

    /// Refers to the listeners on this port only.
    #[must_use]
    pub fn on_port(mut self, port: u16) -> Self {
        self.port = Some(port.into());
        self
    }

    /// Refers to a parent in another namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}

impl From<&str> for ParentReference {
    fn from(gateway: &str) -> Self {
        Self::gateway(gateway)
    }
}

impl BackendObjectReference {
    /// Refers to a port of the Service `name` in the same namespace.
    #[must_use]
    pub fn service(name: impl Into<String>, port: u16) -> Self {
        Self { name: name.into(), port: Some(port.into()), ..Self::default() }
    }

    /// Refers to a backend in another namespace.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }
}

macro_rules! route_builder {
    ($route:ident) => {
        impl $route {
            #[doc = concat!("A ", stringify!($route), " that is not attached yet.")]
            #[must_use]
            pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
                Self { metadata: ObjectMeta::new(namespace, name), ..Self::default() }
            }

            /// Attaches to a parent: the name of a Gateway, or any [`ParentReference`].
            #[must_use]
            pub fn parent(mut self, parent: impl Into<ParentReference>) -> Self {
                self.spec.parent_refs.push(parent.into());
                self
            }
        }
    };
    ($route:ident, hostname) => {
        route_builder!($route);

        impl $route {
            /// Serves this hostname, too; it may start with `*.`.
            #[must_use]
            pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
                self.spec.hostnames.push(hostname.into());
                self
            }
        }
    };
}

macro_rules! rule_builder {
    ($route:ident, $rule:ident) => {
        impl $route {
            /// Adds a rule.
            #[must_use]
            pub fn rule(mut self, rule: $rule) -> Self {
                self.spec.rules.push(rule);
                self
            }
        }
    };
}

macro_rules! backend_builder {
    ($rule:ident, $backend:ident) => {
        impl $rule {
            /// A rule without backends.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// Names the rule.
            #[must_use]
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.name = Some(name.into());
                self
            }

            /// Adds a port of the Service `name` in the namespace of the route.
            #[must_use]
            pub fn backend(self, name: impl Into<String>, port: u16) -> Self {
                self.backend_ref(BackendObjectReference::service(name, port))
            }

            /// Adds any backend.
            #[must_use]
            pub fn backend_ref(mut self, reference: BackendObjectReference) -> Self {
                self.backend_refs.push($backend { reference, ..$backend::default() });
                self
            }

            /// Sets the weight of the backend added last.
            #[must_use]
            pub fn weight(mut self, weight: i32) -> Self {
                if let Some(backend) = self.backend_refs.last_mut() {
                    backend.weight = Some(weight);
                }
                self
            }
        }
    };
}

route_builder!(HttpRoute, hostname);
route_builder!(GrpcRoute, hostname);
route_builder!(TlsRoute, hostname);
route_builder!(TcpRoute);
route_builder!(UdpRoute);
rule_builder!(HttpRoute, HttpRouteRule);
rule_builder!(GrpcRoute, GrpcRouteRule);
rule_builder!(TlsRoute, L4RouteRule);
rule_builder!(TcpRoute, L4RouteRule);
rule_builder!(UdpRoute, L4RouteRule);
backend_builder!(HttpRouteRule, HttpBackendRef);
backend_builder!(GrpcRouteRule, GrpcBackendRef);
backend_builder!(L4RouteRule, BackendRef);
