//! What each data plane is to serve, and what they say became of it.
//!
//! In: for each Gateway its snapshot, and reports. Out: snapshots for streams, reports for the status.
//! Not here: the streams themselves (`service`).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use gateway_core::{api::ObjectKey, resolve::topology::Transport, snapshot::Snapshot};
use tokio::{sync::watch, time::Instant};

/// How long a data plane is waited for that does not get on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Streams that an account may have besides two for each pod: while pods are replaced there are old
/// and new ones, and a connection that broke may not be known to be gone.
const SPARE: usize = 8;

/// Streams that a pod may have however many its account has: something else than us may have scaled
/// its Deployment, and the API server vouches for the pod.
const OF_POD: usize = 2;

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

/// What the pods of a Gateway are to serve.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The Gateway.
    pub gateway: ObjectKey,
    /// What it needs.
    pub snapshot: Arc<Snapshot>,
    /// How many pods it has at most, apart from those that come or go.
    pub pods: u32,
}

/// What became of a revision in a data plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The name of the pod.
    pub pod: Box<str>,
    /// Its sockets.
    pub binds: Vec<BindReport>,
    /// Whether it serves what it got by an earlier stream.
    pub earlier: bool,
}

impl Report {
    /// What it tells of sockets that are not open; none if there are none.
    fn failures(&self) -> Option<Self> {
        let failed = self.binds.iter().filter(|bind| bind.error.is_some());
        let binds: Vec<BindReport> = failed.cloned().collect();
        (!binds.is_empty()).then(|| Self { pod: self.pod.clone(), binds, earlier: false })
    }
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
    /// How many there should be, about.
    pods: AtomicU32,
    published: watch::Sender<Published>,
    streams: Mutex<BTreeMap<u64, Seen>>,
    next: Mutex<u64>,
}

/// What is known of one stream.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The name of the pod that the token was made for; empty if it is not known.
    pod: Box<str>,
    /// The number of what is served there.
    served: u64,
    report: Report,
    /// Since when it serves less than what is published and has not got on; none if it serves that.
    behind: Option<Instant>,
    /// Whether it took too long the last time. It is waited for again once it has been in time.
    slow: bool,
}

impl Seen {
    /// Whether it is worth waiting for: it serves something, and is just about to serve the rest.
    fn is_awaited(&self) -> bool {
        // Who has nothing yet is not ready, and gets no requests that could be answered wrongly.
        self.serves() && !self.slow && self.is_in_time() && self.behind.is_some()
    }

    fn serves(&self) -> bool {
        self.served > 0 || self.report.earlier
    }

    fn is_in_time(&self) -> bool {
        self.behind.is_none_or(|since| since.elapsed() < PATIENCE)
    }
}

impl Publisher {
    /// Publishes what all Gateways need. Streams of Gateways that have nothing any more end.
    pub fn publish(&self, offers: BTreeMap<Account, Offer>) {
        let mut channels = lock(&self.shared.channels);
        channels.retain(|account, _| offers.contains_key(account));
        for (account, Offer { gateway, snapshot, pods }) in offers {
            match channels.get(&account).filter(|channel| channel.gateway == gateway) {
                Some(channel) => {
                    channel.pods.store(pods, Ordering::Relaxed);
                    channel.publish(snapshot);
                }
                None => {
                    channels.insert(account, Arc::new(Channel::new(gateway, snapshot, pods)));
                }
            }
        }
    }

    /// Opens for streams, or ends them all: there is one replica that data planes should talk to,
    /// the one that writes status.
    pub fn open(&self, open: bool) {
        self.shared.open.send_replace(open);
    }

    /// The Gateways with a data plane that is about to serve what is published, but does not yet. One
    /// that gets on with nothing for a second is not waited for, nor is it the next time, before it
    /// has been in time.
    #[must_use]
    pub fn awaited(&self) -> BTreeSet<ObjectKey> {
        let channels = lock(&self.shared.channels);
        let awaited = channels
            .values()
            .filter(|channel| lock(&channel.streams).values().any(Seen::is_awaited));
        awaited.map(|channel| channel.gateway.clone()).collect()
    }

    /// The last reports of all streams, by Gateway.
    #[must_use]
    pub fn reports(&self) -> BTreeMap<ObjectKey, Vec<Report>> {
        let channels = lock(&self.shared.channels);
        let reports = channels.values().map(|channel| {
            let streams = lock(&channel.streams);
            let served = streams.values().filter(|seen| seen.serves());
            (channel.gateway.clone(), served.map(|seen| seen.report.clone()).collect())
        });
        reports.collect()
    }

    /// Those of the reports that tell of sockets that are not open, and of these sockets alone.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<ObjectKey, Vec<Report>> {
        let channels = lock(&self.shared.channels);
        let failures = channels.values().map(|channel| {
            let streams = lock(&channel.streams);
            let failed = streams.values().filter_map(|seen| seen.report.failures());
            (channel.gateway.clone(), failed.collect())
        });
        failures.filter(|(_, failed): &(_, Vec<Report>)| !failed.is_empty()).collect()
    }

    /// Changes with what [`Publisher::reports`] and [`Publisher::awaited`] tell.
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

    /// Begins a stream of a pod.
    ///
    /// # Errors
    /// If there are as many as there may be: that many.
    pub(super) fn join(&self, channel: &Arc<Channel>, pod: &str) -> Result<Member, usize> {
        let most = usize::try_from(channel.pods.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let most = most.saturating_mul(2).saturating_add(SPARE);
        let mut streams = lock(&channel.streams);
        let of_pod =
            || streams.values().filter(|seen| !pod.is_empty() && *seen.pod == *pod).count();
        if streams.len() >= most && (pod.is_empty() || of_pod() >= OF_POD) {
            return Err(streams.len());
        }
        let mut next = lock(&channel.next);
        let id = *next;
        *next += 1;
        streams.insert(id, Seen { pod: pod.into(), ..Seen::default() });
        Ok(Member { channel: Arc::downgrade(channel), shared: Arc::clone(&self.shared), id })
    }
}

impl Channel {
    fn new(gateway: ObjectKey, snapshot: Arc<Snapshot>, pods: u32) -> Self {
        Self {
            gateway,
            pods: AtomicU32::new(pods),
            published: watch::Sender::new(Published { number: 1, snapshot }),
            streams: Mutex::default(),
            next: Mutex::default(),
        }
    }

    fn publish(&self, snapshot: Arc<Snapshot>) {
        let published = self.published.send_if_modified(|published| {
            let differs = !snapshot.changes_since(&published.snapshot).is_empty();
            if differs {
                published.number += 1;
                published.snapshot = snapshot;
            }
            differs
        });
        if published {
            let number = self.published.borrow().number;
            let mut streams = lock(&self.streams);
            for seen in streams.values_mut().filter(|seen| seen.served < number) {
                seen.behind.get_or_insert_with(Instant::now);
            }
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
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
        // INVARIANT: the number is read under the lock that who publishes takes after having set it.
        // Else who publishes meanwhile would not see that this one is behind.
        let mut streams = lock(&channel.streams);
        let number = channel.published.borrow().number;
        let seen = streams.entry(self.id).or_default();
        let got_on = served > seen.served;
        if got_on {
            seen.slow = !seen.is_in_time();
        }
        seen.behind = match seen.behind.filter(|_| !got_on) {
            _ if served >= number => None,
            since => since.or_else(|| Some(Instant::now())),
        };
        (seen.served, seen.report) = (served, report);
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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use gateway_core::{
        api::{ConfigMap, Kind, ObjectKey},
        snapshot::Snapshot,
    };
    use tokio::time::sleep;

    use super::{Account, Member, Offer, Publisher, Report, SPARE};

    fn publish(publisher: &Publisher, number: usize) {
        let mut map = ConfigMap::default();
        map.metadata.namespace = "infra".to_owned();
        map.metadata.name = format!("m{number}");
        let snapshot: Snapshot = [map.into()].into_iter().collect();
        let gateway = ObjectKey::new(Kind::Gateway, "infra", "gw");
        let offer = Offer { gateway, snapshot: Arc::new(snapshot), pods: 2 };
        publisher.publish([(account(), offer)].into());
    }

    fn account() -> Account {
        Account { namespace: "infra".into(), name: "gw".into() }
    }

    fn join(publisher: &Publisher) -> Member {
        let channel = publisher.channel(&account()).expect("it was published");
        publisher.join(&channel, "").expect("there is room")
    }

    #[test]
    fn an_account_has_no_more_streams_than_its_pods_can_need() {
        let publisher = Publisher::default();
        publish(&publisher, 1);
        let mut members: Vec<Member> = (0..2 * 2 + SPARE).map(|_| join(&publisher)).collect();
        let channel = publisher.channel(&account()).expect("it was published");
        assert_eq!(publisher.join(&channel, "").err(), Some(12));
        // More pods than we asked for get what they need, and no more.
        for pod in ["a", "b"] {
            let more = (0..3).map(|_| publisher.join(&channel, pod));
            let (joined, refused): (Vec<_>, Vec<_>) = more.partition(Result::is_ok);
            assert_eq!((joined.len(), refused.len()), (2, 1), "{pod}");
            members.extend(joined.into_iter().flatten());
        }
        members.truncate(11);
        assert!(publisher.join(&channel, "").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_again_is_waited_for() {
        let publisher = Publisher::default();
        publish(&publisher, 1);
        let member = join(&publisher);
        member.tell(0, Report::default());
        assert_eq!(publisher.awaited().len(), 0, "it serves nothing");
        let earlier = || Report { earlier: true, ..Report::default() };
        member.tell(0, earlier());
        assert_eq!(publisher.awaited().len(), 1, "it serves what it had before");
        sleep(Duration::from_millis(1_100)).await;
        assert_eq!(publisher.awaited().len(), 0, "it does not get on");
        let member = join(&publisher);
        member.tell(0, earlier());
        member.tell(1, Report::default());
        assert_eq!(publisher.awaited().len(), 0, "it serves what it is to serve");
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_late_is_not_waited_for_before_it_has_been_in_time() {
        let publisher = Publisher::default();
        publish(&publisher, 1);
        let member = join(&publisher);
        let served = |number: u64| member.tell(number, Report::default());
        let awaited = || publisher.awaited().len();
        served(0);
        assert_eq!(awaited(), 0, "it has nothing yet");
        served(1);
        publish(&publisher, 2);
        assert_eq!(awaited(), 1);
        served(2);
        assert_eq!(awaited(), 0);
        publish(&publisher, 3);
        publish(&publisher, 4);
        sleep(Duration::from_millis(900)).await;
        served(3);
        sleep(Duration::from_millis(900)).await;
        assert_eq!(awaited(), 1, "it gets on");
        sleep(Duration::from_millis(200)).await;
        assert_eq!(awaited(), 0, "it does not");
        served(4);
        publish(&publisher, 5);
        assert_eq!(awaited(), 0, "it was late the last time");
        served(5);
        publish(&publisher, 6);
        assert_eq!(awaited(), 1, "it was in time");
        drop(member);
        assert_eq!(awaited(), 0, "it is gone");
    }
}
