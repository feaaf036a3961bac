//! What each data plane is to serve, and what they say became of it.
//!
//! In: for each Gateway its snapshot, and reports. Out: snapshots for streams, reports for the status.
//! Not here: the streams themselves (`service`).

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use gateway_core::{api::ObjectKey, resolve::topology::Transport, snapshot::Snapshot};
use tokio::sync::watch;

/// A service account: who a data plane is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What became of a revision in a data plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The name of the pod.
    pub pod: Box<str>,
    /// Its sockets.
    pub binds: Vec<BindReport>,
}

/// A socket of a data plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindReport {
    /// The port of the listeners.
    pub port: u16,
    /// TCP or UDP.
    pub transport: Transport,
    /// Why it is not open; none if it is.
    pub error: Option<String>,
}

/// Hands out what data planes are to serve. Clones are the same publisher.
#[derive(Clone, Debug, Default)]
pub struct Publisher {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channels: Mutex<BTreeMap<Account, Arc<Channel>>>,
    /// Whether streams may begin.
    open: watch::Sender<bool>,
    /// Counts the reports that differ from the one before, and the streams that end.
    told: watch::Sender<u64>,
}

impl Default for Shared {
    fn default() -> Self {
        let (open, told) = (watch::Sender::new(false), watch::Sender::new(0));
        Self { channels: Mutex::default(), open, told }
    }
}

/// A snapshot with its number. Numbers grow by one.
#[derive(Clone, Debug, Default)]
pub(super) struct Published {
    pub(super) number: u64,
    pub(super) snapshot: Arc<Snapshot>,
}

/// The way to the pods of one Gateway.
#[derive(Debug)]
pub(super) struct Channel {
    gateway: ObjectKey,
    published: watch::Sender<Published>,
    streams: Mutex<BTreeMap<u64, Seen>>,
    next: Mutex<u64>,
}

/// What is known of one stream.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The number of what is served there.
    served: u64,
    report: Report,
    /// Whether it was too slow to be waited for.
    slow: bool,
}

impl Publisher {
    /// Publishes the snapshots of all Gateways. Streams of Gateways that have none any more end.
    pub fn publish(&self, snapshots: BTreeMap<Account, (ObjectKey, Arc<Snapshot>)>) {
        let mut channels = lock(&self.shared.channels);
        channels.retain(|account, _| snapshots.contains_key(account));
        for (account, (gateway, snapshot)) in snapshots {
            match channels.get(&account).filter(|channel| channel.gateway == gateway) {
                Some(channel) => channel.publish(snapshot),
                None => {
                    channels.insert(account, Arc::new(Channel::new(gateway, snapshot)));
                }
            }
        }
    }

    /// Opens for streams, or ends them all: there is one replica that data planes should talk to,
    /// the one that writes status.
    pub fn open(&self, open: bool) {
        self.shared.open.send_replace(open);
    }

    /// Ready when every stream serves what is published now.
    pub async fn acknowledged(&self) {
        let mut told = self.shared.told.subscribe();
        loop {
            told.mark_unchanged();
            let all = lock(&self.shared.channels).values().all(|channel| channel.is_served());
            if all || told.changed().await.is_err() {
                return;
            }
        }
    }

    /// The last reports of all streams, by Gateway.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<ObjectKey, Vec<Report>> {
        let channels = lock(&self.shared.channels);
        let reports = channels.values().map(|channel| {
            let streams = lock(&channel.streams);
            let served = streams.values().filter(|seen| seen.served > 0);
            (channel.gateway.clone(), served.map(|seen| seen.report.clone()).collect())
        });
        reports.collect()
    }

    /// Those of the reports that tell of sockets that are not open, and of these sockets alone.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<ObjectKey, Vec<Report>> {
        let mut reports = self.reports();
        for report in reports.values_mut().flatten() {
            report.binds.retain(|bind| bind.error.is_some());
        }
        for of_gateway in reports.values_mut() {
            of_gateway.retain(|report| !report.binds.is_empty());
        }
        reports.retain(|_, reports| !reports.is_empty());
        reports
    }

    /// Leaves those behind who do not serve what is published now, until they do.
    pub fn give_up(&self) {
        for channel in lock(&self.shared.channels).values() {
            let number = channel.published.borrow().number;
            let mut streams = lock(&channel.streams);
            streams.values_mut().for_each(|seen| seen.slow = seen.served < number);
        }
    }

    /// Changes with what [`Publisher::reports`] and [`Publisher::acknowledged`] tell.
    #[must_use]
    pub fn told(&self) -> watch::Receiver<u64> {
        self.shared.told.subscribe()
    }

    pub(super) fn channel(&self, account: &Account) -> Option<Arc<Channel>> {
        lock(&self.shared.channels).get(account).cloned()
    }

    pub(super) fn is_open(&self) -> watch::Receiver<bool> {
        self.shared.open.subscribe()
    }

    /// Begins a stream.
    pub(super) fn join(&self, channel: &Arc<Channel>) -> Member {
        let mut next = lock(&channel.next);
        let id = *next;
        *next += 1;
        Member { channel: Arc::downgrade(channel), shared: Arc::clone(&self.shared), id }
    }
}

impl Channel {
    fn new(gateway: ObjectKey, snapshot: Arc<Snapshot>) -> Self {
        Self {
            gateway,
            published: watch::Sender::new(Published { number: 1, snapshot }),
            streams: Mutex::default(),
            next: Mutex::default(),
        }
    }

    fn publish(&self, snapshot: Arc<Snapshot>) {
        self.published.send_if_modified(|published| {
            let differs = !snapshot.changes_since(&published.snapshot).is_empty();
            if differs {
                published.number += 1;
                published.snapshot = snapshot;
            }
            differs
        });
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    fn is_served(&self) -> bool {
        let number = self.published.borrow().number;
        lock(&self.streams).values().all(|seen| seen.slow || seen.served >= number)
    }
}

/// One stream's place; left when it is dropped.
#[derive(Debug)]
pub(super) struct Member {
    /// Not kept alive: a Gateway that is gone ends its streams.
    channel: std::sync::Weak<Channel>,
    shared: Arc<Shared>,
    id: u64,
}

impl Member {
    /// Tells that `served` is served, and how. 0: nothing yet.
    pub(super) fn tell(&self, served: u64, report: Report) {
        let Some(channel) = self.channel.upgrade() else { return };
        let number = channel.published.borrow().number;
        let mut streams = lock(&channel.streams);
        let seen = streams.entry(self.id).or_default();
        // Who has nothing yet is not ready, and gets no requests that could be answered wrongly.
        let slow = served < number && (seen.slow || served == 0);
        *seen = Seen { served, report, slow };
        drop(streams);
        self.shared.told.send_modify(|count| *count = count.wrapping_add(1));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(channel) = self.channel.upgrade() {
            lock(&channel.streams).remove(&self.id);
        }
        self.shared.told.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Nothing is left half done under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
