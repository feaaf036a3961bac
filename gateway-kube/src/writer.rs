//! Writes what became of objects back to them, one small patch each.
//!
//! In: the keys of objects whose status may differ from what is stored. Out: patches, a few at a
//! time, repeated after a pause if they fail. Not here: what a status says (`gateway-core`), what
//! differs (`merge`), whether we may write at all (`lease`).
//!
//! A patch names the version of the object that it was made for. So it never replaces what somebody
//! wrote since; then the object is read again, and compared again.

mod events;
mod request;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use gateway_core::{
    api::{Kind, ObjectKey},
    build::Builder,
    resolve::ObjectStatus,
};
use k8s_openapi::jiff::{Timestamp, Unit};
use kube::{Api, Client, core::DynamicObject};
use serde_json::{Value, json};
use tokio::time::Instant;

use events::Events;
use request::{Outcome, write_finalizers, write_status};

use crate::{
    discover::Served,
    finalizer,
    leadership::{Halt, Leadership},
    merge::{self, Writing, merge},
    notice::{Notice, Notices},
    object::Version,
    store::Store,
    unreadable,
    watch::Pauses,
};

/// Writes that are under way at a time.
const AT_ONCE: usize = 16;

/// How long a write may take.
const REQUEST: Duration = Duration::from_secs(10);

/// How often a Gateway or ListenerSet is written: each of its routes changes the number that it
/// shows.
const PACE: Duration = Duration::from_secs(1);

/// What is told of a write that takes too long.
const LATE: &str = "the API server does not answer in time";

/// What is to be written of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    Status(ObjectKey),
    /// Whether a GatewayClass may be deleted.
    Finalizers(ObjectKey),
}

impl Job {
    fn key(&self) -> &ObjectKey {
        match self {
            Self::Status(key) | Self::Finalizers(key) => key,
        }
    }
}

/// The queue of writes.
pub(crate) struct Writer {
    client: Client,
    controller: String,
    notices: Notices,
    events: Events,
    leadership: Leadership,
    ready: VecDeque<Job>,
    delayed: BTreeSet<(Instant, Job)>,
    /// All of `ready` and `delayed`: nothing waits twice, so the queue is as long as there are
    /// objects at most.
    waiting: BTreeSet<Job>,
    running: FuturesUnordered<BoxFuture<'static, Written>>,
    busy: BTreeSet<Job>,
    failures: BTreeMap<Job, u32>,
    /// When the last write of an object that is paced ended.
    last: BTreeMap<ObjectKey, Instant>,
    /// Statuses that the API server does not store as they were sent, by a hash of both sides.
    settled: BTreeMap<ObjectKey, u64>,
    /// Whether the operator knows that Events cannot be written.
    eventless: bool,
    seed: RandomState,
}

/// What became of a write.
pub(crate) struct Written {
    job: Job,
    /// What was to be written, if it was a status.
    wanted: Option<ObjectStatus>,
    outcome: Outcome,
}

impl Writer {
    pub(crate) fn new(
        client: Client,
        controller: String,
        notices: Notices,
        leadership: Leadership,
    ) -> Self {
        let events = Events::start(client.clone(), &controller, leadership.clone());
        Self {
            client,
            controller,
            notices,
            events,
            leadership,
            ready: VecDeque::new(),
            delayed: BTreeSet::new(),
            waiting: BTreeSet::new(),
            running: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            failures: BTreeMap::new(),
            last: BTreeMap::new(),
            settled: BTreeMap::new(),
            eventless: false,
            seed: RandomState::new(),
        }
    }

    /// Has an object compared with what is stored, and written if they differ.
    pub(crate) fn push(&mut self, job: Job) {
        if self.waiting.insert(job.clone()) {
            self.ready.push_back(job);
        }
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.ready.clear();
        self.delayed.clear();
        self.waiting.clear();
        self.failures.clear();
    }

    /// When something that waits is due; none if nothing is.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.delayed.first().map(|(due, _)| *due)
    }

    /// Whether writes are under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.running.is_empty()
    }

    /// The next write that ended; never if none is under way.
    pub(crate) async fn next(&mut self) -> Written {
        match self.running.next().await {
            Some(written) => written,
            None => std::future::pending().await,
        }
    }

    /// Begins as many writes as may be under way.
    pub(crate) fn start(&mut self, builder: &Builder, store: &Store, served: &Served) {
        let now = Instant::now();
        while let Some((due, _)) = self.delayed.first()
            && *due <= now
            && let Some((_, job)) = self.delayed.pop_first()
        {
            self.ready.push_back(job);
        }
        for _ in 0..self.ready.len() {
            if self.running.len() >= AT_ONCE {
                return;
            }
            let Some(job) = self.ready.pop_front() else { return };
            if self.busy.contains(&job) {
                self.ready.push_back(job);
                continue;
            }
            if let Some(due) = self.paced(&job).filter(|due| *due > now) {
                self.delayed.insert((due, job));
                continue;
            }
            self.waiting.remove(&job);
            if let Some(write) = self.write(&job, builder, store, served) {
                self.busy.insert(job);
                self.running.push(write);
            } else {
                self.failures.remove(&job);
            }
        }
    }

    fn paced(&self, job: &Job) -> Option<Instant> {
        self.last.get(job.key()).map(|last| *last + PACE)
    }

    /// The write that an object needs; none if it needs none.
    fn write(
        &mut self,
        job: &Job,
        builder: &Builder,
        store: &Store,
        served: &Served,
    ) -> Option<BoxFuture<'static, Written>> {
        let key = job.key();
        let how = served.get(key.kind)?;
        let api: Api<DynamicObject> = match key.kind.is_namespaced() {
            true => Api::namespaced_with(self.client.clone(), &key.namespace, how),
            false => Api::all_with(self.client.clone(), how),
        };
        let outcome: BoxFuture<'static, Outcome> = match job {
            Job::Finalizers(key) => {
                let in_use = finalizer::is_in_use(builder.snapshot(), &key.name);
                finalizer::patch(
                    &builder.snapshot().gateway_class("", &key.name)?.metadata.finalizers,
                    in_use,
                )?;
                Box::pin(write_finalizers(api, key.name.to_string(), in_use))
            }
            Job::Status(key) => {
                let body = self.status(key, builder, store)?;
                let before = store.version(key)?.status();
                Box::pin(write_status(api, key.clone(), body, before, self.events.clone()))
            }
        };
        let wanted = match job {
            Job::Status(key) => self.wanted(key, builder, store).map(Cow::into_owned),
            Job::Finalizers(_) => None,
        };
        let (job, leadership) = (job.clone(), self.leadership.clone());
        Some(Box::pin(async move {
            let outcome = match leadership.within(REQUEST, outcome).await {
                Ok(outcome) => outcome,
                Err(Halt::Late) => Outcome::Failed(LATE.to_owned()),
                Err(Halt::Lost) => Outcome::Unled,
            };
            Written { job, wanted, outcome }
        }))
    }

    /// The body of the patch that an object's status needs.
    fn status(&mut self, key: &ObjectKey, builder: &Builder, store: &Store) -> Option<Value> {
        let Some(version) = store.version(key) else {
            self.last.remove(key);
            self.settled.remove(key);
            return None;
        };
        let wanted = &self.wanted(key, builder, store)?;
        // The object is newer than what the status was made for: another status follows.
        if merge::generation(wanted) < version.generation && merge::generation(wanted).is_some() {
            return None;
        }
        if self.settled.get(key).is_some_and(|settled| *settled == self.hash(wanted, version)) {
            return None;
        }
        let patch = merge(wanted, &version.status(), self.writing(key, &now()))?;
        if patch.full {
            (self.notices)(Notice::Full(key.clone()));
        }
        Some(json!({
            "metadata": {"resourceVersion": version.resource_version},
            "status": patch.status,
        }))
    }

    /// The status that an object should have.
    fn wanted<'b>(
        &self,
        key: &ObjectKey,
        builder: &'b Builder,
        store: &Store,
    ) -> Option<Cow<'b, ObjectStatus>> {
        if let Some(fault) = store.unreadable(key) {
            let version = store.version(key)?;
            let status = unreadable::status(key, version, &self.controller, fault, builder);
            return status.map(Cow::Owned);
        }
        builder.status().get(key).map(Cow::Borrowed)
    }

    fn writing<'a>(&'a self, key: &'a ObjectKey, now: &'a str) -> Writing<'a> {
        Writing { controller: &self.controller, namespace: &key.namespace, now }
    }

    /// Of both sides of a comparison.
    fn hash(&self, wanted: &ObjectStatus, version: &Version) -> u64 {
        let wanted = serde_json::to_string(wanted).unwrap_or_default();
        self.seed.hash_one((wanted, &version.status))
    }

    /// Takes note of a write that ended.
    pub(crate) fn finish(&mut self, written: Written, store: &mut Store) {
        let Written { job, wanted, outcome } = written;
        if let Some(error) = self.events.failed.get()
            && !std::mem::replace(&mut self.eventless, true)
        {
            (self.notices)(Notice::Eventless(error.clone()));
        }
        self.busy.remove(&job);
        let key = job.key();
        if is_paced(key.kind) {
            // From its end on: nobody knows how long it was on its way.
            self.last.insert(key.clone(), Instant::now());
        }
        match outcome {
            Outcome::Done(version) => {
                self.failures.remove(&job);
                if let (Some(version), Some(wanted)) = (version, &wanted) {
                    self.settle(key, &version, wanted);
                    store.learn(key, Some(version));
                }
            }
            Outcome::Conflict(version) => {
                store.learn(key, Some(version));
                self.again(job);
            }
            Outcome::Gone => {
                self.failures.remove(&job);
                self.last.remove(key);
                self.settled.remove(key);
            }
            Outcome::Refused(error) => {
                self.failures.remove(&job);
                (self.notices)(Notice::Refused { key: key.clone(), error });
            }
            // Whoever leads writes it; should it be us again, we do.
            Outcome::Unled => self.again(job),
            Outcome::Failed(error) => {
                // Told once, not at every try.
                if !self.failures.contains_key(&job) {
                    (self.notices)(Notice::Unwritten { key: key.clone(), error });
                }
                self.again(job);
            }
        }
    }

    /// Remembers a status of which the API server does not store all, so that it is not written
    /// over and over.
    fn settle(&mut self, key: &ObjectKey, version: &Version, wanted: &ObjectStatus) {
        match merge(wanted, &version.status(), self.writing(key, &now())) {
            Some(_) => self.settled.insert(key.clone(), self.hash(wanted, version)),
            None => self.settled.remove(key),
        };
    }

    fn again(&mut self, job: Job) {
        let failures = self.failures.entry(job.clone()).or_default();
        let pause = Pauses::after(*failures, &self.seed);
        *failures = failures.saturating_add(1);
        if self.waiting.insert(job.clone()) {
            self.delayed.insert((Instant::now() + pause, job));
        }
    }
}

fn is_paced(kind: Kind) -> bool {
    matches!(kind, Kind::Gateway | Kind::ListenerSet)
}

/// The time in whole seconds, as the API has it.
fn now() -> String {
    let now = Timestamp::now();
    now.round(Unit::Second).unwrap_or(now).to_string()
}
