//! Limits of what clients may send and hold.

use std::time::Duration;

/// Limits of what clients may send, with safe defaults.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request target; beyond: 414.
    pub target_bytes: usize,
    /// Bytes of all header fields together; beyond: 431.
    pub head_bytes: usize,
    /// Header fields; beyond: 431.
    pub headers: usize,
    /// From the first byte of a request head to its last; beyond: 408.
    pub head_time: Duration,
    /// TLS handshakes.
    pub handshake_time: Duration,
    /// A connection without requests.
    pub idle_time: Duration,
    /// A connection that changed its protocol, without bytes either way.
    pub tunnel_idle: Duration,
    /// Bytes a second that an HTTP/1.1 request body must make after `body_grace`; beyond: 408.
    pub body_rate: u64,
    /// Before `body_rate` counts.
    pub body_grace: Duration,
    /// A client that reads nothing while an answer waits.
    pub write_stall: Duration,
    /// Connections of all sockets together.
    pub connections: usize,
    /// Connections of one socket.
    pub connections_per_bind: usize,
    /// Requests of all connections that are answered at a time, and with them what is kept of their
    /// bodies for retries and mirrors; beyond: 503. Each worker has its part, and of it one
    /// listener as much as is left for all.
    pub requests: usize,
    /// Streams of an HTTP/2 connection at a time.
    pub streams: u32,
    /// Proxies before this one whose `X-Forwarded-*` fields are believed. With 0 those of the
    /// client are dropped.
    pub trusted_hops: usize,
    /// Whether backends are told who a client is by its verified certificate, in the field
    /// `X-Forwarded-Client-Cert`. What clients write there themselves is dropped always.
    pub client_certificates: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes: 8_000,
            head_bytes: 64 * 1024,
            headers: 100,
            head_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(3600),
            body_rate: 240,
            body_grace: Duration::from_secs(10),
            write_stall: Duration::from_secs(60),
            connections: 50_000,
            connections_per_bind: 10_000,
            requests: 100_000,
            streams: 100,
            trusted_hops: 0,
            client_certificates: false,
        }
    }
}
