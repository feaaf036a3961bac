//! What a `backendRef` leads to.
//!
//! In: a reference of a route. Out: a [`Backend`], shared by all rules that mean the same, or why
//! there is none. Not here: endpoints, and which Gateways a policy takes effect through.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    api::{
        BackendObjectReference, CORE_GROUP, Kind, ObjectKey, Reason, Service, ServicePort,
        ServiceType, TransportProtocol,
    },
    backend::{Backend, BackendKey, BackendProtocol, BackendTls, InvalidBackend, ProxyProtocol},
};

use super::{
    Given,
    external::external,
    grant::{Referent, Referrer},
    parents::Parents,
    policy::Policies,
    status::Fault,
    tls::not_permitted,
};

/// Order of the reasons of ResolvedRefs, if there are several.
pub(super) const RANKED: &[Reason] = &[
    Reason::RefNotPermitted,
    Reason::InvalidKind,
    Reason::BackendNotFound,
    Reason::UnsupportedProtocol,
];

/// The annotation of a Service whose connections of TCPRoutes and TLSRoutes begin with a PROXY
/// header: `v1` or `v2`.
const PROXY_PROTOCOL: &str = "gateway-rs.github.io/proxy-protocol";

/// What a route speaks to its backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Speaks {
    Http,
    Grpc,
    Tcp,
    /// Bytes of a connection whose TLS ended at the listener.
    TerminatedTls,
    Udp,
}

/// Why a reference leads nowhere.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    pub(super) invalid: InvalidBackend,
    /// For ResolvedRefs of the route; none if the fault is that of a policy or a Gateway.
    pub(super) fault: Option<Fault>,
}

impl Rejected {
    pub(super) fn new(invalid: InvalidBackend, message: String) -> Self {
        let reason = match invalid {
            InvalidBackend::InvalidKind => Reason::InvalidKind,
            InvalidBackend::NotPermitted => Reason::RefNotPermitted,
            InvalidBackend::UnsupportedProtocol => Reason::UnsupportedProtocol,
            _ => Reason::BackendNotFound,
        };
        Self { invalid, fault: Some(Fault::new(reason, message)) }
    }

    /// TLS to the backend is required and cannot be had.
    pub(super) fn tls() -> Self {
        Self { invalid: InvalidBackend::InvalidTls, fault: None }
    }
}

/// Backends that are shared by rules: by what they are, what is spoken, and the Gateway whose
/// client certificate is shown.
pub(super) type Interned = BTreeMap<(BackendKey, Speaks, Option<usize>), Arc<Backend>>;

/// Resolves the references of one route.
#[derive(Debug)]
pub(super) struct Backends<'a> {
    pub(super) given: Given<'a>,
    pub(super) policies: &'a Policies,
    pub(super) parents: &'a Parents,
    pub(super) interned: &'a mut Interned,
    pub(super) route: &'a ObjectKey,
    pub(super) speaks: Speaks,
    /// The Gateway whose client certificate is shown, if any has one.
    pub(super) client: Option<usize>,
    /// Ports of Services that the route reaches, also those that it then cannot use.
    pub(super) reached: BTreeSet<BackendKey>,
}

impl Backends<'_> {
    /// Follows a reference.
    ///
    /// # Errors
    ///
    /// Why requests for it are answered with 500.
    pub(super) fn resolve(
        &mut self,
        reference: &BackendObjectReference,
    ) -> Result<Arc<Backend>, Rejected> {
        let namespace = reference.namespace(&self.route.namespace);
        let (group, kind) = (reference.group(), reference.kind());
        let known = Kind::find(group, kind)
            .filter(|kind| matches!(kind, Kind::Service | Kind::XBackend))
            .ok_or_else(|| {
                let shown =
                    if group == CORE_GROUP { kind.into() } else { format!("{group}/{kind}") };
                let message = format!(
                    "{shown} {namespace}/{} cannot be a backend, expected a Service",
                    reference.name
                );
                Rejected::new(InvalidBackend::InvalidKind, message)
            })?;
        let referent = Referent { group, kind, namespace, name: &reference.name };
        if !self.given.grants.permits(Referrer::of(self.route), referent) {
            let fault = Some(not_permitted(self.route, referent));
            return Err(Rejected { invalid: InvalidBackend::NotPermitted, fault });
        }
        match known {
            Kind::Service => self.service(reference, namespace),
            _ => external(reference, namespace, self.speaks, self.given),
        }
    }

    fn service(
        &mut self,
        reference: &BackendObjectReference,
        namespace: &str,
    ) -> Result<Arc<Backend>, Rejected> {
        let name = &reference.name;
        let missing = |message| Rejected::new(InvalidBackend::NotFound, message);
        let service = self
            .given
            .snapshot
            .service(namespace, name)
            .ok_or_else(|| missing(format!("Service {namespace}/{name} does not exist")))?;
        let external_hostname = self.external_name(service, namespace, name)?;
        let number = reference.port.ok_or_else(|| {
            missing(format!("the reference to Service {namespace}/{name} has no port"))
        })?;
        let port = self.port(service, number, namespace, name)?;
        let key = BackendKey {
            kind: Kind::Service,
            namespace: namespace.into(),
            name: name.as_str().into(),
            // `port` was found by this number, which is that of a Service.
            port: u16::try_from(number).unwrap_or_default(),
        };
        if self.policies.concern(namespace, name) {
            self.reached.insert(key.clone());
        }
        let protocol = self.protocol(port, namespace, name)?;
        let tls = self.tls(port, namespace, name)?;
        let client = tls.as_ref().and_then(|tls| tls.client_certificate.as_ref()).and(self.client);
        let traffic = self.policies.traffic(namespace, name);
        let proxy_protocol = self.proxy_protocol(service, namespace, name)?;
        let backend = || Backend {
            key: key.clone(),
            protocol,
            tls,
            external_hostname,
            retry_budget: traffic.and_then(|traffic| traffic.retry_budget),
            session_persistence: traffic.and_then(|traffic| traffic.session_persistence.clone()),
            proxy_protocol,
        };
        let place = (key.clone(), self.speaks, client);
        Ok(Arc::clone(self.interned.entry(place).or_insert_with(|| Arc::new(backend()))))
    }

    fn external_name(
        &self,
        service: &Service,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Box<str>>, Rejected> {
        if service.spec.kind != Some(ServiceType::ExternalName) {
            return Ok(None);
        }
        // SPEC: ExternalName Services should not be supported: whoever may write one could make
        // the gateway reach any host.
        if !self.given.scope.external_names {
            let message = format!(
                "Service {namespace}/{name} is of type ExternalName, which is not allowed here"
            );
            return Err(Rejected::new(InvalidBackend::InvalidKind, message));
        }
        match service.spec.external_name.as_deref().filter(|host| !host.is_empty()) {
            Some(host) => Ok(Some(host.into())),
            None => {
                let message = format!("Service {namespace}/{name} has no externalName");
                Err(Rejected::new(InvalidBackend::NotFound, message))
            }
        }
    }

    fn port<'s>(
        &self,
        service: &'s Service,
        number: i32,
        namespace: &str,
        name: &str,
    ) -> Result<Option<&'s ServicePort>, Rejected> {
        let wanted = match self.speaks {
            Speaks::Udp => TransportProtocol::Udp,
            _ => TransportProtocol::Tcp,
        };
        let mut ports = service.spec.ports.iter().filter(|port| port.port == number);
        let found = ports.clone().find(|port| *port.protocol() == wanted);
        if found.is_some() {
            return Ok(found);
        }
        if let Some(other) = ports.next() {
            let message = format!(
                "port {number} of Service {namespace}/{name} is {}, expected {wanted}",
                other.protocol()
            );
            return Err(Rejected::new(InvalidBackend::UnsupportedProtocol, message));
        }
        // An alias of another host needs no ports of its own.
        let is_alias = service.spec.kind == Some(ServiceType::ExternalName);
        if is_alias && service.spec.ports.is_empty() && (1..=65535).contains(&number) {
            return Ok(None);
        }
        let ports: Vec<String> =
            service.spec.ports.iter().map(|port| port.port.to_string()).collect();
        let has = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        let message = format!("Service {namespace}/{name} has no port {number}, it has {has}");
        Err(Rejected::new(InvalidBackend::NotFound, message))
    }

    // SPEC: appProtocol: kubernetes.io/h2c, ws and wss have a meaning; names without prefix are
    // tolerated; names of other implementations cannot be known.
    fn protocol(
        &self,
        port: Option<&ServicePort>,
        namespace: &str,
        name: &str,
    ) -> Result<BackendProtocol, Rejected> {
        let app_protocol = port.and_then(|port| port.app_protocol.as_deref()).unwrap_or("");
        let unsupported = |expected: &str| {
            let message = format!(
                "appProtocol {app_protocol:?} of Service {namespace}/{name} cannot be spoken by {}, \
                 expected {expected}",
                self.route.kind
            );
            Err(Rejected::new(InvalidBackend::UnsupportedProtocol, message))
        };
        match (self.speaks, app_protocol) {
            (Speaks::Tcp | Speaks::TerminatedTls, _) => Ok(BackendProtocol::Tcp),
            (Speaks::Udp, _) => Ok(BackendProtocol::Udp),
            (Speaks::Grpc, "kubernetes.io/ws" | "kubernetes.io/wss") => {
                unsupported("kubernetes.io/h2c or none")
            }
            (_, "kubernetes.io/h2c") => Ok(BackendProtocol::Http2),
            (Speaks::Http, "kubernetes.io/wss") if !self.has_policy(port, namespace, name) => {
                unsupported("a BackendTLSPolicy beside it")
            }
            (Speaks::Http, "kubernetes.io/ws" | "kubernetes.io/wss") => Ok(BackendProtocol::Http1),
            (_, other) if other.contains('/') => {
                unsupported("kubernetes.io/h2c, kubernetes.io/ws, kubernetes.io/wss or none")
            }
            (Speaks::Http, other) if other.eq_ignore_ascii_case("grpc") => {
                Ok(BackendProtocol::Http2)
            }
            (Speaks::Http, _) => Ok(BackendProtocol::Http1),
            (Speaks::Grpc, _) => Ok(BackendProtocol::Http2),
        }
    }

    /// What the annotation asks for. Connections of HTTP are shared by clients, so there it has no
    /// meaning.
    fn proxy_protocol(
        &self,
        service: &Service,
        namespace: &str,
        name: &str,
    ) -> Result<Option<ProxyProtocol>, Rejected> {
        if !matches!(self.speaks, Speaks::Tcp | Speaks::TerminatedTls) {
            return Ok(None);
        }
        match service.metadata.annotations.get(PROXY_PROTOCOL).map(String::as_str) {
            None => Ok(None),
            Some("v1") => Ok(Some(ProxyProtocol::V1)),
            Some("v2") => Ok(Some(ProxyProtocol::V2)),
            // Without the header the backend would take the first bytes for one.
            Some(other) => {
                let message = format!(
                    "the annotation {PROXY_PROTOCOL} of Service {namespace}/{name} is {other:?}, \
                     expected v1 or v2"
                );
                Err(Rejected::new(InvalidBackend::UnsupportedProtocol, message))
            }
        }
    }

    fn has_policy(&self, port: Option<&ServicePort>, namespace: &str, name: &str) -> bool {
        let section = port.and_then(|port| port.name.as_deref());
        self.policies.tls(namespace, name, section).is_some()
    }

    fn tls(
        &self,
        port: Option<&ServicePort>,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<BackendTls>>, Rejected> {
        if matches!(self.speaks, Speaks::Tcp | Speaks::Udp) {
            return Ok(None);
        }
        let section = port.and_then(|port| port.name.as_deref());
        // SPEC: with an invalid policy requests must fail, never go out in plain text.
        let tls = match self.policies.tls(namespace, name, section) {
            None => return Ok(None),
            Some(Err(_)) => return Err(Rejected::tls()),
            Some(Ok(tls)) => tls,
        };
        match self.client.and_then(|at| self.parents.gateways[at].client_certificate.as_ref()) {
            None => Ok(Some(Arc::clone(tls))),
            Some(Err(_)) => Err(Rejected::tls()),
            Some(Ok(pair)) => {
                let client_certificate = Some(Arc::clone(pair));
                Ok(Some(Arc::new(BackendTls { client_certificate, ..(**tls).clone() })))
            }
        }
    }
}
