//! The data plane below HTTP: TCPRoute, TLSRoute and UDPRoute.
//!
//! In: accepted connections and bound UDP sockets, and the rule that the route table has for them.
//! Out: bytes that went both ways, and for connections that turn out to be HTTPS the connection with
//! what it has said so far. Not here: opening sockets, limits of connections, HTTP.

mod client;
pub mod client_hello;
mod ended;
pub mod proxy_protocol;
pub mod relay;
mod tcp;
mod tls;
mod traffic;
mod udp;

use std::{sync::Arc, time::Duration};

use crate::upstream::Upstream;

pub use client::Client;
pub use ended::{Cause, Ended};
pub use tcp::choose;
pub use tls::{HttpsClient, TlsConfigs, TlsOutcome};
pub use traffic::{Totals, Traffic};
pub use udp::{SessionEnd, UdpPort};

/// Limits and choices for streams, with safe defaults.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// A connection without bytes either way.
    pub idle: Duration,
    /// Bytes of a ClientHello.
    pub hello_bytes: usize,
    /// From the first moment of a TLS connection to the end of the ClientHello.
    pub hello_time: Duration,
    /// The rest of a TLS handshake.
    pub handshake_time: Duration,
    /// A UDP session without datagrams either way.
    pub session_idle: Duration,
    /// UDP sessions of one listener, over all workers.
    pub sessions: usize,
    /// UDP sessions of all listeners. One alone gets half of them at most.
    pub sessions_in_all: usize,
    /// How bytes get from one plain connection to another.
    pub way: relay::Way,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(3600),
            hello_bytes: 64 * 1024,
            hello_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            session_idle: Duration::from_secs(60),
            sessions: 10_000,
            sessions_in_all: 20_000,
            way: relay::Way::default(),
        }
    }
}

/// Serves streams, for one worker. A clone serves for the same worker.
#[derive(Clone, Debug)]
pub struct Streams {
    upstream: Upstream,
    options: Arc<StreamOptions>,
    traffic: Arc<Traffic>,
}

impl Streams {
    /// Streams to the backends of `upstream`.
    #[must_use]
    pub fn new(upstream: Upstream, options: StreamOptions) -> Self {
        Self { upstream, options: Arc::new(options), traffic: Arc::default() }
    }

    /// What this worker has moved, also over connections that are still open.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }
}
