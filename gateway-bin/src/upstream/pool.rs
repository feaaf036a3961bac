//! All backends as one worker sees them.
//!
//! Each worker has a pool of its own, so that its locks are never contended and an answer is read
//! by the thread that asked. Workers share what must hold for the process: the endpoints, and how
//! many connections a backend may have.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use gateway_core::{
    backend::{Backend, BackendKey},
    endpoints::Endpoints,
};
use gateway_tower::SessionHint;
use rustls::crypto::CryptoProvider;
use tokio::time::Instant;

use super::{
    UpstreamError, UpstreamLimits,
    cluster::Cluster,
    connect::ClientTls,
    endpoint::{EndpointState, lock},
    external::External,
    tls::client_tls,
};

/// What the workers share about backends.
#[derive(Debug)]
pub struct SharedEndpoints {
    endpoints: ArcSwap<Endpoints>,
    generation: AtomicU64,
    open: Mutex<HashMap<BackendKey, Arc<AtomicUsize>>>,
    retired: Mutex<Retired>,
}

/// Endpoints of backends that are gone, and since when.
type Retired = HashMap<BackendKey, (Arc<[SocketAddr]>, Instant)>;

/// How long a request that saw an old table may still find the backends of that table.
const RETIREMENT: Duration = Duration::from_secs(10);

impl Default for SharedEndpoints {
    fn default() -> Self {
        Self {
            endpoints: ArcSwap::from_pointee(Endpoints::default()),
            generation: AtomicU64::new(1),
            open: Mutex::default(),
            retired: Mutex::default(),
        }
    }
}

impl SharedEndpoints {
    /// Makes new endpoints known; every worker sees them with its next request. Backends that are
    /// missing keep theirs for a while: requests may be on their way that were routed before.
    pub fn publish(&self, mut endpoints: Endpoints) {
        let before = self.endpoints.load();
        self.retire(&before, &mut endpoints);
        if **before == endpoints {
            return;
        }
        self.endpoints.store(Arc::new(endpoints));
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn retire(&self, before: &Endpoints, endpoints: &mut Endpoints) {
        let now = Instant::now();
        let mut retired = lock(&self.retired);
        for (backend, addresses) in before.iter() {
            if !endpoints.contains(backend) {
                retired.entry(backend.clone()).or_insert_with(|| (addresses.into(), now));
            }
        }
        retired.retain(|backend, (_, since)| {
            !endpoints.contains(backend) && now.saturating_duration_since(*since) < RETIREMENT
        });
        for (backend, (addresses, _)) in &*retired {
            endpoints.insert(backend.clone(), Arc::clone(addresses));
        }
    }

    /// Open connections of each backend that has any.
    #[must_use]
    pub fn open_connections(&self) -> Vec<(BackendKey, usize)> {
        let open = lock(&self.open);
        let counted = open.iter().map(|(key, count)| (key.clone(), count.load(Ordering::Relaxed)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    fn counter(&self, backend: &BackendKey) -> Arc<AtomicUsize> {
        let mut open = lock(&self.open);
        // Counters that no cluster and no connection holds belong to backends that are gone.
        if open.len() > 1024 {
            open.retain(|_, count| Arc::strong_count(count) > 1);
        }
        Arc::clone(open.entry(backend.clone()).or_default())
    }
}

/// A cluster with what it takes to reach it.
#[derive(Debug)]
pub(super) struct Reachable {
    pub(super) cluster: Cluster,
    /// None for plain text; an error if the policy cannot be followed.
    pub(super) tls: Option<Result<ClientTls, Box<str>>>,
    /// The name that stands for the endpoints.
    pub(super) external: Option<External>,
    used: Mutex<Instant>,
}

/// The backends of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) limits: UpstreamLimits,
    shared: Arc<SharedEndpoints>,
    provider: Arc<CryptoProvider>,
    known: Mutex<Known>,
    dice: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    generation: u64,
    backends: HashMap<BackendKey, Vec<Arc<Reachable>>, foldhash::fast::RandomState>,
}

impl Pool {
    pub(super) fn new(
        shared: Arc<SharedEndpoints>,
        limits: UpstreamLimits,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        let dice = AtomicU64::new(std::hash::RandomState::new().hash_one(0));
        Self { limits, shared, provider, known: Mutex::default(), dice }
    }

    /// The cluster for `backend`, with the newest endpoints.
    pub(super) fn reach(&self, backend: &Backend) -> Arc<Reachable> {
        let mut known = lock(&self.known);
        let generation = self.shared.generation.load(Ordering::Acquire);
        if known.generation != generation {
            known.generation = generation;
            self.renew(&known);
        }
        let ways = known.backends.get(&backend.key);
        let found = ways.and_then(|ways| ways.iter().find(|way| way.serves(backend)));
        if let Some(found) = found {
            return Arc::clone(found);
        }
        let new = Arc::new(self.open(backend));
        known.backends.entry(backend.key.clone()).or_default().push(Arc::clone(&new));
        new
    }

    /// Closes what was idle for too long and forgets backends that nobody asks for.
    pub(super) fn sweep(&self) {
        let (now, longest) = (Instant::now(), self.limits.idle);
        let mut known = lock(&self.known);
        let generation = self.shared.generation.load(Ordering::Acquire);
        if known.generation != generation {
            known.generation = generation;
            self.renew(&known);
        }
        known.backends.retain(|_, ways| {
            ways.retain(|way| {
                let endpoints = way.cluster.endpoints();
                endpoints.iter().for_each(|endpoint| endpoint.sweep(now, longest));
                let busy = endpoints.iter().any(|endpoint| endpoint.load() > 0);
                busy || now.saturating_duration_since(*lock(&way.used)) < longest
            });
            !ways.is_empty()
        });
    }

    /// A number that nobody can foresee well enough to unbalance endpoints (splitmix64).
    pub(super) fn dice(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.dice.fetch_add(STEP, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn renew(&self, known: &Known) {
        let endpoints = self.shared.endpoints.load();
        for (key, ways) in &known.backends {
            for way in ways.iter().filter(|way| way.external.is_none()) {
                way.cluster.set_endpoints(endpoints.get(key).iter().copied());
            }
        }
    }

    fn open(&self, backend: &Backend) -> Reachable {
        let counter = self.shared.counter(&backend.key);
        let cluster = Cluster::new(backend, counter, self.limits.idle_per_endpoint);
        let external = backend
            .external_hostname
            .as_deref()
            .map(|hostname| External::new(hostname, backend.key.port));
        if external.is_none() {
            let endpoints = self.shared.endpoints.load();
            cluster.set_endpoints(endpoints.get(&backend.key).iter().copied());
        }
        let tls = backend.tls.as_deref();
        let tls = tls.map(|policy| client_tls(policy, backend.protocol, &self.provider));
        Reachable { cluster, tls, external, used: Mutex::new(Instant::now()) }
    }
}

impl Reachable {
    fn serves(&self, backend: &Backend) -> bool {
        self.cluster.serves(backend)
            && self.external.as_ref().map(External::hostname)
                == backend.external_hostname.as_deref()
    }

    /// The TLS of new connections.
    pub(super) fn tls(&self) -> Result<Option<ClientTls>, UpstreamError> {
        match &self.tls {
            None => Ok(None),
            Some(Ok(tls)) => Ok(Some(tls.clone())),
            Some(Err(reason)) => Err(UpstreamError::Tls(reason.clone())),
        }
    }

    /// The endpoint of the next try, as [`Cluster::pick`] chooses it.
    pub(super) async fn pick(
        self: &Arc<Self>,
        session: Option<&SessionHint>,
        tried: &[SocketAddr],
        pool: &Pool,
    ) -> Result<Arc<EndpointState>, UpstreamError> {
        if let Some(external) = &self.external {
            external.look_up(self).await?;
        }
        let hint = session.and_then(|session| {
            let endpoints = self.cluster.endpoints();
            let addresses = endpoints.iter().map(|endpoint| endpoint.address);
            addresses.into_iter().find(|address| session.names(*address))
        });
        self.cluster.pick(hint, tried, pool.dice()).ok_or(UpstreamError::NoEndpoint)
    }

    pub(super) fn touch(&self, now: Instant) {
        *lock(&self.used) = now;
    }
}
