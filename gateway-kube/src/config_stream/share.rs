//! What one address may take of the connections.
//!
//! In: the addresses of connections. Out: a share for each, or none if the address has too many. Not
//! here: how many there may be in all.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use super::publisher::lock;

/// Connections of one address. A pod has one; many pods may come by the address of their node.
const OF_PEER: usize = 512;

/// The connections of all addresses. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Shares {
    /// A share for one more connection; none if the address has too many.
    pub(super) fn take(&self, peer: IpAddr) -> Option<Share> {
        let mut taken = lock(&self.taken);
        let count = taken.entry(peer).or_default();
        if *count >= OF_PEER {
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
    peer: IpAddr,
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
    use std::net::{IpAddr, Ipv4Addr};

    use super::{OF_PEER, Shares};

    #[test]
    fn one_address_takes_nothing_from_others() {
        let shares = Shares::default();
        let [one, other] = [1, 2].map(|last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        let mut taken: Vec<_> = (0..OF_PEER).filter_map(|_| shares.take(one)).collect();
        assert_eq!(taken.len(), OF_PEER);
        assert!(shares.take(one).is_none());
        assert!(shares.take(other).is_some());
        taken.pop();
        assert!(shares.take(one).is_some());
        taken.clear();
        assert!(shares.taken.lock().expect("no panic").is_empty());
    }
}
