//! The effective listeners of all Gateways: their own and those of the ListenerSets they allow.

use gateway_core::api::{self, Gateway, ListenerSet, ProtocolType, TlsModeType};

use super::world::{Reach, World};

/// A listener, whether or not it can serve.
#[derive(Clone, Debug)]
pub(super) struct Listener {
    /// `namespace/name` of the Gateway.
    pub(super) gateway: String,
    /// `Gateway` or `ListenerSet`.
    pub(super) owner_kind: &'static str,
    pub(super) owner_namespace: String,
    pub(super) owner_name: String,
    pub(super) spec: api::Listener,
    /// Whether the Gateway takes the object that holds it.
    pub(super) taken: bool,
    /// Whether it has its place on the port.
    pub(super) serves: bool,
    /// Whether a TLS handshake can succeed. One that cannot keeps its place: the hosts of a listener
    /// whose certificate is missing do not fall to another listener.
    pub(super) has_certificate: bool,
}

impl Listener {
    pub(super) fn hostname(&self) -> &str {
        self.spec.hostname.as_deref().unwrap_or("")
    }
}

/// All listeners of our Gateways: the oldest Gateway first, each before its ListenerSets.
pub(super) fn listeners(world: &World) -> Vec<Listener> {
    let mut all = Vec::new();
    for gateway in world.our_gateways() {
        let meta = &gateway.metadata;
        let own = owned(gateway, "Gateway", &meta.namespace, &meta.name, &gateway.spec.listeners);
        let mut groups = vec![(own, true)];
        let accepted = is_accepted(world, gateway) && has_valid_listener(&groups[0].0);
        for set in sets(world, gateway) {
            let (meta, listeners) = (&set.metadata, &set.spec.listeners);
            let own = owned(gateway, "ListenerSet", &meta.namespace, &meta.name, listeners);
            groups.push((own, accepted && is_allowed(world, gateway, set)));
        }
        all.extend(merge(world, groups, accepted));
    }
    all
}

fn owned(
    gateway: &Gateway,
    owner_kind: &'static str,
    namespace: &str,
    name: &str,
    listeners: &[api::Listener],
) -> Vec<Listener> {
    let listener = |spec: &api::Listener| Listener {
        gateway: format!("{}/{}", gateway.metadata.namespace, gateway.metadata.name),
        owner_kind,
        owner_namespace: namespace.to_owned(),
        owner_name: name.to_owned(),
        spec: spec.clone(),
        taken: false,
        serves: false,
        has_certificate: false,
    };
    listeners.iter().map(listener).collect()
}

/// The ListenerSets that name `gateway`, in order of precedence.
fn sets<'w>(world: &'w World, gateway: &Gateway) -> impl Iterator<Item = &'w ListenerSet> {
    let names = |set: &&ListenerSet| {
        let parent = &set.spec.parent_ref;
        parent.group() == api::GATEWAY_GROUP
            && parent.kind() == "Gateway"
            && parent.name == gateway.metadata.name
            && parent.namespace(&set.metadata.namespace) == gateway.metadata.namespace
    };
    let mut sets: Vec<_> = world.listener_sets().filter(names).collect();
    sets.sort_by(|a, b| a.metadata.seniority_cmp(&b.metadata));
    sets.into_iter()
}

// SPEC: a Gateway is not accepted with an address of a type that is not supported, or with
// parameters, which only implementations define.
fn is_accepted(world: &World, gateway: &Gateway) -> bool {
    let mut classes = world.gateway_classes();
    let class = classes.find(|class| class.metadata.name == gateway.spec.gateway_class_name);
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let addresses = gateway.spec.addresses.iter();
    addresses.into_iter().all(|it| matches!(it.kind().as_str(), "IPAddress" | "Hostname"))
        && infrastructure.is_none_or(|it| it.parameters_ref.is_none())
        && class.is_some_and(|class| class.spec.parameters_ref.is_none())
}

// SPEC: a Gateway without any valid listener of its own is not accepted, and so none of its sets is.
fn has_valid_listener(own: &[Listener]) -> bool {
    own.iter().enumerate().any(|(place, listener)| {
        let others = own.iter().enumerate().filter(|(other, _)| *other != place);
        let mut others = others.map(|(_, other)| other);
        is_supported(&listener.spec) && !others.any(|other| conflict(&listener.spec, &other.spec))
    })
}

// SPEC: without allowedListeners no ListenerSet may attach.
fn is_allowed(world: &World, gateway: &Gateway, set: &ListenerSet) -> bool {
    let allowed = gateway.spec.allowed_listeners.as_ref().and_then(|it| it.namespaces.as_ref());
    allowed.is_some_and(|allowed| {
        let (home, namespace) = (&gateway.metadata.namespace, &set.metadata.namespace);
        world.allows(allowed.from(), allowed.selector.as_ref(), home, namespace)
    })
}

/// Decides which listeners serve. Between objects the one that comes first does; inside one object
/// none of those that still conflict does.
fn merge(world: &World, groups: Vec<(Vec<Listener>, bool)>, accepted: bool) -> Vec<Listener> {
    let mut merged: Vec<Listener> = Vec::new();
    for (group, taken) in groups {
        let claimed = |listener: &Listener| {
            let mut serving = merged.iter().filter(|it| it.serves);
            serving.any(|other| conflict(&listener.spec, &other.spec))
        };
        let fits: Vec<bool> = group
            .iter()
            .enumerate()
            .map(|(place, listener)| {
                let others = group.iter().enumerate().filter(|(other, _)| *other != place);
                let mut rivals = others.map(|(_, other)| other).filter(|other| !claimed(other));
                accepted
                    && taken
                    && is_supported(&listener.spec)
                    && !claimed(listener)
                    && !rivals.any(|other| conflict(&listener.spec, &other.spec))
            })
            .collect();
        let decided = group.into_iter().zip(fits).map(|(mut listener, fits)| {
            listener.taken = taken;
            listener.serves = fits;
            listener.has_certificate = has_certificate(world, &listener);
            listener
        });
        merged.extend(decided);
    }
    merged
}

fn is_supported(listener: &api::Listener) -> bool {
    listener.protocol.is_known()
}

// SPEC: HTTP, HTTPS and TLS listeners are distinct by hostname, HTTPS beside TLS as well; HTTP
// beside one of these never is. TCP takes the whole port, UDP lives beside all but UDP.
fn conflict(a: &api::Listener, b: &api::Listener) -> bool {
    use ProtocolType::{Http, Https, Tcp, Tls, Udp};
    if a.port != b.port || !is_supported(a) || !is_supported(b) {
        return false;
    }
    match (&a.protocol, &b.protocol) {
        (Udp, Udp) => true,
        (Udp, _) | (_, Udp) => false,
        (Tcp, _) | (_, Tcp) => true,
        (Http, Http) | (Https | Tls, Https | Tls) => {
            a.hostname.as_deref().unwrap_or("") == b.hostname.as_deref().unwrap_or("")
        }
        _ => true,
    }
}

/// Whether a listener that ends TLS has at least one certificate; others need none.
fn has_certificate(world: &World, listener: &Listener) -> bool {
    let tls = listener.spec.tls.as_ref();
    let passes = tls.is_some_and(|tls| *tls.mode() == TlsModeType::Passthrough);
    let needs = match listener.spec.protocol {
        ProtocolType::Https => true,
        ProtocolType::Tls => !passes,
        _ => false,
    };
    let usable = |reference: &api::SecretObjectReference| {
        let namespace = reference.namespace(&listener.owner_namespace);
        let reach = Reach {
            from_kind: listener.owner_kind,
            from_namespace: &listener.owner_namespace,
            to_group: reference.group(),
            to_kind: reference.kind(),
            to_namespace: namespace,
            to_name: &reference.name,
        };
        (reference.group(), reference.kind()) == ("", "Secret")
            && world.permits(&reach)
            && world.secrets().any(|secret| {
                let holds = |key: &str| {
                    let pem = secret.value(key).ok().flatten().unwrap_or_default();
                    String::from_utf8_lossy(&pem).contains("-----BEGIN ")
                };
                secret.metadata.name == reference.name
                    && secret.metadata.namespace == namespace
                    && secret.kind.as_deref() == Some("kubernetes.io/tls")
                    && holds("tls.crt")
                    && holds("tls.key")
            })
    };
    !needs || tls.is_some_and(|tls| tls.certificate_refs.iter().any(usable))
}
