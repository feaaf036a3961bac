//! The program as a whole: tables in, sockets open, requests served, until it is time to end.
//!
//! In: a [`Config`] and [`Update`]s as they come. Out: served requests, and for each update what
//! became of its sockets. Not here: where updates come from (`source`) and the command line.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::available_parallelism,
    time::Duration,
};

use gateway_core::{
    api::ObjectKey,
    compile::RouteTable,
    endpoints::Endpoints,
    resolve::topology::{BindKey, Topology},
    snapshot::{Observed, Placement},
};
use gateway_tower::{RouteService, RouteSettings, TableHandle};
use rustls::crypto::CryptoProvider;
use tokio::time::{Instant, sleep};

use crate::{
    Update,
    error::Error,
    guard::Limits,
    listen::{Addresses, Sockets},
    stream::{StreamOptions, Streams, proxy_protocol::TrustedSources},
    telemetry::{AccessLog, Telemetry},
    upstream::{SharedEndpoints, Upstream, UpstreamLimits},
    worker::{Parts, Worker},
};

/// How long streams may take to end once they are told to.
const BREAK_TIME: Duration = Duration::from_millis(100);

/// How the program runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where Gateways listen.
    pub addresses: Addresses,
    /// Threads that serve requests.
    pub workers: usize,
    /// Limits of clients.
    pub limits: Limits,
    /// Limits of connections to backends.
    pub upstream: UpstreamLimits,
    /// What routes leave open.
    pub routes: RouteSettings,
    /// Limits of connections and datagrams below HTTP.
    pub streams: StreamOptions,
    /// The proxies whose connections begin with a PROXY header; from others it is no header.
    pub proxies: TrustedSources,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// Where the admin endpoints listen; none: nowhere.
    pub admin: Option<SocketAddr>,
    /// How long requests may take to end once the program is asked to.
    pub drain: Duration,
}

impl Default for Config {
    /// One worker for each core that the program may use, and safe limits.
    fn default() -> Self {
        Self {
            addresses: Addresses::default(),
            workers: available_parallelism().map_or(1, usize::from),
            limits: Limits::default(),
            upstream: UpstreamLimits::default(),
            routes: RouteSettings::default(),
            streams: StreamOptions::default(),
            proxies: TrustedSources::default(),
            access_log: AccessLog::default(),
            admin: None,
            drain: Duration::from_secs(30),
        }
    }
}

/// The running data plane.
#[derive(Debug)]
pub struct Gateway {
    table: TableHandle,
    endpoints: Arc<SharedEndpoints>,
    telemetry: Arc<Telemetry>,
    sockets: Sockets,
    workers: Vec<Worker>,
    connections: Arc<AtomicUsize>,
    ready: Arc<AtomicBool>,
    drain: Duration,
}

/// Looks at a running gateway.
#[derive(Clone, Debug)]
pub struct Inspector {
    endpoints: Arc<SharedEndpoints>,
    telemetry: Arc<Telemetry>,
    ready: Arc<AtomicBool>,
}

impl Inspector {
    /// Whether a table is served and the end has not begun.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// The metrics as Prometheus text.
    #[must_use]
    pub fn metrics(&self) -> String {
        crate::telemetry::render(&self.telemetry, &self.endpoints)
    }
}

impl Gateway {
    /// Starts the workers. They serve nothing until the first [`Gateway::apply`].
    ///
    /// # Errors
    /// If threads, runtimes or the access log cannot be had.
    pub fn start(config: &Config) -> Result<Self, Error> {
        let telemetry = Arc::new(Telemetry::new(&config.access_log).map_err(Error::AccessLog)?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let table = TableHandle::new(RouteTable::compile(&Topology::default(), 0));
        let endpoints = Arc::new(SharedEndpoints::default());
        let workers = config.workers.max(1);
        let mut gateway = Self {
            table,
            endpoints,
            telemetry,
            sockets: Sockets::new(
                config.addresses.clone(),
                workers,
                config.drain,
                Arc::clone(&provider),
            ),
            workers: Vec::with_capacity(workers),
            connections: Arc::default(),
            ready: Arc::default(),
            drain: config.drain,
        };
        for number in 0..workers {
            let parts = gateway.parts(number, config, &provider);
            let worker = Worker::start(format!("worker-{number}"), parts);
            gateway.workers.push(worker.map_err(Error::Runtime)?);
        }
        Ok(gateway)
    }

    fn parts(&self, number: usize, config: &Config, provider: &Arc<CryptoProvider>) -> Parts {
        let endpoints = Arc::clone(&self.endpoints);
        let upstream = Upstream::new(endpoints, config.upstream.clone(), Arc::clone(provider));
        let streams = Streams::new(upstream.clone(), config.streams.clone());
        let settings = config.routes.clone();
        let limits = config.limits.clone();
        Parts {
            number,
            telemetry: self.telemetry.worker(Arc::clone(streams.traffic())),
            routes: RouteService::with_settings(self.table.clone(), upstream, settings),
            streams,
            table: self.table.clone(),
            limits: Limits { requests: requests_of_worker(&limits, config.workers), ..limits },
            proxies: config.proxies.clone(),
            connections: Arc::clone(&self.connections),
        }
    }

    /// Serves an update: every request sees the old table or the new one as a whole. Tells for each
    /// socket that the update asks for whether it is open, and at which address its Gateway is.
    pub async fn apply(&mut self, update: &Update) -> Observed {
        // Backends before the routes to them, sockets before what they serve, and what is no
        // longer served last: at no moment leads a route to nothing.
        self.endpoints.publish(update.endpoints.clone());
        let (observed, serve) = self.sockets.open(&update.build.topology).await;
        self.table.publish(update.build.table.clone());
        self.telemetry.table_published();
        for (worker, sockets) in self.workers.iter().zip(serve) {
            sockets.into_iter().for_each(|socket| worker.serve(socket));
        }
        self.sockets.close_others(&update.build.topology);
        self.ready.store(true, Ordering::Release);
        observed
    }

    /// Says where the sockets of Gateways are that have some of their own; they follow with the next [`Gateway::apply`].
    pub fn assign(&mut self, own: &BTreeMap<ObjectKey, Placement>) {
        self.sockets.assign(own);
    }

    /// Serves other routes on the same listeners.
    pub fn route(&self, table: RouteTable) {
        self.table.publish(table);
        self.telemetry.table_published();
    }

    /// Sends requests to other endpoints by the same routes.
    pub fn locate(&self, endpoints: Endpoints) {
        self.endpoints.publish(endpoints);
    }

    /// Where each socket listens.
    #[must_use]
    pub fn addresses(&self) -> BTreeMap<BindKey, Vec<SocketAddr>> {
        self.sockets.addresses()
    }

    /// Connections of clients.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// The metrics as Prometheus text.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.inspector().metrics()
    }

    /// A view for the admin endpoints.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector {
            endpoints: Arc::clone(&self.endpoints),
            telemetry: Arc::clone(&self.telemetry),
            ready: Arc::clone(&self.ready),
        }
    }

    /// Ends: no new connections, the others after the request that they are at, but all at the
    /// deadline. Gives back how many connections had to be broken off.
    pub async fn drain(mut self) -> usize {
        self.ready.store(false, Ordering::Release);
        let closed = self.sockets.close_all();
        let deadline = Instant::now() + self.drain;
        while self.connections() > 0 && Instant::now() < deadline {
            sleep(Duration::from_millis(10)).await;
        }
        let left = self.connections();
        // Streams end with a line in the log; what does not, breaks with the workers.
        closed.iter().for_each(|drain| drain.break_off());
        let end = Instant::now() + BREAK_TIME;
        while self.connections() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
        self.workers.iter_mut().for_each(Worker::stop);
        self.telemetry.flush();
        left
    }
}

/// The part of the limit that one of the workers has, so that they need not agree on each request.
///
/// The kernel gives connections to workers as chance has it. So that all streams of one find room,
/// and a listener has but half of it, the part is twice as much at least, if the whole is.
fn requests_of_worker(limits: &Limits, workers: usize) -> usize {
    let streams = usize::try_from(limits.streams).unwrap_or(usize::MAX);
    let least = limits.requests.min(streams.saturating_mul(2));
    limits.requests.div_ceil(workers.max(1)).max(least)
}

#[cfg(test)]
mod tests {
    use super::{Limits, requests_of_worker};

    #[track_caller]
    fn check(requests: usize, workers: usize, expect: usize) {
        let limits = Limits { requests, streams: 100, ..Limits::default() };
        assert_eq!(requests_of_worker(&limits, workers), expect);
    }

    #[test]
    fn a_worker_has_its_part_of_the_requests_and_room_for_a_connection() {
        check(100_000, 4, 25_000);
        check(100_001, 4, 25_001);
        check(100_000, 0, 100_000);
        check(1_000, 64, 200);
        check(150, 64, 150);
        check(1, 64, 1);
    }
}
