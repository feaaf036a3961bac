//! Single listeners: protocol, kinds of routes, hostname, port.
//!
//! In: a listener as written, of a Gateway or a ListenerSet. Out: a [`Draft`] that later passes
//! judge further. Not here: conflicts (`distinct`), certificates (`tls`), sockets (`bind`).

use std::sync::Arc;

use crate::{
    api::{self, Hostname, Kind, ObjectKey, ProtocolType, Reason, TlsModeType},
    diagnostic::Code,
    matcher::HostPattern,
    snapshot::Transport,
};

use super::{note::Notes, selector::AllowedNamespaces, status::Fault, topology::ListenerTls};

/// What a listener speaks, as far as it matters for sharing a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Https,
    TlsTerminate,
    TlsPassthrough,
    Tcp,
    Udp,
}

impl Protocol {
    pub(super) fn transport(self) -> Transport {
        if self == Self::Udp { Transport::Udp } else { Transport::Tcp }
    }

    /// Whether the listener is chosen by SNI.
    pub(super) fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate | Self::TlsPassthrough)
    }

    /// Whether the listener presents certificates.
    pub(super) fn terminates_tls(self) -> bool {
        matches!(self, Self::Https | Self::TlsTerminate)
    }

    fn has_hostname(self) -> bool {
        !matches!(self, Self::Tcp | Self::Udp)
    }

    /// The kinds of routes that it can carry.
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Http | Self::Https => &[Kind::HttpRoute, Kind::GrpcRoute],
            Self::TlsTerminate | Self::TlsPassthrough => &[Kind::TlsRoute],
            Self::Tcp => &[Kind::TcpRoute],
            Self::Udp => &[Kind::UdpRoute],
        }
    }
}

/// A listener on its way through the passes.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) name: Box<str>,
    /// `spec.listeners[n]`
    pub(super) field: String,
    pub(super) port: u16,
    /// None if the protocol is not supported.
    pub(super) protocol: Option<Protocol>,
    pub(super) hostname: HostPattern,
    /// Kinds of routes that may attach.
    pub(super) kinds: Vec<Kind>,
    pub(super) namespaces: AllowedNamespaces,
    /// Why it is not accepted, conflicts apart.
    pub(super) invalid: Option<Fault>,
    /// Why some of its references or kinds are not resolved.
    pub(super) unresolved: Vec<Fault>,
    pub(super) conflict: Option<Fault>,
    /// The conflict is with a listener of another object, which goes on.
    pub(super) lost: bool,
    pub(super) overlapping: Option<Fault>,
    /// Why it is accepted and yet not served.
    pub(super) not_programmed: Option<Fault>,
    /// For protocols that terminate TLS.
    pub(super) tls: Option<Arc<ListenerTls>>,
    /// The hosts that its certificates are for, as far as they are known.
    pub(super) certificate_names: Vec<HostPattern>,
}

impl Draft {
    /// Reads one listener of `owner`.
    pub(super) fn new(
        listener: &api::Listener,
        index: usize,
        owner: &ObjectKey,
        notes: &mut Notes,
    ) -> Self {
        let mut draft = Self {
            name: listener.name.as_str().into(),
            field: format!("spec.listeners[{index}]"),
            port: 0,
            protocol: None,
            hostname: HostPattern::Any,
            kinds: Vec::new(),
            namespaces: AllowedNamespaces::None,
            invalid: None,
            unresolved: Vec::new(),
            conflict: None,
            lost: false,
            overlapping: None,
            not_programmed: None,
            tls: None,
            certificate_names: Vec::new(),
        };
        draft.read_protocol(listener);
        draft.read_port(listener.port);
        draft.read_hostname(listener.hostname.as_deref(), owner, notes);
        draft.read_namespaces(listener, &owner.namespace);
        draft.read_kinds(listener);
        for fault in draft.invalid.iter().chain(&draft.unresolved) {
            notes.fault(owner, draft.field.clone(), fault);
        }
        draft
    }

    /// Whether the listener is understood and claims its port and hostname alone.
    pub(super) fn is_accepted(&self) -> bool {
        self.invalid.is_none() && self.conflict.is_none()
    }

    fn read_protocol(&mut self, listener: &api::Listener) {
        match protocol(listener) {
            Ok(protocol) => self.protocol = Some(protocol),
            Err((protocol, fault)) => {
                self.protocol = protocol;
                self.invalid = Some(fault);
            }
        }
    }

    fn read_port(&mut self, port: i32) {
        match u16::try_from(port) {
            Ok(port) if port > 0 => self.port = port,
            _ => {
                let message = format!("port is {port}, expected 1 to 65535");
                self.refuse(Fault::new(Reason::UnsupportedValue, message));
            }
        }
    }

    fn read_hostname(&mut self, hostname: Option<&str>, owner: &ObjectKey, notes: &mut Notes) {
        let Some(hostname) = hostname.filter(|hostname| !hostname.is_empty()) else { return };
        if self.protocol.is_some_and(|protocol| !protocol.has_hostname()) {
            let message = format!("hostname {hostname:?} has no meaning for TCP and UDP");
            notes.warn(owner, format!("{}.hostname", self.field), Code::Ignored, message);
            return;
        }
        match Hostname::parse(hostname) {
            Ok(hostname) => self.hostname = HostPattern::new(hostname.as_str()),
            Err(error) => {
                let message = format!("hostname {hostname:?} is not valid: {error}");
                self.refuse(Fault::new(Reason::UnsupportedValue, message));
            }
        }
    }

    fn read_namespaces(&mut self, listener: &api::Listener, own: &str) {
        let namespaces = listener.allowed_routes.as_ref().and_then(|allowed| {
            let namespaces = allowed.namespaces.as_ref()?;
            Some(AllowedNamespaces::new(namespaces.from(), namespaces.selector.as_ref(), own))
        });
        match namespaces {
            None => self.namespaces = AllowedNamespaces::Same(own.into()),
            Some(Ok(namespaces)) => self.namespaces = namespaces,
            Some(Err(mut fault)) => {
                fault.message = format!("allowedRoutes.{}", fault.message);
                self.refuse(fault);
            }
        }
    }

    // SPEC: supportedKinds holds what is configured and fits the protocol; anything else in the
    // list makes ResolvedRefs false, and the valid rest goes on.
    fn read_kinds(&mut self, listener: &api::Listener) {
        let Some(protocol) = self.protocol else { return };
        let configured = listener.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
        if configured.is_empty() {
            self.kinds = protocol.kinds().to_vec();
            return;
        }
        for entry in configured {
            match Kind::find(entry.group(), &entry.kind) {
                Some(kind) if protocol.kinds().contains(&kind) => {
                    if !self.kinds.contains(&kind) {
                        self.kinds.push(kind);
                    }
                }
                _ => {
                    let expected: Vec<_> =
                        protocol.kinds().iter().map(|kind| kind.as_str()).collect();
                    let message = format!(
                        "kind {}/{} cannot attach to protocol {}, expected {}",
                        entry.group(),
                        entry.kind,
                        listener.protocol,
                        expected.join(" or ")
                    );
                    self.unresolved.push(Fault::new(Reason::InvalidRouteKinds, message));
                }
            }
        }
    }

    /// Keeps the first reason to refuse the listener.
    pub(super) fn refuse(&mut self, fault: Fault) {
        self.invalid.get_or_insert(fault);
    }
}

/// The protocol, or why it is refused; then with the protocol as far as it is known.
fn protocol(listener: &api::Listener) -> Result<Protocol, (Option<Protocol>, Fault)> {
    let plain = |protocol: Protocol| match &listener.tls {
        None => Ok(protocol),
        // Serving in plain text what was meant to be TLS would be worse than not serving it.
        Some(_) => {
            let message = format!("protocol {} takes no tls section", listener.protocol);
            Err((Some(protocol), Fault::new(Reason::UnsupportedValue, message)))
        }
    };
    let mode = listener.tls.as_ref().map_or(&TlsModeType::Terminate, |tls| tls.mode());
    match (&listener.protocol, mode) {
        (ProtocolType::Http, _) => plain(Protocol::Http),
        (ProtocolType::Tcp, _) => plain(Protocol::Tcp),
        (ProtocolType::Udp, _) => plain(Protocol::Udp),
        (ProtocolType::Https, TlsModeType::Terminate) => Ok(Protocol::Https),
        (ProtocolType::Tls, TlsModeType::Terminate) => Ok(Protocol::TlsTerminate),
        (ProtocolType::Tls, TlsModeType::Passthrough) => Ok(Protocol::TlsPassthrough),
        (ProtocolType::Https, TlsModeType::Passthrough) => {
            let message = "tls.mode Passthrough needs protocol TLS, for HTTPS it is Terminate";
            Err((Some(Protocol::Https), Fault::new(Reason::UnsupportedValue, message)))
        }
        (ProtocolType::Https | ProtocolType::Tls, TlsModeType::Unknown(mode)) => {
            let message = format!("tls.mode is {mode:?}, expected Terminate or Passthrough");
            let protocol = (listener.protocol == ProtocolType::Https).then_some(Protocol::Https);
            let fault = Fault::new(Reason::UnsupportedValue, message);
            Err((protocol.or(Some(Protocol::TlsTerminate)), fault))
        }
        (ProtocolType::Unknown(protocol), _) => {
            let message = format!(
                "protocol is {protocol:?}, expected one of {}",
                ProtocolType::KNOWN.join(", ")
            );
            Err((None, Fault::new(Reason::UnsupportedProtocol, message)))
        }
    }
}
