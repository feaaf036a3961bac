//! The parents that routes attach to, as an index that outlives the pass which made it.
//!
//! In: drafts of Gateways and ListenerSets, and their places in the topology. Out: [`Parents`].
//! Not here: the routes; resolving one of them again needs nothing but this and the snapshot.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use crate::{
    api::{GatewayDefaultScope, Kind, ObjectKey},
    matcher::HostPattern,
};

use super::{
    bind::Sockets,
    gateway::GatewayDraft,
    listener::{Draft, Protocol},
    selector::AllowedNamespaces,
    status::Fault,
    tls::ClientCertificate,
    topology::ListenerId,
};

/// Everything that a route may name as its parent.
#[derive(Clone, Debug, Default)]
pub(super) struct Parents {
    pub(super) gateways: Vec<ParentGateway>,
    pub(super) listeners: Vec<ParentListener>,
    /// Gateways and ListenerSets of ours.
    pub(super) owners: BTreeMap<ObjectKey, Owner>,
}

/// A Gateway of ours. The oldest come first.
#[derive(Clone, Debug)]
pub(super) struct ParentGateway {
    pub(super) key: ObjectKey,
    pub(super) controller_name: Arc<str>,
    pub(super) client_certificate: ClientCertificate,
    /// Whether it takes routes that ask for default Gateways.
    pub(super) is_default: bool,
}

/// A Gateway or ListenerSet of ours.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    /// A place in [`Parents::gateways`].
    pub(super) gateway: usize,
    /// Places in [`Parents::listeners`], in the order of the spec.
    pub(super) listeners: Range<usize>,
    /// Why its Gateway does not take it, if it is a ListenerSet.
    pub(super) refused: Option<Fault>,
}

/// A listener, served or not.
#[derive(Clone, Debug)]
pub(super) struct ParentListener {
    /// None if it is not served.
    pub(super) id: Option<ListenerId>,
    pub(super) owner: ObjectKey,
    /// Its place in the status of its owner.
    pub(super) place: usize,
    /// A place in [`Parents::gateways`].
    pub(super) gateway: usize,
    pub(super) name: Box<str>,
    pub(super) port: u16,
    pub(super) protocol: Option<Protocol>,
    pub(super) kinds: Vec<Kind>,
    pub(super) namespaces: AllowedNamespaces,
    pub(super) hostname: HostPattern,
}

impl Parents {
    pub(super) fn new(gateways: &[GatewayDraft], sockets: &Sockets) -> Self {
        let mut parents = Self::default();
        for (at, draft) in gateways.iter().enumerate() {
            parents.gateways.push(ParentGateway {
                key: draft.key.clone(),
                controller_name: Arc::clone(&draft.membership.controller_name),
                client_certificate: draft.client_certificate.clone(),
                is_default: draft.gateway.spec.default_scope == Some(GatewayDefaultScope::All),
            });
            parents.add_owner(&draft.key, at, &draft.listeners, None, sockets);
            for set in &draft.sets {
                parents.add_owner(&set.key, at, &set.listeners, set.refused.clone(), sockets);
            }
        }
        parents
    }

    fn add_owner(
        &mut self,
        key: &ObjectKey,
        gateway: usize,
        drafts: &[Draft],
        refused: Option<Fault>,
        sockets: &Sockets,
    ) {
        let ids = sockets.ids.get(key).map_or(&[][..], Vec::as_slice);
        let start = self.listeners.len();
        self.listeners.extend(drafts.iter().enumerate().map(|(place, draft)| ParentListener {
            id: ids.get(place).copied().flatten(),
            owner: key.clone(),
            place,
            gateway,
            name: draft.name.clone(),
            port: draft.port,
            protocol: draft.protocol,
            kinds: draft.kinds.clone(),
            namespaces: draft.namespaces.clone(),
            hostname: draft.hostname.clone(),
        }));
        let listeners = start..self.listeners.len();
        self.owners.insert(key.clone(), Owner { gateway, listeners, refused });
    }
}
