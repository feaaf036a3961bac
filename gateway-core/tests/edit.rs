//! An edited table answers as one that is compiled from scratch.

mod topology;

use std::sync::Arc;

use gateway_core::{
    api::ObjectKey,
    compile::{Ingress, Miss, RouteTable},
    resolve::topology::Route,
};
use proptest::{collection::vec, prelude::*};

/// A route to put in place, or of which to remove the one of the same key.
#[derive(Clone, Debug)]
struct Change {
    route: Arc<Route>,
    is_removal: bool,
}

fn answers(
    table: &RouteTable,
    request: &topology::Request,
) -> Vec<Result<(ObjectKey, u16, usize), Miss>> {
    let find = |(bind, tls)| {
        let found = table.find(&Ingress { bind, tls }, &request.head())?;
        Ok((found.route.key.clone(), found.rule.index, found.match_index))
    };
    table.binds().map(|(id, _)| id).zip([None, Some(request.sni)]).map(find).collect()
}

proptest! {
    #![proptest_config(topology::cases(60))]
    #[test]
    fn an_edit_equals_a_full_compile(
        (mut topology, edits) in topology::topology().prop_flat_map(|topology| {
            let change = (topology::route(topology.listeners.clone(), false), any::<bool>())
                .prop_map(|(route, is_removal)| Change { route, is_removal });
            (Just(topology), vec(vec(change, 1..4), 1..8))
        }),
        requests in vec(topology::request(), 60),
    ) {
        let mut table = RouteTable::compile(&topology, 1);
        for changes in edits {
            let before: Vec<_> = requests.iter().map(|request| answers(&table, request)).collect();
            let base = table.clone();
            let mut edit = table.edit();
            for Change { route, is_removal } in changes {
                if is_removal {
                    edit.remove(&route.key);
                    topology.routes.remove(&route.key);
                } else {
                    topology.routes.insert(route.key.clone(), Arc::clone(&route));
                    edit.upsert(route);
                }
            }
            table = edit.finish();
            let full = RouteTable::compile(&topology, 2);
            for (request, before) in requests.iter().zip(before) {
                prop_assert_eq!(answers(&table, request), answers(&full, request));
                prop_assert_eq!(answers(&base, request), before);
            }
            let keys = |table: &RouteTable| -> Vec<ObjectKey> {
                table.routes().map(|route| route.key.clone()).collect()
            };
            prop_assert_eq!(keys(&table), keys(&full));
            let (edited, full) = (table.stats(), full.stats());
            prop_assert_eq!((edited.hosts, edited.routes), (full.hosts, full.routes));
            prop_assert_eq!(edited.matches, full.matches);
        }
    }
}
