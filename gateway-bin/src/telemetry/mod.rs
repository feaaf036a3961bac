//! What the gateway tells about its work: metrics and the access log.
//!
//! In: a [`Record`] for each request, a [`StreamRecord`] for each stream, and events of sockets. Out: Prometheus text, and lines of
//! JSON. Labels are names from the configuration (route, rule, listener, socket) and classes of
//! status codes, never anything that a client can choose. Not here: the admin endpoints that serve
//! them (`admin`).

mod access_log;
mod exposition;
mod record;
mod series;
mod stream;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use gateway_tower::OwnedMatch;

pub use access_log::AccessLog;
pub(crate) use exposition::render;
pub(crate) use record::Record;
pub(crate) use stream::{StreamProtocol, StreamRecord};

use access_log::{LogBuffer, LogSender};
use series::{Series, Sum};

use crate::{
    stream::{Totals, Traffic},
    upstream::lock,
};

/// Rules that are counted one by one; beyond, they are counted together.
const MOST_SERIES: usize = 20_000;

/// The telemetry of the process.
#[derive(Debug)]
pub(crate) struct Telemetry {
    workers: Mutex<Vec<Weak<WorkerTelemetry>>>,
    log: Option<LogSender>,
    pub(crate) tables: AtomicU64,
}

/// The telemetry of one worker.
#[derive(Debug)]
pub(crate) struct WorkerTelemetry {
    rules: Mutex<Rules>,
    events: Mutex<BTreeMap<(Event, Arc<str>), u64>>,
    /// Streams that have ended, by rule and cause.
    streams: Mutex<BTreeMap<(SeriesName, &'static str), u64>>,
    traffic: Arc<Traffic>,
    log: Option<LogBuffer>,
}

/// What is counted besides requests, each with one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// The gateway answered itself, by cause.
    OwnAnswer,
    /// A connection over the limit was closed, by socket.
    ConnectionRefused,
    /// The system gave no connection, by socket.
    AcceptFailed,
    /// A TLS handshake failed, by socket.
    HandshakeFailed,
    /// A trusted source sent no PROXY header, by socket.
    ProxyHeaderFailed,
    /// A request ended in a panic, by socket.
    Panic,
    /// An answer broke off, by socket.
    Aborted,
}

#[derive(Debug, Default)]
struct Rules {
    /// By the addresses of the rule, its listener and the backend, which the entry keeps
    /// alive. Names are compared once for each table.
    known: HashMap<(usize, usize, usize), Arc<Known>, foldhash::fast::RandomState>,
    by_name: BTreeMap<SeriesName, Arc<Series>>,
}

/// What all requests of a rule on a listener to one backend have in common.
#[derive(Debug)]
struct Known {
    _matched: Option<OwnedMatch>,
    series: Arc<Series>,
    /// Its part of a line in the access log.
    description: Vec<u8>,
}

/// The labels of a series.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeriesName {
    pub(crate) gateway: String,
    pub(crate) listener: String,
    pub(crate) route: String,
    pub(crate) rule: String,
}

impl SeriesName {
    fn of(matched: &OwnedMatch) -> Self {
        let (listener, route, rule) = (&matched.listener, &matched.route, &matched.rule);
        let gateway = &listener.gateway;
        Self {
            gateway: format!("{}/{}", gateway.namespace, gateway.name),
            listener: listener.name.to_string(),
            route: format!("{}/{}/{}", route.key.kind, route.key.namespace, route.key.name),
            rule: match &rule.name {
                Some(name) => name.to_string(),
                None => rule.index.to_string(),
            },
        }
    }
}

impl Telemetry {
    /// Opens the access log.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn new(log: &AccessLog) -> io::Result<Self> {
        let log = LogSender::start(log)?;
        Ok(Self { workers: Mutex::default(), log, tables: AtomicU64::new(0) })
    }

    /// The telemetry of one more worker, whose streams count their bytes in `traffic`.
    pub(crate) fn worker(&self, traffic: Arc<Traffic>) -> Arc<WorkerTelemetry> {
        let worker = Arc::new(WorkerTelemetry {
            rules: Mutex::default(),
            events: Mutex::default(),
            streams: Mutex::default(),
            traffic,
            log: self.log.clone().map(LogBuffer::new),
        });
        lock(&self.workers).push(Arc::downgrade(&worker));
        worker
    }

    /// A new table is served: rules of the old one need not be remembered.
    pub(crate) fn table_published(&self) {
        self.tables.fetch_add(1, Relaxed);
        for worker in self.workers() {
            lock(&worker.rules).known.clear();
        }
    }

    /// Writes out what the access log holds back.
    pub(crate) fn flush(&self) {
        self.workers().iter().for_each(|worker| worker.hand_over_log());
        if let Some(log) = &self.log {
            log.flush();
        }
    }

    fn log_dropped(&self) -> u64 {
        self.log.as_ref().map_or(0, LogSender::dropped)
    }

    fn sums(&self) -> BTreeMap<SeriesName, Sum> {
        let mut sums = BTreeMap::<SeriesName, Sum>::new();
        for worker in self.workers() {
            for (name, series) in &lock(&worker.rules).by_name {
                sums.entry(name.clone()).or_default().add(series);
            }
        }
        sums
    }

    fn events(&self) -> BTreeMap<(Event, Arc<str>), u64> {
        let mut events = BTreeMap::new();
        for worker in self.workers() {
            for (event, count) in lock(&worker.events).iter() {
                *events.entry(event.clone()).or_insert(0) += count;
            }
        }
        events
    }

    fn streams(&self) -> BTreeMap<(SeriesName, &'static str), u64> {
        let mut streams = BTreeMap::new();
        for worker in self.workers() {
            for (name, count) in lock(&worker.streams).iter() {
                *streams.entry(name.clone()).or_insert(0) += count;
            }
        }
        streams
    }

    fn traffic(&self) -> Totals {
        let totals = |worker: Arc<WorkerTelemetry>| worker.traffic.totals();
        self.workers().into_iter().map(totals).fold(Totals::default(), Totals::plus)
    }

    fn workers(&self) -> Vec<Arc<WorkerTelemetry>> {
        lock(&self.workers).iter().filter_map(Weak::upgrade).collect()
    }
}

impl WorkerTelemetry {
    /// A request has ended.
    pub(crate) fn ended(&self, record: &Record) {
        let known = self.known(record.matched.as_ref());
        known.series.count(record);
        if let Some(cause) = record.cause {
            self.count(Event::OwnAnswer, &Arc::from(cause));
        }
        if !record.complete {
            self.count(Event::Aborted, &record.bind);
        }
        if let Some(log) = &self.log {
            log.write(record, &known.description);
        }
    }

    /// A connection below HTTP or a UDP session has ended.
    pub(crate) fn stream_ended(&self, record: &StreamRecord) {
        let ended = &record.ended;
        let name = ended.matched.as_ref().map(SeriesName::of).unwrap_or_default();
        self.count_stream((name, ended.cause.as_str()));
        if let Some(log) = &self.log {
            log.write_stream(record);
        }
    }

    fn count_stream(&self, name: (SeriesName, &'static str)) {
        let mut streams = lock(&self.streams);
        if streams.len() >= MOST_SERIES && !streams.contains_key(&name) {
            let rest = SeriesName { route: "other".to_owned(), ..SeriesName::default() };
            *streams.entry((rest, name.1)).or_insert(0) += 1;
        } else {
            *streams.entry(name).or_insert(0) += 1;
        }
    }

    /// Hands lines of the access log over to be written.
    pub(crate) fn hand_over_log(&self) {
        if let Some(log) = &self.log {
            log.hand_over_all();
        }
    }

    pub(crate) fn handshake_failed(&self, bind: &Arc<str>) {
        self.count(Event::HandshakeFailed, bind);
    }

    pub(crate) fn proxy_header_failed(&self, bind: &Arc<str>) {
        self.count(Event::ProxyHeaderFailed, bind);
    }

    pub(crate) fn accept_failed(&self, bind: &Arc<str>) {
        self.count(Event::AcceptFailed, bind);
    }

    pub(crate) fn connection_refused(&self, bind: &Arc<str>) {
        self.count(Event::ConnectionRefused, bind);
    }

    pub(crate) fn panicked(&self, bind: &Arc<str>) {
        self.count(Event::Panic, bind);
    }

    fn count(&self, event: Event, label: &Arc<str>) {
        *lock(&self.events).entry((event, Arc::clone(label))).or_insert(0) += 1;
    }

    fn known(&self, matched: Option<&OwnedMatch>) -> Arc<Known> {
        let mut rules = lock(&self.rules);
        let place = matched.map_or((0, 0, 0), |matched| {
            let backend =
                matched.backend.as_ref().map_or(0, |backend| Arc::as_ptr(backend) as usize);
            (Arc::as_ptr(&matched.rule) as usize, Arc::as_ptr(&matched.listener) as usize, backend)
        });
        if let Some(known) = rules.known.get(&place) {
            return Arc::clone(known);
        }
        let series = rules.named(matched.map(SeriesName::of).unwrap_or_default());
        let description = matched.map(access_log::describe).unwrap_or_default();
        let known = Arc::new(Known { _matched: matched.cloned(), series, description });
        rules.known.insert(place, Arc::clone(&known));
        known
    }
}

impl Rules {
    fn named(&mut self, name: SeriesName) -> Arc<Series> {
        if self.by_name.len() >= MOST_SERIES && !self.by_name.contains_key(&name) {
            let rest = SeriesName { route: "other".to_owned(), ..SeriesName::default() };
            return Arc::clone(self.by_name.entry(rest).or_default());
        }
        Arc::clone(self.by_name.entry(name).or_default())
    }
}
