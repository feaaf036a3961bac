//! All routes of a table by key, in shards so that a change copies little.

use std::{collections::BTreeMap, sync::Arc};

use super::hasher::Hasher;
use crate::{api::ObjectKey, resolve::topology::Route};

/// Routes by key.
#[derive(Clone, Debug)]
pub(super) struct RouteSet {
    /// A power of two of them, each sorted by key.
    shards: Vec<Arc<[Arc<Route>]>>,
    count: usize,
}

// PERF: bench edit/hosts: a change touches a pointer for each shard and for each entry of one shard.
const MAX_SHARDS: usize = 256;
/// Routes of a shard when it is made, and when the shards become too few.
const SHARD_ROUTES: (usize, usize) = (32, 128);

impl RouteSet {
    pub(super) fn new(hasher: Hasher, routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let routes: Vec<Arc<Route>> = routes.into_iter().collect();
        let count = routes.len();
        let size = (count / SHARD_ROUTES.0).next_power_of_two().min(MAX_SHARDS);
        let mut shards: Vec<Vec<Arc<Route>>> = (0..size).map(|_| Vec::new()).collect();
        for route in routes {
            shards[shard_of(hasher, &route.key, size)].push(route);
        }
        let sorted = |mut routes: Vec<Arc<Route>>| {
            routes.sort_by(|a, b| a.key.cmp(&b.key));
            routes.into()
        };
        Self { shards: shards.into_iter().map(sorted).collect(), count }
    }

    pub(super) fn get(&self, hasher: Hasher, key: &ObjectKey) -> Option<&Arc<Route>> {
        let shard = &self.shards[shard_of(hasher, key, self.shards.len())];
        let place = shard.binary_search_by(|route| route.key.cmp(key)).ok()?;
        Some(&shard[place])
    }

    /// The set with some routes replaced, added, or removed (none).
    pub(super) fn with(
        &self,
        hasher: Hasher,
        changes: &BTreeMap<ObjectKey, Option<Arc<Route>>>,
    ) -> Self {
        let mut set = self.clone();
        for (key, change) in changes {
            let place = shard_of(hasher, key, set.shards.len());
            let mut routes = set.shards[place].to_vec();
            set.count -= routes.len();
            match (routes.binary_search_by(|route| route.key.cmp(key)), change) {
                (Ok(at), Some(route)) => routes[at] = Arc::clone(route),
                (Ok(at), None) => drop(routes.remove(at)),
                (Err(at), Some(route)) => routes.insert(at, Arc::clone(route)),
                (Err(_), None) => {}
            }
            set.count += routes.len();
            set.shards[place] = routes.into();
        }
        if set.shards.len() < MAX_SHARDS && set.count > set.shards.len() * SHARD_ROUTES.1 {
            return Self::new(hasher, set.iter().cloned());
        }
        set
    }

    /// Every route, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.shards.iter().flat_map(|shard| &**shard)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Bytes on the heap, without the routes themselves.
    pub(super) fn bytes(&self) -> usize {
        let shard = size_of::<(Arc<[()]>, usize, usize)>();
        self.shards.len() * shard + self.count * size_of::<Arc<Route>>()
    }
}

fn shard_of(hasher: Hasher, key: &ObjectKey, shards: usize) -> usize {
    let hash =
        hasher.text(key.name.as_bytes()) ^ hasher.text(key.namespace.as_bytes()).rotate_left(9);
    (hash >> 48) as usize & (shards - 1)
}
