//! What streams have moved, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::relay::Relayed;

/// Counters of one worker, so that workers do not fight over them.
#[derive(Debug, Default)]
pub struct Traffic {
    pub(super) to_backend: AtomicU64,
    pub(super) to_client: AtomicU64,
    pub(super) datagrams_to_backend: AtomicU64,
    pub(super) datagrams_to_client: AtomicU64,
    pub(super) datagrams_dropped: AtomicU64,
    pub(super) sessions: AtomicU64,
    pub(super) sessions_evicted: AtomicU64,
}

/// The counters at one moment; all only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of connections and datagrams to backends.
    pub to_backend: u64,
    /// Bytes of connections and datagrams to clients.
    pub to_client: u64,
    /// Datagrams to backends.
    pub datagrams_to_backend: u64,
    /// Datagrams to clients.
    pub datagrams_to_client: u64,
    /// Datagrams of clients that went nowhere: no route, no backend, no room.
    pub datagrams_dropped: u64,
    /// UDP sessions that were begun.
    pub sessions: u64,
    /// UDP sessions that had to make room for others.
    pub sessions_evicted: u64,
}

impl Totals {
    /// The sum of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            to_backend: self.to_backend + other.to_backend,
            to_client: self.to_client + other.to_client,
            datagrams_to_backend: self.datagrams_to_backend + other.datagrams_to_backend,
            datagrams_to_client: self.datagrams_to_client + other.datagrams_to_client,
            datagrams_dropped: self.datagrams_dropped + other.datagrams_dropped,
            sessions: self.sessions + other.sessions,
            sessions_evicted: self.sessions_evicted + other.sessions_evicted,
        }
    }
}

impl Traffic {
    /// Reads all counters.
    #[must_use]
    pub fn totals(&self) -> Totals {
        Totals {
            to_backend: self.to_backend.load(Relaxed),
            to_client: self.to_client.load(Relaxed),
            datagrams_to_backend: self.datagrams_to_backend.load(Relaxed),
            datagrams_to_client: self.datagrams_to_client.load(Relaxed),
            datagrams_dropped: self.datagrams_dropped.load(Relaxed),
            sessions: self.sessions.load(Relaxed),
            sessions_evicted: self.sessions_evicted.load(Relaxed),
        }
    }

    /// Counts what a connection has moved since `before`.
    pub(super) fn moved(&self, before: Relayed, now: Relayed) {
        if now.to_backend != before.to_backend {
            self.to_backend.fetch_add(now.to_backend - before.to_backend, Relaxed);
        }
        if now.to_client != before.to_client {
            self.to_client.fetch_add(now.to_client - before.to_client, Relaxed);
        }
    }

    pub(super) fn datagram_to_backend(&self, bytes: usize) {
        self.to_backend.fetch_add(bytes as u64, Relaxed);
        self.datagrams_to_backend.fetch_add(1, Relaxed);
    }

    pub(super) fn datagram_to_client(&self, bytes: usize) {
        self.to_client.fetch_add(bytes as u64, Relaxed);
        self.datagrams_to_client.fetch_add(1, Relaxed);
    }

    pub(super) fn datagram_dropped(&self) {
        self.datagrams_dropped.fetch_add(1, Relaxed);
    }
}
