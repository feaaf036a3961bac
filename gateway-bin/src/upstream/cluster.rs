//! The endpoints of one backend as one worker sees them, and the choice among them.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use gateway_core::backend::{Backend, BackendProtocol, BackendTls};

use super::endpoint::{EndpointState, lock};

/// A backend with one way to speak to it. A Service that is spoken to in two ways, such as plain
/// HTTP/1.1 from one route and HTTP/2 from another, is two clusters, so that no connection is used
/// for what it was not set up for.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) protocol: BackendProtocol,
    pub(super) tls: Option<Arc<BackendTls>>,
    /// Connections of the backend, over all workers.
    pub(super) open: Arc<AtomicUsize>,
    endpoints: Mutex<Arc<[Arc<EndpointState>]>>,
    most_idle: usize,
}

impl Cluster {
    pub(super) fn new(backend: &Backend, open: Arc<AtomicUsize>, most_idle: usize) -> Self {
        let tls = backend.tls.clone();
        let endpoints = Mutex::new(Arc::from([]));
        Self { protocol: backend.protocol, tls, open, endpoints, most_idle }
    }

    /// Whether connections of this cluster may serve `backend`.
    pub(super) fn serves(&self, backend: &Backend) -> bool {
        let same_tls = match (&self.tls, &backend.tls) {
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (None, None) => true,
            _ => false,
        };
        self.protocol == backend.protocol && same_tls
    }

    /// Replaces the endpoints. Those that stay keep their connections and their health.
    pub(super) fn set_endpoints(&self, addresses: impl Iterator<Item = SocketAddr>) {
        let mut endpoints = lock(&self.endpoints);
        let state = |address| {
            let known = endpoints.iter().find(|endpoint| endpoint.address == address);
            known.cloned().unwrap_or_else(|| Arc::new(EndpointState::new(address, self.most_idle)))
        };
        let replaced = addresses.map(state).collect();
        *endpoints = replaced;
    }

    pub(super) fn endpoints(&self) -> Arc<[Arc<EndpointState>]> {
        Arc::clone(&lock(&self.endpoints))
    }

    /// The endpoint of the next request: the one of `hint` if it is there, else the one with less
    /// load of two that `dice` names. Ejected ones and those in `tried` come only if no other is
    /// left.
    pub(super) fn pick(
        &self,
        hint: Option<SocketAddr>,
        tried: &[SocketAddr],
        dice: u64,
    ) -> Option<Arc<EndpointState>> {
        let endpoints = self.endpoints();
        if let Some(hint) = hint.filter(|hint| !tried.contains(hint))
            && let Some(known) = endpoints.iter().find(|endpoint| endpoint.address == hint)
            && !known.is_ejected()
        {
            return Some(Arc::clone(known));
        }
        if let [only] = &*endpoints {
            return Some(Arc::clone(only));
        }
        let usable = |endpoint: &&Arc<EndpointState>| {
            !tried.contains(&endpoint.address) && !endpoint.is_ejected()
        };
        let count = endpoints.iter().filter(usable).count();
        if count == 0 {
            let place = usize::try_from(dice).unwrap_or(0).checked_rem(endpoints.len())?;
            return endpoints.get(place).cloned();
        }
        let (first, second) = two_of(count, dice);
        let first = endpoints.iter().filter(usable).nth(first)?;
        let second = endpoints.iter().filter(usable).nth(second)?;
        Some(Arc::clone(if second.load() < first.load() { second } else { first }))
    }
}

/// Two places below `count`, different ones if there are two.
fn two_of(count: usize, dice: u64) -> (usize, usize) {
    let (low, high) = (dice & 0xffff_ffff, dice >> 32);
    let place = |dice: u64, count: usize| {
        // Both factors are below 2^32, and so the quotient is below `count`.
        ((dice * count as u64) >> 32) as usize
    };
    let first = place(low, count);
    let second = place(high, count.saturating_sub(1).max(1));
    (first, if second >= first && count > 1 { second + 1 } else { second })
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use gateway_core::backend::{Backend, BackendKey};
    use tokio::time::Instant;

    use super::{Cluster, two_of};
    use crate::upstream::endpoint::Lease;

    fn cluster(ports: &[u16]) -> Cluster {
        let key = BackendKey {
            kind: gateway_core::api::Kind::Service,
            namespace: "default".into(),
            name: "a".into(),
            port: 80,
        };
        let backend = Backend {
            key,
            protocol: Default::default(),
            tls: None,
            external_hostname: None,
            retry_budget: None,
            proxy_protocol: None,
            session_persistence: None,
        };
        let cluster = Cluster::new(&backend, Arc::default(), 4);
        cluster.set_endpoints(ports.iter().map(|port| address(*port)));
        cluster
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn two_choices_differ_and_stay_below_the_count() {
        for count in 1..6 {
            for dice in [0, 1, u64::MAX, 0xffff_ffff, 0x8000_0000_8000_0000, 0xdead_beef_0bad_cafe]
            {
                let (first, second) = two_of(count, dice);
                assert!(first < count && second < count, "{count} {dice:x}");
                assert!(count == 1 || first != second, "{count} {dice:x}");
            }
        }
    }

    #[test]
    fn the_less_loaded_of_two_is_chosen() {
        let cluster = cluster(&[1, 2]);
        let busy = cluster.pick(None, &[], 0).expect("two endpoints");
        let _lease = Lease::new(&busy);
        for dice in [0, 7 << 31, u64::MAX] {
            let other = cluster.pick(None, &[], dice).expect("two endpoints");
            assert_ne!(other.address, busy.address);
        }
    }

    #[test]
    fn an_endpoint_that_fails_again_and_again_is_left_alone() {
        let cluster = cluster(&[1, 2]);
        let bad = cluster.pick(Some(address(1)), &[], 0).expect("two endpoints");
        for _ in 0..3 {
            bad.failed(Instant::now());
        }
        for dice in [0, u64::MAX] {
            let picked = cluster.pick(Some(address(1)), &[], dice).expect("two endpoints");
            assert_eq!(picked.address, address(2));
        }
        bad.succeeded();
        let picked = cluster.pick(Some(address(1)), &[], 0).expect("two endpoints");
        assert_eq!(picked.address, address(1));
    }

    #[test]
    fn tried_endpoints_come_last_and_none_is_none() {
        let two = cluster(&[1, 2]);
        let picked = two.pick(None, &[address(1)], 0).expect("two endpoints");
        assert_eq!(picked.address, address(2));
        assert!(two.pick(None, &[address(1), address(2)], 0).is_some());
        assert!(cluster(&[]).pick(None, &[], 0).is_none());
    }

    #[test]
    fn endpoints_that_stay_keep_their_state() {
        let cluster = cluster(&[1, 2]);
        let kept = cluster.pick(Some(address(2)), &[], 0).expect("two endpoints");
        cluster.set_endpoints([address(2), address(3)].into_iter());
        let again = cluster.pick(Some(address(2)), &[], 0).expect("two endpoints");
        assert!(Arc::ptr_eq(&kept, &again));
    }
}
