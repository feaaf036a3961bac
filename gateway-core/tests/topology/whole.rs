//! Topologies with routes, for the tests that want no more than that.

use gateway_core::resolve::topology::Topology;
use proptest::{collection::vec, prelude::*};

use super::topology::{listeners, route};

/// Listeners and routes.
pub(crate) fn topology() -> impl Strategy<Value = Topology> {
    (listeners(), any::<bool>()).prop_flat_map(|(topology, is_crowd)| {
        vec(route(topology.listeners.clone(), is_crowd), 0..9).prop_map(move |routes| {
            let routes = routes.into_iter().map(|route| (route.key.clone(), route));
            Topology { routes: routes.collect(), ..topology.clone() }
        })
    })
}
