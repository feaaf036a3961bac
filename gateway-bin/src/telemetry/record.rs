//! What is known of a request when it has ended: one line of the access log, one count in the
//! metrics.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use gateway_tower::OwnedMatch;
use http::{HeaderValue, Method, StatusCode, Version, uri::PathAndQuery};
use tokio::time::Instant;

/// A request from its first byte to the end of its answer.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) begun: Instant,
    pub(crate) method: Method,
    pub(crate) target: Option<PathAndQuery>,
    pub(crate) host: Option<HeaderValue>,
    pub(crate) version: Version,
    pub(crate) peer: HeaderValue,
    /// The socket that it came in by.
    pub(crate) bind: Arc<str>,
    pub(crate) matched: Option<OwnedMatch>,
    pub(crate) status: StatusCode,
    /// Why the gateway answered itself.
    pub(crate) cause: Option<&'static str>,
    /// The details of `cause`.
    pub(crate) detail: Option<Box<str>>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) tries: u32,
    /// From the request's head to the head of the backend's answer.
    pub(crate) upstream_time: Option<Duration>,
    /// Bytes of the answer's body that went out.
    pub(crate) bytes: u64,
    /// The answer went out as a whole.
    pub(crate) complete: bool,
}
