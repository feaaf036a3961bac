//! Revisions on their way from the stream to what serves them.
//!
//! In: revisions, each the difference to the one before. Out: the newest, as the difference to the
//! one that was taken last. So what waits is never more than the configuration itself, however slow
//! its taker is. Not here: where they come from (`client`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use gateway_core::{api::ObjectKey, snapshot::Change};
use tokio::sync::watch;

use super::publisher::lock;

/// A revision of the configuration.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its number, to be named in the [`Reply`](super::Reply).
    pub number: u64,
    /// What is new, differs or is gone since the revision that was taken before.
    pub changes: Vec<Change>,
}

/// Two ends that hold one revision at most.
#[must_use]
pub fn revisions() -> (RevisionSender, RevisionReceiver) {
    let waiting = Arc::<Mutex<Waiting>>::default();
    let (newest, offered) = watch::channel(());
    let sender = RevisionSender { waiting: Arc::clone(&waiting), newest };
    (sender, RevisionReceiver { waiting, offered })
}

/// What was not taken yet.
#[derive(Debug, Default)]
struct Waiting {
    /// The number of the newest; none if it was taken.
    number: Option<u64>,
    changes: BTreeMap<ObjectKey, Change>,
    /// The objects that the taker has.
    taken: BTreeSet<ObjectKey>,
}

/// The end that the stream has.
#[derive(Debug)]
pub struct RevisionSender {
    waiting: Arc<Mutex<Waiting>>,
    newest: watch::Sender<()>,
}

impl RevisionSender {
    /// Puts a revision on top of what waits. Tells the number of the one that will never be taken
    /// because of that.
    pub(super) fn put(&self, revision: Received) -> Option<u64> {
        let skipped = lock(&self.waiting).put(revision);
        self.newest.send_replace(());
        skipped
    }

    pub(super) fn is_closed(&self) -> bool {
        self.newest.is_closed()
    }

    /// Ready when nobody takes revisions any more.
    pub(super) async fn closed(&self) {
        self.newest.closed().await;
    }
}

/// The end that serves them.
#[derive(Debug)]
pub struct RevisionReceiver {
    waiting: Arc<Mutex<Waiting>>,
    offered: watch::Receiver<()>,
}

impl RevisionReceiver {
    /// The newest revision, as soon as there is one; none if there will never be another. Nothing is
    /// lost if this is not waited for to the end.
    pub async fn recv(&mut self) -> Option<Received> {
        loop {
            if let Some(received) = self.try_recv() {
                return Some(received);
            }
            if self.offered.changed().await.is_err() {
                return self.try_recv();
            }
        }
    }

    /// The newest revision, if there is one that was not taken.
    pub fn try_recv(&mut self) -> Option<Received> {
        self.offered.mark_unchanged();
        lock(&self.waiting).take()
    }
}

impl Waiting {
    fn put(&mut self, revision: Received) -> Option<u64> {
        for change in revision.changes {
            match change {
                Change::Upsert(resource) => {
                    self.changes.insert(resource.key(), Change::Upsert(resource));
                }
                Change::Remove(key) if self.taken.contains(&key) => {
                    self.changes.insert(key.clone(), Change::Remove(key));
                }
                // It came and went meanwhile.
                Change::Remove(key) => _ = self.changes.remove(&key),
                Change::Observed(_) => {}
            }
        }
        self.number.replace(revision.number)
    }

    fn take(&mut self) -> Option<Received> {
        let number = self.number.take()?;
        let changes = std::mem::take(&mut self.changes);
        for (key, change) in &changes {
            match change {
                Change::Remove(_) => _ = self.taken.remove(key),
                _ => _ = self.taken.insert(key.clone()),
            }
        }
        Some(Received { number, changes: changes.into_values().collect() })
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::{
        api::{ConfigMap, Kind, ObjectKey, Resource},
        snapshot::{Change, Snapshot},
    };

    use super::{Received, revisions};

    fn map(name: &str, value: u64) -> Resource {
        let mut map = ConfigMap::default();
        map.metadata.namespace = "infra".to_owned();
        map.metadata.name = name.to_owned();
        map.data.insert("value".to_owned(), value.to_string());
        map.into()
    }

    #[tokio::test]
    async fn what_waits_is_one_revision_and_comes_to_the_same() {
        let (sender, mut receiver) = revisions();
        let (mut direct, mut taken) = (Snapshot::default(), Snapshot::default());
        for number in 1..=1_000_u64 {
            // One object that changes, and many that come and go.
            let mut changes = vec![Change::Upsert(map("same", number))];
            changes.push(Change::Upsert(map(&format!("m{number}"), number)));
            if number > 3 {
                let gone = format!("m{}", number - 3);
                changes.push(Change::Remove(ObjectKey::new(Kind::ConfigMap, "infra", &gone)));
            }
            changes.iter().cloned().for_each(|change| _ = direct.apply(change));
            let skipped = sender.put(Received { number, changes });
            assert_eq!(skipped.is_some(), number % 100 != 1, "{number}");
            if number % 100 == 0 {
                let received = receiver.recv().await.expect("there is one");
                assert_eq!(received.number, number);
                // Four new ones at most, and three that are gone.
                assert!(received.changes.len() <= 7, "{}", received.changes.len());
                received.changes.into_iter().for_each(|change| _ = taken.apply(change));
                assert!(taken.changes_since(&direct).is_empty(), "{number}");
                assert!(receiver.try_recv().is_none());
            }
        }
        sender.put(Received { number: 1_001, changes: Vec::new() });
        drop(sender);
        assert_eq!(receiver.recv().await.map(|received| received.number), Some(1_001));
        assert!(receiver.recv().await.is_none());
    }

    #[tokio::test]
    async fn the_sender_notices_that_nobody_takes_them() {
        let (sender, receiver) = revisions();
        assert!(!sender.is_closed());
        drop(receiver);
        sender.closed().await;
        assert!(sender.is_closed());
    }
}
