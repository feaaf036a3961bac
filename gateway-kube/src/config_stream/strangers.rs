//! Connections that have not shown yet that they are worth a place.
//!
//! In: connections as they are accepted, by the address of their peer. Out: when there are too many,
//! the oldest ends. An honest handshake takes milliseconds, so those that are old are those that say
//! nothing; nobody has to wait for them. Not here: the handshake.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use tokio::task::AbortHandle;

use super::publisher::lock;

/// Handshakes at a time.
const ALL: usize = 1024;

/// Those of one address.
const OF_PEER: usize = 64;

/// Handshakes under way. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// In the order in which they came.
    under_way: BTreeMap<u64, (IpAddr, Option<AbortHandle>)>,
}

impl Strangers {
    /// Begins a handshake as a task, which gets the place that it is to give back. May end another.
    pub(super) fn admit(&self, peer: IpAddr, begin: impl FnOnce(Place) -> AbortHandle) {
        let id = {
            let mut inner = lock(&self.inner);
            inner.make_room(peer);
            inner.next += 1;
            let id = inner.next;
            inner.under_way.insert(id, (peer, None));
            id
        };
        let place = Place { strangers: self.clone(), id };
        let task = begin(place);
        // It may have ended by now, and given its place back.
        if let Some((_, begun)) = lock(&self.inner).under_way.get_mut(&id) {
            *begun = Some(task);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.inner).under_way.len()
    }
}

impl Inner {
    fn make_room(&mut self, peer: IpAddr) {
        let of_peer = self.under_way.iter().filter(|(_, (of, _))| *of == peer).map(|(id, _)| *id);
        let of_peer: Vec<u64> = of_peer.collect();
        let oldest = match of_peer.first() {
            Some(id) if of_peer.len() >= OF_PEER => Some(*id),
            _ if self.under_way.len() >= ALL => self.under_way.keys().next().copied(),
            _ => None,
        };
        if let Some((_, Some(task))) = oldest.and_then(|id| self.under_way.remove(&id)) {
            task.abort();
        }
    }
}

/// The place of a handshake; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    strangers: Strangers,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.strangers.inner).under_way.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, Ipv4Addr},
        sync::{Arc, Mutex},
    };

    use tokio::task::JoinHandle;

    use super::{ALL, OF_PEER, Strangers};

    fn silent(strangers: &Strangers, peer: u32) -> JoinHandle<()> {
        let task = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&task);
        strangers.admit(IpAddr::V4(Ipv4Addr::from(peer)), move |place| {
            let begun = tokio::spawn(async move {
                let _place = place;
                std::future::pending::<()>().await;
            });
            let handle = begun.abort_handle();
            *kept.lock().expect("no panic") = Some(begun);
            handle
        });
        let begun = task.lock().expect("no panic").take();
        begun.expect("it was begun")
    }

    #[tokio::test]
    async fn the_oldest_ends_first_those_of_the_same_peer_before() {
        let strangers = Strangers::default();
        let other = silent(&strangers, 1);
        let mut same: Vec<_> = (0..OF_PEER).map(|_| silent(&strangers, 2)).collect();
        assert_eq!(strangers.len(), OF_PEER + 1);
        same.push(silent(&strangers, 2));
        assert!(same.remove(0).await.is_err_and(|error| error.is_cancelled()));
        assert!(!other.is_finished() && same.iter().all(|task| !task.is_finished()));
        let all: Vec<_> = (0..u32::try_from(ALL).expect("it fits"))
            .map(|peer| silent(&strangers, 1_000 + peer))
            .collect();
        assert!(other.await.is_err());
        assert!(all.iter().all(|task| !task.is_finished()));
        assert_eq!(strangers.len(), ALL);
        all.iter().for_each(JoinHandle::abort);
        for task in all {
            assert!(task.await.is_err());
        }
        assert_eq!(strangers.len(), 0);
    }
}
