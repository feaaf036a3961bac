//! What one peer may take of something that all share.
//!
//! In: the addresses of connections. Out: a share for each, or none if the peer has too many. Not
//! here: how many there may be in all.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
};

use super::publisher::lock;

/// Who is at the other end: an IPv4 address, or the 64 bits of an IPv6 address that its owner cannot
/// choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer(IpAddr);

impl Peer {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The shares of all peers. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Shares {
    taken: Arc<Mutex<BTreeMap<Peer, usize>>>,
    most: usize,
}

impl Shares {
    /// As many as `most` for each peer.
    pub(super) fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// One more share; none if the peer has too many.
    pub(super) fn take(&self, peer: Peer) -> Option<Share> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(peer).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { shares: self.clone(), peer })
    }
}

/// Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Shares,
    peer: Peer,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = lock(&self.shares.taken);
        if let Some(count) = taken.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Peer, Shares};

    fn peer(address: &str) -> Peer {
        Peer::of(address.parse().expect("an address"))
    }

    #[test]
    fn one_peer_takes_nothing_from_others() {
        let shares = Shares::new(3);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(peer);
        let mut taken: Vec<_> = (0..3).filter_map(|_| shares.take(one)).collect();
        assert_eq!(taken.len(), 3);
        assert!(shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        taken.pop();
        assert!(shares.take(one).is_some());
        taken.clear();
        assert!(shares.taken.lock().expect("no panic").is_empty());
    }

    #[track_caller]
    fn check(one: &str, other: &str, same: bool) {
        assert_eq!(peer(one) == peer(other), same, "{one} {other}");
    }

    #[test]
    fn what_a_peer_can_choose_of_its_address_does_not_count() {
        check("192.0.2.1", "192.0.2.1", true);
        check("192.0.2.1", "192.0.2.2", false);
        check("192.0.2.1", "::ffff:192.0.2.1", true);
        check("::ffff:192.0.2.1", "::ffff:192.0.2.2", false);
        check("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true);
        check("2001:db8:0:1::1", "2001:db8:0:2::1", false);
    }
}
