//! Statuses wait for the data plane that is to serve what they tell.
//!
//! In: objects whose status may differ. Out: jobs for the writer, at once or as soon as the Gateways
//! that the status is about serve what was handed over; after a second in any case. Nothing else
//! waits: neither other statuses nor what is to be served next.
//!
//! A route that has left a Gateway is about it as well: its pods serve it until they know.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gateway_core::{
    api::{Kind, ObjectKey},
    resolve::topology::{ListenerId, Topology},
};
use tokio::time::Instant;

use super::Controller;
use crate::{run::DataPlane, writer::Job};

/// How long a status waits for a data plane.
const PATIENCE: Duration = Duration::from_secs(1);

impl<P: DataPlane> Controller<'_, P> {
    /// Has statuses compared and written, if this replica writes.
    pub(super) fn push(&mut self, keys: impl IntoIterator<Item = ObjectKey>) {
        let mut keys = keys.into_iter().peekable();
        if !self.writes() || keys.peek().is_none() {
            return;
        }
        let (awaited, now) = (self.plane.awaited(), Instant::now());
        for key in keys {
            if !self.waiting.waits(&key, &awaited, self.builder.topology(), now) {
                self.writer.push(Job::Status(key));
            }
        }
    }

    /// Lets those go that need not wait any more.
    pub(crate) fn release(&mut self) {
        if !self.waiting.is_empty() {
            let released = self.waiting.release(&self.plane.awaited(), Instant::now());
            released.into_iter().for_each(|key| self.writer.push(Job::Status(key)));
        }
    }
}

/// The statuses that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Each with the time up to which.
    statuses: BTreeMap<ObjectKey, (Gateways, Instant)>,
    /// Where objects were attached that come and go, as of the last time that they were looked at.
    attached: BTreeMap<ObjectKey, BTreeSet<ObjectKey>>,
}

/// The Gateways that a status is about.
#[derive(Clone, Debug)]
enum Gateways {
    /// It may be any.
    Any,
    These(BTreeSet<ObjectKey>),
}

impl Gateways {
    fn have_one_of(&self, awaited: &BTreeSet<ObjectKey>) -> bool {
        match self {
            Self::Any => !awaited.is_empty(),
            Self::These(these) => !these.is_disjoint(awaited),
        }
    }
}

impl Waiting {
    /// Whether the status of an object is to wait.
    fn waits(
        &mut self,
        key: &ObjectKey,
        awaited: &BTreeSet<ObjectKey>,
        topology: &Topology,
        now: Instant,
    ) -> bool {
        let gateways = self.gateways(key, topology);
        if !gateways.have_one_of(awaited) {
            self.statuses.remove(key);
            return false;
        }
        // Also if it differs again meanwhile, so that every status comes at some time.
        let until = self.statuses.get(key).map_or(now + PATIENCE, |(_, until)| *until);
        self.statuses.insert(key.clone(), (gateways, until));
        true
    }

    /// Those that need not wait any more.
    fn release(&mut self, awaited: &BTreeSet<ObjectKey>, now: Instant) -> Vec<ObjectKey> {
        let mut released = Vec::new();
        self.statuses.retain(|key, (gateways, until)| {
            let waits = now < *until && gateways.have_one_of(awaited);
            if !waits {
                released.push(key.clone());
            }
            waits
        });
        released
    }

    /// When the next has waited long enough.
    pub(super) fn due(&self) -> Option<Instant> {
        self.statuses.values().map(|(_, until)| *until).min()
    }

    /// Nothing is to be written any more.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn is_empty(&self) -> bool {
        self.statuses.is_empty()
    }

    /// The Gateways that serve what the status of an object tells, or did.
    fn gateways(&mut self, key: &ObjectKey, topology: &Topology) -> Gateways {
        let now = match key.kind {
            Kind::GatewayClass => return Gateways::These(BTreeSet::new()),
            Kind::Gateway => return Gateways::These(BTreeSet::from([key.clone()])),
            Kind::ListenerSet => of_set(key, topology),
            Kind::HttpRoute
            | Kind::GrpcRoute
            | Kind::TlsRoute
            | Kind::TcpRoute
            | Kind::UdpRoute => of_route(key, topology),
            // Policies are about backends, to which routes of any Gateway may lead.
            _ => return Gateways::Any,
        };
        let before = match now.is_empty() {
            true => self.attached.remove(key),
            false => self.attached.insert(key.clone(), now.clone()),
        };
        let mut all = now;
        all.extend(before.into_iter().flatten());
        // Those that it has left are not forgotten while its status waits for them.
        if let Some((Gateways::These(earlier), _)) = self.statuses.get(key) {
            all.extend(earlier.iter().cloned());
        }
        Gateways::These(all)
    }
}

fn of_set(key: &ObjectKey, topology: &Topology) -> BTreeSet<ObjectKey> {
    let listeners = topology.listeners.iter().filter(|listener| listener.owner == *key);
    listeners.map(|listener| listener.gateway.clone()).collect()
}

fn of_route(key: &ObjectKey, topology: &Topology) -> BTreeSet<ObjectKey> {
    let listener = |id: ListenerId| topology.listeners.get(usize::try_from(id.0).ok()?);
    let attachments = topology.routes.get(key).into_iter().flat_map(|route| &route.attachments);
    let listeners = attachments.filter_map(|at| listener(at.listener));
    listeners.map(|listener| listener.gateway.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Duration};

    use gateway_core::{
        api::{Kind, ObjectKey, Resource},
        build::build,
        resolve::topology::Topology,
        scope::ControllerScope,
        snapshot::Snapshot,
    };
    use serde_json::json;
    use tokio::time::Instant;

    use super::{PATIENCE, Waiting};

    fn gateway(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::Gateway, "infra", name)
    }

    fn route() -> ObjectKey {
        ObjectKey::new(Kind::HttpRoute, "infra", "route")
    }

    fn set() -> ObjectKey {
        ObjectKey::new(Kind::ListenerSet, "infra", "set")
    }

    /// Gateways `a` and `b`, a ListenerSet of `parent`, and a route to `parent`.
    fn attached_to(parent: &str) -> Topology {
        let metadata = |name: &str| json!({"namespace": "infra", "name": name});
        let gateway = |name: &str| {
            json!({"metadata": metadata(name), "spec": {
                "gatewayClassName": "any",
                "allowedListeners": {"namespaces": {"from": "All"}},
                "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
            }})
        };
        let set = json!({"metadata": metadata("set"), "spec": {
            "parentRef": {"name": parent},
            "listeners": [{"name": "http", "port": 81, "protocol": "HTTP"}],
        }});
        let route =
            json!({"metadata": metadata("route"), "spec": {"parentRefs": [{"name": parent}]}});
        let objects = [
            (Kind::Gateway, gateway("a")),
            (Kind::Gateway, gateway("b")),
            (Kind::ListenerSet, set),
            (Kind::HttpRoute, route),
        ];
        let read = |(kind, object)| Resource::deserialize(kind, object).expect("it can be read");
        let snapshot: Snapshot = objects.into_iter().map(read).collect();
        build(&snapshot, &ControllerScope::all().shared_sockets(false)).topology
    }

    /// `parents`: where things are attached, one after the other. While the last is handed over,
    /// these Gateways are awaited.
    #[track_caller]
    fn check(parents: &[&str], key: &ObjectKey, awaited: &str, expect: bool) {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let awaited = BTreeSet::from([gateway(awaited)]);
        let mut waits = false;
        for (at, parent) in parents.iter().enumerate() {
            let topology = attached_to(parent);
            let none = BTreeSet::new();
            let awaited = if at + 1 == parents.len() { &awaited } else { &none };
            waits = waiting.waits(key, awaited, &topology, now);
        }
        assert_eq!(waits, expect, "{parents:?} {key} {awaited:?}");
    }

    #[test]
    fn a_status_waits_for_those_that_serve_what_it_tells() {
        check(&["a"], &gateway("a"), "a", true);
        check(&["a"], &gateway("a"), "b", false);
        check(&["a"], &ObjectKey::cluster(Kind::GatewayClass, "any"), "a", false);
        check(&["a"], &ObjectKey::new(Kind::BackendTlsPolicy, "infra", "p"), "b", true);
        for key in [route(), set()] {
            check(&["a"], &key, "a", true);
            check(&["a"], &key, "b", false);
            check(&["nowhere"], &key, "a", false);
            // Where it is new, and where it was.
            check(&["a", "b"], &key, "b", true);
            check(&["a", "b"], &key, "a", true);
            check(&["a", "nowhere"], &key, "a", true);
            check(&["a", "nowhere", "nowhere"], &key, "a", false);
            check(&["a", "b", "b"], &key, "a", false);
        }
    }

    #[test]
    fn none_waits_for_more_than_a_second() {
        let (mut waiting, begun) = (Waiting::default(), Instant::now());
        let after = |millis| begun + Duration::from_millis(millis);
        let [a, both] = [&["a"][..], &["a", "b"]]
            .map(|names| names.iter().map(|name| gateway(name)).collect::<BTreeSet<_>>());
        assert!(waiting.waits(&route(), &a, &attached_to("a"), begun));
        // It moves, and is about both now.
        assert!(waiting.waits(&route(), &both, &attached_to("b"), after(300)));
        assert!(waiting.waits(&route(), &a, &attached_to("b"), after(600)));
        assert_eq!(waiting.due(), Some(begun + PATIENCE));
        assert_eq!(waiting.release(&a, after(900)), []);
        assert_eq!(waiting.release(&a, after(1_000)), [route()]);
        assert!(waiting.is_empty());
        // Those that serve what they are to serve let it go at once.
        assert!(waiting.waits(&route(), &both, &attached_to("b"), after(2_000)));
        assert_eq!(waiting.release(&BTreeSet::new(), after(2_001)), [route()]);
    }
}
