//! How a connection ended, for logs and metrics.

use std::{net::SocketAddr, sync::Arc};

use gateway_core::backend::Backend;
use gateway_tower::OwnedMatch;

use super::relay::{Outcome, Relayed};
use crate::upstream::UpstreamError;

/// The end of a connection.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// The listener, route and rule; none if it did not come to that.
    pub matched: Option<OwnedMatch>,
    /// The server name of a TLS client.
    pub sni: Option<Box<str>>,
    /// The backend whose turn it was; none if it did not come to that.
    pub backend: Option<Arc<Backend>>,
    /// The endpoint that was connected to.
    pub endpoint: Option<SocketAddr>,
    /// Bytes that got through. A PROXY header to the backend counts as the client's.
    pub relayed: Relayed,
}

impl Ended {
    pub(super) fn refused(cause: Cause) -> Self {
        let (matched, sni, backend, endpoint) = (None, None, None, None);
        Self { cause, matched, sni, backend, endpoint, relayed: Relayed::default() }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Both sides had said all.
    Finished,
    /// The client's connection broke.
    ClientBroke,
    /// The backend's connection broke.
    BackendBroke,
    /// Nothing was said for too long.
    Idle,
    /// A UDP session made room for another.
    Evicted,
    /// The gateway ended it, because its listener is closed or the program ends.
    Closed,
    /// No listener serves the server name.
    NoListener,
    /// No route serves the connection.
    NoRoute,
    /// The rule has no backend with a weight.
    NoBackend,
    /// The backend whose turn it was cannot be used.
    InvalidBackend,
    /// The client did not begin with a proper ClientHello in time.
    BadHello,
    /// The listener has no usable certificate, or the handshake failed.
    Handshake,
    /// The backend has no endpoint that is ready, or its name could not be looked up.
    NoEndpoint,
    /// The backend has too many connections.
    Overload,
    /// No endpoint of the backend took the connection.
    UpstreamConnect,
    /// No endpoint of the backend took the connection in time.
    UpstreamTimeout,
    /// TLS with the backend could not be set up as its policy asks.
    UpstreamTls,
}

impl Cause {
    /// The cause as a label in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::ClientBroke => "client-broke",
            Self::BackendBroke => "backend-broke",
            Self::Idle => "idle",
            Self::Evicted => "evicted",
            Self::Closed => "closed",
            Self::NoListener => "no-listener",
            Self::NoRoute => "no-route",
            Self::NoBackend => "no-backend",
            Self::InvalidBackend => "invalid-backend",
            Self::BadHello => "bad-hello",
            Self::Handshake => "handshake",
            Self::NoEndpoint => "no-endpoint",
            Self::Overload => "overload",
            Self::UpstreamConnect => "upstream-connect",
            Self::UpstreamTimeout => "upstream-timeout",
            Self::UpstreamTls => "upstream-tls",
        }
    }
}

impl From<Outcome> for Cause {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Finished => Self::Finished,
            Outcome::ClientBroke => Self::ClientBroke,
            Outcome::BackendBroke => Self::BackendBroke,
            Outcome::Idle => Self::Idle,
        }
    }
}

impl From<&UpstreamError> for Cause {
    fn from(error: &UpstreamError) -> Self {
        match error {
            UpstreamError::NoEndpoint | UpstreamError::Lookup(_) => Self::NoEndpoint,
            UpstreamError::TooManyConnections => Self::Overload,
            UpstreamError::ConnectTimeout(_) => Self::UpstreamTimeout,
            UpstreamError::Tls(_) => Self::UpstreamTls,
            _ => Self::UpstreamConnect,
        }
    }
}
