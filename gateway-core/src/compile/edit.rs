//! Changing some routes of a table without building it anew.
//!
//! In: routes that come, change or go. Out: another table that shares with the first every host
//! that they are not attached to. Not here: changes of listeners, which need a full compile.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    RouteTable,
    host_table::HostTable,
    seniority::seniority_cmp,
    table::{Inner, ListenerTable, hosts_of},
};
use crate::{
    api::ObjectKey,
    matcher::HostPattern,
    resolve::topology::{ListenerId, Route},
};

/// Changes to a table that take effect in the table that [`Edit::finish`] returns.
#[derive(Clone, Debug)]
pub struct Edit {
    base: RouteTable,
    changes: BTreeMap<ObjectKey, Option<Arc<Route>>>,
}

impl Edit {
    pub(super) fn new(base: RouteTable) -> Self {
        Self { base, changes: BTreeMap::new() }
    }

    /// Adds a route, or puts it in the place of the one of the same key.
    pub fn upsert(&mut self, route: Arc<Route>) -> &mut Self {
        self.changes.insert(route.key.clone(), Some(route));
        self
    }

    /// Removes a route if there is one of this key.
    pub fn remove(&mut self, key: &ObjectKey) -> &mut Self {
        self.changes.insert(key.clone(), None);
        self
    }

    /// The table with all changes: in every answer the same as one that is compiled from scratch.
    #[must_use]
    pub fn finish(self) -> RouteTable {
        let mut inner: Inner = self.base.inner().clone();
        let hasher = inner.hasher;
        let mut by_listener: BTreeMap<ListenerId, BTreeSet<&HostPattern>> = BTreeMap::new();
        let before = self.changes.keys().filter_map(|key| self.base.route(key));
        let after = self.changes.values().flatten();
        for (listener, host) in before.chain(after).flat_map(|route| hosts_of(route)) {
            by_listener.entry(listener).or_default().insert(host);
        }
        for (id, hosts) in by_listener {
            let Some(listener) = inner.listeners.get_mut(id.0 as usize) else { continue };
            let changed = |host: &HostPattern| {
                let routes = self.routes(listener, id, host, hasher);
                let table = (!routes.is_empty()).then(|| Arc::new(HostTable::new(hasher, routes)));
                (host.clone(), table)
            };
            let changes = hosts.into_iter().map(changed).collect();
            listener.hosts = listener.hosts.with(hasher, changes);
        }
        inner.routes = inner.routes.with(hasher, &self.changes);
        RouteTable::from_inner(inner)
    }

    /// The routes of a host after the changes, the senior first.
    fn routes(
        &self,
        listener: &ListenerTable,
        id: ListenerId,
        host: &HostPattern,
        hasher: super::hasher::Hasher,
    ) -> Vec<Arc<Route>> {
        let old = listener.hosts.value_of(hasher, host);
        let old = old.iter().flat_map(|table| &table.routes);
        let kept = old.filter(|route| !self.changes.contains_key(&route.key));
        let new = self.changes.values().flatten();
        let new = new.filter(|route| hosts_of(route).contains(&(id, host)));
        let mut routes: Vec<Arc<Route>> = kept.chain(new).cloned().collect();
        routes.sort_by(|a, b| seniority_cmp(a, b));
        routes
    }
}
