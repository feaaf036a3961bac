//! Keeps the objects of all Gateways as they are to be.
//!
//! In: a [`Plan`], and our objects as watches tell them. Out: server-side applies and removals while
//! this replica leads, and [`Provision`]s always. Not here: what is to be there (`plan`, `objects`).
//!
//! Whatever somebody else changes of an object is put back when the watch tells it (`applied` has
//! the exceptions). A write that fails is tried again after a pause that doubles.

mod nodes;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::RandomState,
    sync::Arc,
    time::Duration,
};

use futures_util::StreamExt;
use gateway_core::api::ObjectKey;
use kube::{
    Api, Client,
    core::DynamicObject,
    runtime::watcher::{self, Event},
};
use serde_json::Value;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use super::{
    applied::{Again, Applied},
    name::{MANAGED_BY, controller_label},
    object::{ObjectId, ObjectKind},
    plan::Plan,
    provision::{Provision, no_pod, no_service, provision},
    steps::{Step, Ties, steps},
    write::{apply, remove, value},
};
use crate::{
    leadership::{Halt, Leadership},
    notice::{Notice, Notices},
    watch::{Pauses, events},
};

/// Writes at a time.
const WRITES: usize = 16;

/// How long a write may take.
const WRITE: Duration = Duration::from_secs(30);

/// Changes are looked at together that follow each other this closely, ...
const QUIET: Duration = Duration::from_millis(5);

/// ... but none waits longer than this.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// How often the addresses of nodes are read, if a Service needs them.
const NODES: Duration = Duration::from_secs(60);

/// What is known of the objects of each Gateway; none before all of them were listed.
pub(crate) type Provisions = Option<Arc<BTreeMap<ObjectKey, Provision>>>;

/// Which objects are kept.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) kinds: &'static [ObjectKind],
    /// The only namespace that they are in; none: that of their Gateway, which owns them.
    pub(crate) namespace: Option<String>,
}

impl Kept {
    /// Objects in the namespace of their Gateway.
    pub(crate) fn beside(kinds: &'static [ObjectKind]) -> Self {
        Self { kinds, namespace: None }
    }

    fn ties(&self) -> Ties {
        match &self.namespace {
            Some(_) => Ties::Labels,
            None => Ties::Owners,
        }
    }
}

/// What the keeper is told, and whom it tells.
pub(crate) struct Ends {
    pub(crate) plan: watch::Receiver<Option<Arc<Plan>>>,
    pub(crate) leads: watch::Receiver<Leadership>,
    pub(crate) provisions: watch::Sender<Provisions>,
    pub(crate) notices: Notices,
}

/// Keeps objects until nobody plans any more.
pub(crate) async fn keep(client: Client, controller_name: String, kept: Kept, ends: Ends) {
    let label = controller_label(&controller_name);
    let (sender, mut news) = mpsc::channel(1024);
    let mut watches = JoinSet::new();
    for kind in kept.kinds {
        let selector = format!("{MANAGED_BY}={label}");
        let api = match &kept.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.resource()),
            None => Api::all_with(client.clone(), &kind.resource()),
        };
        watches.spawn(follow(api, *kind, selector, sender.clone()));
    }
    let mut keeper = Keeper::new(client, controller_name, label, kept, ends);
    let mut nodes = interval(NODES);
    nodes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = keeper.due().unwrap_or_else(|| Instant::now() + NODES);
        tokio::select! {
            Some(first) = news.recv() => {
                keeper.take(first);
                let last = Instant::now() + DEBOUNCE;
                let quiet = || last.min(Instant::now() + QUIET);
                while let Ok(Some(more)) = timeout_at(quiet(), news.recv()).await {
                    keeper.take(more);
                }
            }
            planned = keeper.ends.plan.changed() => if planned.is_err() { return },
            Ok(()) = keeper.ends.leads.changed() => keeper.failed.clear(),
            Some(Ok(written)) = keeper.writes.join_next() => keeper.written(written),
            () = sleep_until(due) => {}
            _ = nodes.tick() => keeper.read_nodes(),
            Some(Ok(read)) = keeper.node_reads.join_next() => keeper.nodes_read(read),
        }
        keeper.settle();
    }
}

type News = (ObjectKind, Result<Event<DynamicObject>, watcher::Error>);

async fn follow(
    api: Api<DynamicObject>,
    kind: ObjectKind,
    selector: String,
    news: mpsc::Sender<News>,
) {
    let config = watcher::Config::default().labels(&selector);
    let mut events = std::pin::pin!(events(api, config));
    while let Some(event) = events.next().await {
        if news.send((kind, event)).await.is_err() {
            return;
        }
    }
}

/// What came of a write.
struct Written {
    step: Step,
    /// The object as it is now; none if it is gone.
    outcome: Result<Option<Value>, String>,
}

struct Failure {
    /// How often in a row.
    times: u32,
    due: Instant,
    error: String,
}

struct Keeper {
    client: Client,
    controller_name: String,
    label: String,
    kept: Kept,
    ends: Ends,
    seen: BTreeMap<ObjectId, Value>,
    /// The newest version that a watch told, by kind.
    newest: BTreeMap<ObjectKind, u64>,
    /// The objects of lists that are under way.
    listing: BTreeMap<ObjectKind, BTreeSet<ObjectId>>,
    listed: BTreeSet<ObjectKind>,
    /// Kinds whose watch failed, and was told.
    lost: BTreeSet<ObjectKind>,
    writes: JoinSet<Written>,
    writing: BTreeSet<ObjectId>,
    /// Writes that failed and are still to be done.
    failed: BTreeMap<ObjectId, Failure>,
    applied: Applied,
    /// When the next of the applies is due that have to wait.
    held_until: Option<Instant>,
    nodes: BTreeSet<String>,
    /// The read of them that is under way, if one is.
    node_reads: JoinSet<Result<BTreeSet<String>, String>>,
    seed: RandomState,
}

impl Keeper {
    fn new(client: Client, controller_name: String, label: String, kept: Kept, ends: Ends) -> Self {
        Self {
            client,
            controller_name,
            label,
            kept,
            ends,
            seen: BTreeMap::new(),
            newest: BTreeMap::new(),
            listing: BTreeMap::new(),
            listed: BTreeSet::new(),
            lost: BTreeSet::new(),
            writes: JoinSet::new(),
            writing: BTreeSet::new(),
            failed: BTreeMap::new(),
            applied: Applied::default(),
            held_until: None,
            nodes: BTreeSet::new(),
            node_reads: JoinSet::new(),
            seed: RandomState::new(),
        }
    }

    // === In ===

    fn take(&mut self, (kind, event): News) {
        match event {
            Ok(Event::Init) => {
                self.listing.insert(kind, BTreeSet::new());
            }
            Ok(Event::InitApply(object)) => {
                if let Some(id) = self.see(kind, object) {
                    self.listing.entry(kind).or_default().insert(id);
                }
            }
            Ok(Event::InitDone) => {
                let listed = self.listing.remove(&kind).unwrap_or_default();
                self.seen.retain(|id, _| id.kind != kind || listed.contains(id));
                self.listed.insert(kind);
                self.lost.remove(&kind);
            }
            Ok(Event::Apply(object)) => {
                self.see(kind, object);
            }
            Ok(Event::Delete(object)) => {
                if let Some(id) = self.see(kind, object) {
                    self.seen.remove(&id);
                }
            }
            Err(error) => {
                if self.lost.insert(kind) {
                    let objects = format!("{} objects", kind.as_str());
                    (self.ends.notices)(Notice::Unseen { objects, error: error.to_string() });
                }
            }
        }
    }

    fn see(&mut self, kind: ObjectKind, object: DynamicObject) -> Option<ObjectId> {
        let id = id(kind, &object)?;
        let object = value(object)?;
        if let Some(version) = version(&object) {
            let newest = self.newest.entry(kind).or_default();
            *newest = version.max(*newest);
        }
        self.seen.insert(id.clone(), object);
        Some(id)
    }

    // === Out ===

    /// When a write is due again.
    fn due(&self) -> Option<Instant> {
        let waiting = self.failed.iter().filter(|(id, _)| !self.writing.contains(*id));
        waiting.map(|(_, failure)| failure.due).chain(self.held_until).min()
    }

    /// Tells what is known, and starts the writes that are due.
    fn settle(&mut self) {
        self.held_until = None;
        let plan = self.ends.plan.borrow_and_update().clone();
        let Some(plan) = plan.filter(|_| self.listed.len() == self.kept.kinds.len()) else {
            return;
        };
        self.tell(&plan);
        if !self.ends.leads.borrow().holds() {
            return;
        }
        let steps = steps(&plan, &self.seen, self.kept.ties());
        let ids: BTreeSet<&ObjectId> = steps.iter().map(Step::id).collect();
        self.failed.retain(|id, _| ids.contains(id));
        self.applied.retain(|id| ids.contains(id) || self.seen.contains_key(id));
        let now = Instant::now();
        for step in steps {
            let is_due = self.failed.get(step.id()).is_none_or(|failure| failure.due <= now);
            if self.writing.len() < WRITES
                && is_due
                && self.is_of_use(&step, now)
                && self.writing.insert(step.id().clone())
            {
                self.start(step);
            }
        }
    }

    /// Whether a step changes anything, and need not wait.
    fn is_of_use(&mut self, step: &Step, now: Instant) -> bool {
        let Step::Apply(object) = step else { return true };
        match self.applied.again(object, self.seen.get(&object.id), now) {
            Again::Now => true,
            Again::At(due) => {
                self.held_until = Some(self.held_until.map_or(due, |until| until.min(due)));
                false
            }
            Again::InVain => false,
        }
    }

    fn tell(&self, plan: &Plan) {
        let find = |kind, namespace: &str, name: &str| {
            self.seen.get(&ObjectId { kind, namespace: namespace.into(), name: name.into() })
        };
        let of = |(key, wanted): (&ObjectKey, &super::plan::Wanted)| {
            let (namespace, name) = (&*wanted.namespace, &*wanted.name);
            let service = find(ObjectKind::Service, namespace, name);
            let mut found = provision(&wanted.gateway, service, &self.nodes);
            found.unready = match self.kept.kinds.contains(&ObjectKind::Deployment) {
                true => no_pod(find(ObjectKind::Deployment, namespace, name)),
                false => no_service(namespace, name, service),
            };
            let failure = self.failure(namespace, name);
            let told = found.unready.map(|unready| match failure {
                Some(failure) => format!("{unready}: {failure}"),
                None => unready,
            });
            (key.clone(), Provision { unready: told, ..found })
        };
        let provisions = Some(Arc::new(plan.iter().map(of).collect()));
        self.ends.provisions.send_if_modified(|told| {
            let differs = *told != provisions;
            if differs {
                *told = provisions;
            }
            differs
        });
    }

    /// Why an object of these names cannot be written.
    fn failure(&self, namespace: &str, name: &str) -> Option<String> {
        let of = |id: &&ObjectId| &*id.namespace == namespace && &*id.name == name;
        let id = self.failed.keys().find(of)?;
        let failure = &self.failed[id];
        Some(format!("cannot apply the {}: {}", id.kind.as_str(), failure.error))
    }

    fn start(&mut self, step: Step) {
        let known = self.seen.contains_key(step.id());
        let (client, label) = (self.client.clone(), self.label.clone());
        let manager = self.controller_name.clone();
        let leadership = self.ends.leads.borrow().clone();
        self.writes.spawn(async move {
            let written = async {
                match &step {
                    Step::Apply(object) => apply(client, object, known, &label, &manager).await,
                    Step::Remove(id, uid) => remove(client, id, uid.clone()).await,
                }
            };
            let outcome = match leadership.within(WRITE, written).await {
                Ok(outcome) => outcome,
                Err(Halt::Late) => Err("the API server does not answer in time".to_owned()),
                Err(Halt::Lost) => Err("another replica writes now".to_owned()),
            };
            Written { step, outcome }
        });
    }

    fn written(&mut self, written: Written) {
        let Written { step, outcome } = written;
        let id = step.id().clone();
        self.writing.remove(&id);
        match outcome {
            Ok(Some(object)) => {
                self.failed.remove(&id);
                if let Step::Apply(wanted) = &step
                    && let Some(difference) = self.applied.note(wanted, &object, Instant::now())
                {
                    let object = id.to_string();
                    (self.ends.notices)(Notice::Changed { object, difference });
                }
                // The watch may have been faster, and know more: even that the object is gone.
                if version(&object) > self.newest.get(&id.kind).copied() {
                    self.seen.insert(id, object);
                }
            }
            Ok(None) => {
                self.failed.remove(&id);
                self.seen.remove(&id);
            }
            Err(error) => {
                let times = self.failed.get(&id).map_or(0, |failure| failure.times);
                if times == 0 {
                    let (object, error) = (id.to_string(), error.clone());
                    (self.ends.notices)(Notice::Unapplied { object, error });
                }
                let due = Instant::now() + Pauses::after(times, &self.seed);
                self.failed.insert(id, Failure { times: times.saturating_add(1), due, error });
            }
        }
    }
}

fn id(kind: ObjectKind, object: &DynamicObject) -> Option<ObjectId> {
    let namespace = object.metadata.namespace.as_deref()?.into();
    Some(ObjectId { kind, namespace, name: object.metadata.name.as_deref()?.into() })
}

/// The version of an object, which grows with every write.
fn version(object: &Value) -> Option<u64> {
    object["metadata"]["resourceVersion"].as_str()?.parse().ok()
}
