//! Connections that have not shown yet that they are worth a place.
//!
//! In: connections as they are accepted, by their peer. Out: when there are too many, the oldest is
//! to end. An honest data plane shows its token within milliseconds, so those that are old are those
//! that say nothing; nobody has to wait for them. Not here: ending them (`arrival`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use super::{publisher::lock, share::Peer};

/// Strangers at a time.
const ALL: usize = 1024;

/// Those of one peer.
const OF_PEER: usize = 64;

/// Strangers that are here. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// In the order in which they came. One that is dropped without a word is to end.
    here: BTreeMap<u64, (Peer, oneshot::Sender<()>)>,
}

impl Strangers {
    /// A place for one more, and its fate: ready once it is known (`Ok`) or is to end (`Err`). Another
    /// may have to end for it.
    pub(super) fn admit(&self, peer: Peer) -> (Place, oneshot::Receiver<()>) {
        let (sender, fate) = oneshot::channel();
        let mut inner = lock(&self.inner);
        inner.make_room(peer);
        inner.next += 1;
        let id = inner.next;
        inner.here.insert(id, (peer, sender));
        (Place { strangers: self.clone(), id }, fate)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.inner).here.len()
    }
}

impl Inner {
    fn make_room(&mut self, peer: Peer) {
        let of_peer = self.here.iter().filter(|(_, (of, _))| *of == peer).map(|(id, _)| *id);
        let of_peer: Vec<u64> = of_peer.collect();
        let oldest = match of_peer.first() {
            Some(id) if of_peer.len() >= OF_PEER => Some(*id),
            _ if self.here.len() >= ALL => self.here.keys().next().copied(),
            _ => None,
        };
        oldest.and_then(|id| self.here.remove(&id));
    }
}

/// The place of a stranger; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    strangers: Strangers,
    id: u64,
}

impl Place {
    /// It is no stranger any more.
    pub(super) fn welcome(&self) {
        if let Some((_, fate)) = lock(&self.strangers.inner).here.remove(&self.id) {
            // If nobody listens, it has ended by now.
            let _ = fate.send(());
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.strangers.inner).here.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use tokio::sync::oneshot::{Receiver, error::TryRecvError};

    use super::{ALL, OF_PEER, Place, Strangers};
    use crate::config_stream::share::Peer;

    fn admit(strangers: &Strangers, peer: u32) -> (Place, Receiver<()>) {
        strangers.admit(Peer::of(IpAddr::V4(Ipv4Addr::from(peer))))
    }

    fn may_stay((_, fate): &mut (Place, Receiver<()>)) -> bool {
        fate.try_recv() == Err(TryRecvError::Empty)
    }

    #[test]
    fn the_oldest_ends_first_those_of_the_same_peer_before() {
        let strangers = Strangers::default();
        let mut other = admit(&strangers, 1);
        let mut same: Vec<_> = (0..OF_PEER).map(|_| admit(&strangers, 2)).collect();
        assert_eq!(strangers.len(), OF_PEER + 1);
        same.push(admit(&strangers, 2));
        assert!(!may_stay(&mut same.remove(0)));
        assert!(may_stay(&mut other) && same.iter_mut().all(may_stay));
        let count = u32::try_from(ALL).expect("it fits");
        let mut all: Vec<_> = (0..count).map(|peer| admit(&strangers, 1_000 + peer)).collect();
        assert!(!may_stay(&mut other));
        assert!(all.iter_mut().all(may_stay));
        assert_eq!(strangers.len(), ALL);
        drop(all);
        assert_eq!(strangers.len(), 0);
    }

    #[test]
    fn who_is_known_takes_no_place() {
        let strangers = Strangers::default();
        let (place, mut fate) = admit(&strangers, 1);
        place.welcome();
        assert_eq!((fate.try_recv(), strangers.len()), (Ok(()), 0));
        let mut more: Vec<_> = (0..OF_PEER).map(|_| admit(&strangers, 1)).collect();
        assert!(more.iter_mut().all(may_stay));
    }
}
