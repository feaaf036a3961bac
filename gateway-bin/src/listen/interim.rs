//! Answers before the answer: `103 Early Hints` and others of class 1xx.
//!
//! hyper's server cannot write them, so they are handed to the connection's bytes, which puts them
//! between two messages.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, StatusCode, header};

use crate::upstream::lock;

/// Interim answers of one request before the backend is taken for hostile.
const MOST: u32 = 32;

/// Interim answers that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Interim {
    waiting: AtomicBool,
    bytes: Mutex<Vec<u8>>,
    count: AtomicU32,
    /// Wakes the request, and with it the connection.
    pub(crate) waker: AtomicWaker,
}

impl Interim {
    /// A new request begins.
    pub(crate) fn reset(&self) {
        self.count.store(0, Relaxed);
        self.discard();
    }

    /// Counts an interim answer; false if there were too many.
    pub(crate) fn count(&self) -> bool {
        self.count.fetch_add(1, Relaxed) < MOST
    }

    /// Whether the backend sent too many.
    pub(crate) fn is_flood(&self) -> bool {
        self.count.load(Relaxed) > MOST
    }

    /// Has an interim answer written before the answer.
    pub(crate) fn put(&self, status: StatusCode, headers: &HeaderMap) {
        let mut bytes = lock(&self.bytes);
        bytes.extend_from_slice(b"HTTP/1.1 ");
        bytes.extend_from_slice(status.as_str().as_bytes());
        bytes.push(b' ');
        bytes.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
        bytes.extend_from_slice(b"\r\n");
        let passed = |name: &header::HeaderName| {
            *name != header::CONNECTION
                && *name != header::TRANSFER_ENCODING
                && *name != header::CONTENT_LENGTH
                && *name != header::UPGRADE
        };
        for (name, value) in headers.iter().filter(|(name, _)| passed(name)) {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        self.waiting.store(true, Relaxed);
    }

    /// The answer comes now; what was not written is too late.
    pub(crate) fn discard(&self) {
        if self.waiting.swap(false, Relaxed) {
            lock(&self.bytes).clear();
        }
    }

    /// What waits to be written.
    pub(super) fn take(&self) -> Option<Bytes> {
        if !self.waiting.load(Relaxed) || !self.waiting.swap(false, Relaxed) {
            return None;
        }
        Some(Bytes::from(std::mem::take(&mut *lock(&self.bytes))))
    }
}
