//! Sockets: which listeners stand behind which, over all Gateways.
//!
//! In: drafts of all Gateways, the oldest first, and what was observed. Out: binds and listeners of
//! the topology; a listener that no socket serves is told so. Not here: opening sockets.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{ObjectKey, Reason},
    snapshot::{BindAddress, BindKey, BindState, Transport},
};

use super::{
    Given,
    distinct::{Occupant, Ports},
    gateway::GatewayDraft,
    listener::{Draft, Protocol},
    note::Notes,
    status::Fault,
    topology::{Bind, Listener, ListenerId, ListenerProtocol},
};

/// Sockets and listeners of the topology.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) binds: Vec<Bind>,
    pub(super) listeners: Vec<Arc<Listener>>,
    /// For each owner the listeners in the order of its spec; none for one that is not served.
    pub(super) ids: BTreeMap<ObjectKey, Vec<Option<ListenerId>>>,
}

/// Who sits on the sockets of which address.
#[derive(Default)]
struct Seats {
    ports: BTreeMap<BindAddress, Ports>,
    listeners: BTreeMap<BindKey, Vec<ListenerId>>,
}

/// Seats every accepted listener on the sockets of its Gateway.
pub(super) fn assign(
    gateways: &mut [GatewayDraft],
    given: Given<'_>,
    notes: &mut Notes,
) -> Sockets {
    let mut sockets = Sockets::default();
    let mut seats = Seats::default();
    for gateway in gateways {
        gateway.addresses.observe(&gateway.key, given);
        let GatewayDraft { key, addresses, listeners, sets, refused, .. } = gateway;
        let own = (&*key, listeners, refused.is_some());
        let sets = sets.iter_mut().map(|set| (&set.key, &mut set.listeners, set.refused.is_some()));
        for (owner, drafts, refused) in std::iter::once(own).chain(sets) {
            let mut ids = Vec::with_capacity(drafts.len());
            for draft in drafts {
                let Some(listener) =
                    listener(draft, key, owner).filter(|_| !refused && draft.is_accepted())
                else {
                    ids.push(None);
                    continue;
                };
                let id = ListenerId(u32::try_from(sockets.listeners.len()).unwrap_or(u32::MAX));
                sockets.listeners.push(Arc::new(listener));
                ids.push(Some(id));
                let keys = addresses.binds.iter().map(|address| BindKey {
                    address: address.clone(),
                    port: draft.port,
                    transport: draft.protocol.map_or(Transport::Tcp, Protocol::transport),
                });
                if let Some(fault) = seat(draft, id, owner, keys, &mut seats, given) {
                    notes.fault(owner, draft.field.clone(), &fault);
                    draft.not_programmed.get_or_insert(fault);
                }
            }
            sockets.ids.insert(owner.clone(), ids);
        }
    }
    let binds = seats.listeners.into_iter();
    sockets.binds = binds.map(|(key, listeners)| Bind { key, listeners }).collect();
    sockets
}

/// Seats a listener on each of its sockets. The fault says why none of them serves it, with
/// the reason of each.
fn seat(
    draft: &Draft,
    id: ListenerId,
    owner: &ObjectKey,
    keys: impl Iterator<Item = BindKey>,
    seats: &mut Seats,
    given: Given<'_>,
) -> Option<Fault> {
    let mut served = false;
    let mut faults = Vec::new();
    for key in keys {
        let state = given.snapshot.observed.binds.get(&key);
        if let Some(BindState::Failed(error)) = state {
            let message = format!("port {} cannot be opened: {error}", key.port);
            faults.push(Fault::new(Reason::PortUnavailable, message));
        }
        let failed = matches!(state, Some(BindState::Failed(_)));
        let ports = seats.ports.entry(key.address.clone()).or_default();
        if let Some((reason, winner)) = ports.taken_by(draft) {
            faults.push(Fault::new(Reason::PortUnavailable, taken(draft, &reason, winner)));
            continue;
        }
        ports.take(draft, owner);
        seats.listeners.entry(key).or_default().push(id);
        served |= !failed;
    }
    // One address may be refused for another reason than the next.
    Fault::gather(&faults, &[]).filter(|_| !served)
}

/// Who has the place of a listener, and where else it could go.
fn taken(draft: &Draft, reason: &Reason, winner: &Occupant) -> String {
    let Occupant { name, owner, .. } = winner;
    let port = draft.port;
    match reason {
        // By hostname such listeners could not be told apart either.
        Reason::ProtocolConflict => format!(
            "port {port} is that of listener {name} of {owner}, which is older and of a protocol \
             that cannot share it; use another port or address"
        ),
        _ => format!(
            "port {port} and hostname {} are served by listener {name} of {owner}, which is older; \
             use another port, hostname or address",
            draft.hostname
        ),
    }
}

fn listener(draft: &Draft, gateway: &ObjectKey, owner: &ObjectKey) -> Option<Listener> {
    let protocol = match (draft.protocol?, &draft.tls) {
        (Protocol::Http, _) => ListenerProtocol::Http,
        (Protocol::Https, Some(tls)) => ListenerProtocol::Https(Arc::clone(tls)),
        (Protocol::TlsTerminate, Some(tls)) => ListenerProtocol::TlsTerminate(Arc::clone(tls)),
        (Protocol::TlsPassthrough, _) => ListenerProtocol::TlsPassthrough,
        (Protocol::Tcp, _) => ListenerProtocol::Tcp,
        (Protocol::Udp, _) => ListenerProtocol::Udp,
        (Protocol::Https | Protocol::TlsTerminate, None) => return None,
    };
    Some(Listener {
        gateway: gateway.clone(),
        owner: owner.clone(),
        name: draft.name.clone(),
        hostname: draft.hostname.clone(),
        port: draft.port,
        protocol,
    })
}
