//! The passes in order, and what they leave behind so that a changed route can be resolved alone.
//!
//! In: a snapshot, later the keys of changed routes. Out: topology and status, kept current. Not
//! here: which changes leave all but routes as it was (`build`).

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    api::{Kind, ObjectKey},
    diagnostic::Diagnostic,
    scope::ControllerScope,
    snapshot::Snapshot,
};

use super::{
    Given, Resolved,
    ancestor::{Reach, policy_status},
    backend::Interned,
    bind,
    class::Classes,
    gateway,
    grant::Grants,
    note::Notes,
    parents::Parents,
    policy::Policies,
    route::{AnyRoute, Ground, Trace, resolve_route},
    status::{ObjectStatus, StatusReport},
    topology::{ListenerId, Route, Topology},
};

/// A resolved snapshot that can follow changes of routes.
#[derive(Debug)]
pub(crate) struct Resolution {
    topology: Topology,
    status: StatusReport,
    notes: Notes,
    grants: Grants,
    parents: Parents,
    policies: Policies,
    interned: Interned,
    /// Routes by listener, at the places of [`Parents::listeners`].
    attached: Vec<u32>,
    reach: Reach,
    traces: BTreeMap<ObjectKey, Trace>,
}

/// What a change of routes touches besides them.
#[derive(Debug, Default)]
struct Touched {
    listeners: BTreeSet<usize>,
    services: BTreeSet<ObjectKey>,
}

impl Resolution {
    pub(crate) fn new(snapshot: &Snapshot, scope: &ControllerScope) -> Self {
        let (mut status, mut notes) = (StatusReport::default(), Notes::default());
        let grants = Grants::new(snapshot);
        let given = Given { snapshot, scope, grants: &grants };
        let classes = Classes::new(given, &mut status, &mut notes);
        let mut gateways = gateway::draft_all(given, &classes, &mut notes);
        let sockets = bind::assign(&mut gateways, given, &mut notes);
        for draft in &gateways {
            status.set(&draft.key, ObjectStatus::Gateway(draft.status(given)));
            for set in &draft.sets {
                status.set(&set.key, ObjectStatus::ListenerSet(set.status()));
            }
        }
        let parents = Parents::new(&gateways, &sockets);
        let policies = Policies::new(given, &mut notes);
        let topology = Topology {
            binds: sockets.binds,
            listeners: sockets.listeners,
            routes: BTreeMap::new(),
        };
        let mut resolution = Self {
            topology,
            status,
            notes,
            grants,
            attached: vec![0; parents.listeners.len()],
            parents,
            policies,
            interned: Interned::new(),
            reach: Reach::default(),
            traces: BTreeMap::new(),
        };
        resolution.update(snapshot, scope, routes(snapshot));
        let policies: Vec<ObjectKey> = resolution.policies.keys(None).cloned().collect();
        resolution.refresh_policies(policies.iter());
        keep_oldest_l4_routes(&mut resolution.topology.routes);
        resolution
    }

    /// Resolves the routes of these keys anew, or forgets them if they are gone. Gives the keys of
    /// all objects whose status changed.
    pub(crate) fn update<'k>(
        &mut self,
        snapshot: &Snapshot,
        scope: &ControllerScope,
        keys: impl Iterator<Item = &'k ObjectKey>,
    ) -> BTreeSet<ObjectKey> {
        let mut changed = BTreeSet::new();
        let mut touched = Touched::default();
        for key in keys {
            if self.update_route(snapshot, scope, key, &mut touched) {
                changed.insert(key.clone());
            }
        }
        changed.extend(self.refresh_listeners(&touched.listeners));
        let policies: BTreeSet<ObjectKey> = touched
            .services
            .iter()
            .flat_map(|service| self.policies.keys(Some(service)).cloned())
            .collect();
        changed.extend(self.refresh_policies(policies.iter()));
        changed
    }

    fn update_route(
        &mut self,
        snapshot: &Snapshot,
        scope: &ControllerScope,
        key: &ObjectKey,
        touched: &mut Touched,
    ) -> bool {
        self.notes.clear(key);
        if let Some(trace) = self.traces.remove(key) {
            self.count(&trace, false, touched);
        }
        let Some(route) = AnyRoute::find(snapshot, key) else {
            self.topology.routes.remove(key);
            return self.status.remove(key);
        };
        let given = Given { snapshot, scope, grants: &self.grants };
        let ground = Ground { given, parents: &self.parents, policies: &self.policies };
        let outcome = resolve_route(key, route, ground, &mut self.interned, &mut self.notes);
        self.count(&outcome.trace, true, touched);
        if outcome.trace != Trace::default() {
            self.traces.insert(key.clone(), outcome.trace);
        }
        match outcome.route {
            Some(route) => self.topology.routes.insert(key.clone(), Arc::new(route)),
            None => self.topology.routes.remove(key),
        };
        self.status.set(key, ObjectStatus::Route(outcome.status))
    }

    fn count(&mut self, trace: &Trace, add: bool, touched: &mut Touched) {
        for at in &trace.listeners {
            let count = &mut self.attached[*at];
            *count = if add { *count + 1 } else { count.saturating_sub(1) };
            touched.listeners.insert(*at);
        }
        for backend in &trace.reached {
            for gateway in &trace.gateways {
                match add {
                    true => self.reach.add(backend, *gateway),
                    false => self.reach.remove(backend, *gateway),
                }
            }
            let service = ObjectKey::new(Kind::Service, &backend.namespace, &backend.name);
            touched.services.insert(service);
        }
    }

    fn refresh_listeners(&mut self, listeners: &BTreeSet<usize>) -> BTreeSet<ObjectKey> {
        let mut changed = BTreeSet::new();
        for at in listeners {
            let listener = &self.parents.listeners[*at];
            let listeners = match self.status.get_mut(&listener.owner) {
                Some(ObjectStatus::Gateway(status)) => &mut status.listeners,
                Some(ObjectStatus::ListenerSet(status)) => &mut status.listeners,
                _ => continue,
            };
            let Some(status) = listeners.get_mut(listener.place) else { continue };
            let count = i32::try_from(self.attached[*at]).unwrap_or(i32::MAX);
            if status.attached_routes != count {
                status.attached_routes = count;
                changed.insert(listener.owner.clone());
            }
        }
        changed
    }

    fn refresh_policies<'k>(
        &mut self,
        policies: impl Iterator<Item = &'k ObjectKey>,
    ) -> BTreeSet<ObjectKey> {
        let mut changed = BTreeSet::new();
        for key in policies {
            let status = policy_status(key, &self.policies, &self.parents, &self.reach);
            if self.status.set(key, ObjectStatus::Policy(status)) {
                changed.insert(key.clone());
            }
        }
        changed
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    pub(crate) fn status(&self) -> &StatusReport {
        &self.status
    }

    pub(crate) fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.notes.iter()
    }

    pub(crate) fn into_resolved(self) -> Resolved {
        let diagnostics = self.notes.iter().cloned().collect();
        Resolved { topology: self.topology, status: self.status, diagnostics }
    }
}

fn routes(snapshot: &Snapshot) -> impl Iterator<Item = &ObjectKey> {
    snapshot
        .http_routes()
        .keys()
        .chain(snapshot.grpc_routes().keys())
        .chain(snapshot.tls_routes().keys())
        .chain(snapshot.tcp_routes().keys())
        .chain(snapshot.udp_routes().keys())
}

/// Leaves each TCP and UDP listener to the oldest of its routes.
// SPEC: all of them are accepted and counted, only the oldest gets traffic.
fn keep_oldest_l4_routes(routes: &mut BTreeMap<ObjectKey, Arc<Route>>) {
    let is_l4 = |key: &ObjectKey| matches!(key.kind, Kind::TcpRoute | Kind::UdpRoute);
    let mut oldest_first: Vec<ObjectKey> =
        routes.keys().filter(|key| is_l4(key)).cloned().collect();
    oldest_first.sort_by_key(|key| {
        let created = routes.get(key).and_then(|route| route.created);
        (Reverse(created.map(Reverse)), format!("{}/{}", key.namespace, key.name))
    });
    let mut taken: BTreeSet<ListenerId> = BTreeSet::new();
    for key in oldest_first {
        let Some(route) = routes.get(&key) else { continue };
        let mut route = Route::clone(route);
        route.attachments.retain(|attachment| taken.insert(attachment.listener));
        match route.attachments.is_empty() {
            true => routes.remove(&key),
            false => routes.insert(key, Arc::new(route)),
        };
    }
}
