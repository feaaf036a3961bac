//! A worker: a thread with a runtime, sockets and connections to backends of its own.
//!
//! In: sockets to serve. Out: served requests. Connections never move between workers, so nothing
//! on the path of a request waits for another thread.

use std::{
    io,
    sync::{Arc, atomic::AtomicUsize},
    thread::{self, JoinHandle},
    time::Duration,
};

use gateway_tower::{RouteService, TableHandle};
use tokio::{
    runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{MissedTickBehavior, interval},
};

use crate::{
    guard::Limits,
    listen::{self, Serve, Server},
    proxy::Proxy,
    stream::{Streams, proxy_protocol::TrustedSources},
    telemetry::WorkerTelemetry,
    upstream::Upstream,
};

/// How often lines of the access log are handed over.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Idle connections are looked for every so many log intervals.
const SWEEP_EVERY: u32 = 5;

/// What a worker is made of.
pub(crate) struct Parts {
    /// Which of the workers it is, from 0.
    pub(crate) number: usize,
    pub(crate) routes: RouteService<Upstream>,
    pub(crate) streams: Streams,
    pub(crate) table: TableHandle,
    pub(crate) limits: Limits,
    pub(crate) telemetry: Arc<WorkerTelemetry>,
    /// Whose connections begin with a PROXY header.
    pub(crate) proxies: TrustedSources,
    /// Connections of clients, over all workers.
    pub(crate) connections: Arc<AtomicUsize>,
}

/// A running worker. It ends, with all its connections, when this is dropped and joined.
#[derive(Debug)]
pub(crate) struct Worker {
    sockets: Option<UnboundedSender<Serve>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// If there is no thread or runtime to be had.
    pub(crate) fn start(name: String, parts: Parts) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (sockets, receiver) = unbounded_channel();
        let thread = thread::Builder::new()
            .name(name)
            .spawn(move || runtime.block_on(work(receiver, parts)))?;
        Ok(Self { sockets: Some(sockets), thread: Some(thread) })
    }

    /// Gives the worker a socket more.
    pub(crate) fn serve(&self, socket: Serve) {
        if let Some(sockets) = &self.sockets {
            // A worker that has ended serves nothing; that it did is found when it is joined.
            let _ = sockets.send(socket);
        }
    }

    /// Ends the worker. Connections that are still open break.
    pub(crate) fn stop(&mut self) {
        self.sockets = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and there is nothing left to save.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn work(mut sockets: UnboundedReceiver<Serve>, parts: Parts) {
    let Parts { number, routes, streams, table, limits, telemetry, proxies, connections } = parts;
    let proxy = Arc::new(Proxy::new(routes, limits, Arc::clone(&telemetry), number));
    let server = Arc::new(Server { proxy, streams, table, connections, proxies });
    let mut tick = interval(LOG_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        tokio::select! {
            serve = sockets.recv() => match serve {
                Some(serve) => begin(serve, &server),
                None => break,
            },
            _ = tick.tick() => {
                telemetry.hand_over_log();
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(SWEEP_EVERY) {
                    server.proxy.sweep();
                }
            }
        }
    }
    telemetry.hand_over_log();
}

fn begin(serve: Serve, server: &Arc<Server>) {
    let label = Arc::clone(&serve.bind.label);
    if listen::begin(serve, server).is_err() {
        server.proxy.telemetry().accept_failed(&label);
    }
}
