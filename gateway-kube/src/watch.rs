//! Watches: one task for each kind, and one for each single object that is referred to.
//!
//! In: what is to be watched. Out: [`Message`]s on one channel, objects already read. Not here: what
//! the objects are for (`store`).

use std::{
    collections::BTreeMap,
    fmt::Debug,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use gateway_core::api::{Kind, ObjectKey};
use kube::{
    Api, Client, Resource,
    core::{ApiResource, DynamicObject},
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use crate::object::{self, Read};

/// The first and the longest pause before a failed request is repeated.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What a watch looks at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// All objects of a kind.
    All(Kind),
    /// One object, which need not exist.
    One(ObjectKey),
}

impl Target {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::All(kind) => *kind,
            Self::One(key) => key.kind,
        }
    }
}

/// Tells one watch from another one at the same target later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WatchId(u64);

/// News from a watch.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) watch: WatchId,
    pub(crate) news: News,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum News {
    /// A list begins; what it does not show is gone.
    Listing,
    /// An object is new, differs, or is in the list.
    Object(Read),
    /// An object is gone.
    Gone(ObjectKey),
    /// The list is complete.
    Listed,
    /// A request failed; it is repeated after a pause.
    Failed(Failure),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The status of the API server's answer; none if there was no answer.
    pub(crate) code: Option<u16>,
    pub(crate) text: String,
}

/// The running watches.
#[derive(Debug)]
pub(crate) struct Watches {
    running: BTreeMap<Target, Watch>,
    next: u64,
}

#[derive(Debug)]
struct Watch {
    id: WatchId,
    how: ApiResource,
    task: JoinHandle<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What [`Watches::follow`] did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) stopped: Vec<WatchId>,
    pub(crate) started: Vec<(WatchId, Target)>,
}

impl Watches {
    pub(crate) fn new() -> Self {
        Self { running: BTreeMap::new(), next: 0 }
    }

    /// Makes the running watches those of `wanted`.
    pub(crate) fn follow(
        &mut self,
        wanted: &BTreeMap<Target, ApiResource>,
        client: &Client,
        messages: &mpsc::Sender<Message>,
    ) -> Followed {
        let mut followed = Followed::default();
        self.running.retain(|target, watch| {
            let keep = wanted.get(target).is_some_and(|how| *how == watch.how);
            if !keep {
                followed.stopped.push(watch.id);
            }
            keep
        });
        for (target, how) in wanted {
            if self.running.contains_key(target) {
                continue;
            }
            let id = WatchId(self.next);
            self.next += 1;
            followed.started.push((id, target.clone()));
            let task = tokio::spawn(watch(
                target.clone(),
                id,
                how.clone(),
                client.clone(),
                messages.clone(),
            ));
            self.running.insert(target.clone(), Watch { id, how: how.clone(), task });
        }
        followed
    }
}

/// Watches until nobody listens.
async fn watch(
    target: Target,
    watch: WatchId,
    how: ApiResource,
    client: Client,
    messages: mpsc::Sender<Message>,
) {
    let kind = target.kind();
    let config = watcher::Config::default();
    let (api, config) = match &target {
        Target::All(_) => (Api::<DynamicObject>::all_with(client, &how), config),
        Target::One(key) => (
            Api::namespaced_with(client, &key.namespace, &how),
            config.fields(&format!("metadata.name={}", key.name)),
        ),
    };
    let mut events = std::pin::pin!(events(api, config));
    while let Some(event) = events.next().await {
        let news = match event {
            Ok(Event::Init) => News::Listing,
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                News::Object(object::read(kind, object))
            }
            Ok(Event::Delete(object)) => News::Gone(object::key(kind, &object)),
            Ok(Event::InitDone) => News::Listed,
            Err(error) => News::Failed(failure(&error)),
        };
        if messages.send(Message { watch, news }).await.is_err() {
            return;
        }
    }
}

/// What happens to objects, for ever. Requests that fail are told and repeated after a pause; that
/// connections break or that a watch has to begin with a new list is no news.
pub(crate) fn events<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let begin =
        move || watcher::watcher(api.clone(), config.clone()).backoff(Pauses::new()).boxed();
    let start = (begin(), Pauses::new(), begin);
    stream::unfold(start, |(mut events, mut pauses, begin)| async move {
        loop {
            match events.next().await? {
                // Only if no new connection can be had is that news.
                Err(watcher::Error::WatchFailed(_)) => {}
                Err(error) if is_stale(&error) => {
                    sleep(pauses.next().unwrap_or(PAUSES.1)).await;
                    events = begin();
                }
                event => {
                    if matches!(event, Ok(Event::Apply(_) | Event::Delete(_))) {
                        pauses.reset();
                    }
                    return Some((event, (events, pauses, begin)));
                }
            }
        }
    })
}

/// Whether the place that the watch wants to go on from is no longer known, so that only a new
/// list helps. The watcher sees to it where it is told so within a running watch.
fn is_stale(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410
    )
}

/// Of a watch.
pub(crate) fn failure(error: &watcher::Error) -> Failure {
    let (code, text) = match error {
        watcher::Error::WatchError(status) => (Some(status.code), status.message.clone()),
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => return of_client(error),
        watcher::Error::NoResourceVersion => (None, error.to_string()),
    };
    Failure { code, text }
}

/// Of a failed request.
pub(crate) fn of_client(error: &kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => {
            Failure { code: Some(status.code), text: status.message.clone() }
        }
        kube::Error::Service(error) => Failure { code: None, text: chain(&**error) },
        error => Failure { code: None, text: chain(error) },
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

// === Pauses ===

/// Pauses that double, each shortened by chance so that replicas do not ask in step.
#[derive(Debug)]
pub(crate) struct Pauses {
    failures: u32,
    successes: u32,
    seed: RandomState,
}

impl Pauses {
    pub(crate) fn new() -> Self {
        Self { failures: 0, successes: 0, seed: RandomState::new() }
    }

    /// The pause after so many failures.
    pub(crate) fn after(failures: u32, seed: &RandomState) -> Duration {
        let longest = PAUSES.1.min(PAUSES.0.saturating_mul(1 << failures.min(16)));
        let chance = u32::try_from(seed.hash_one(failures) % 500).unwrap_or_default();
        longest.mul_f64(1.0 - f64::from(chance) / 1000.0)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = Self::after(self.failures, &self.seed);
        self.failures += 1;
        self.successes = 0;
        Some(pause)
    }
}

impl Backoff for Pauses {
    /// The watcher counts the mere begin of a list as a success; the second one is real.
    fn reset(&mut self) {
        self.successes += 1;
        if self.successes > 1 {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::runtime::utils::Backoff;

    use super::Pauses;

    #[test]
    fn pauses_double_until_something_succeeds() {
        let mut pauses = Pauses::new();
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            // The begin of a list that fails.
            pauses.reset();
            last = pauses.next().expect("there is always a next pause");
            assert!(last <= Duration::from_secs(10));
        }
        assert!(last >= Duration::from_secs(5), "{last:?}");
        pauses.reset();
        pauses.reset();
        let first = pauses.next().expect("there is always a next pause");
        assert!(first <= Duration::from_millis(100), "{first:?}");
    }
}
