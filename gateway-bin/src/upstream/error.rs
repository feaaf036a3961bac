//! Why a backend gave no answer.

use std::{error, fmt, io, net::SocketAddr};

/// What went wrong between a chosen backend and the head of its answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The backend has no endpoint that could be asked: 503.
    NoEndpoint,
    /// The backend has as many connections as it may have: 503.
    TooManyConnections,
    /// No name or address of the backend could be looked up: 503.
    Lookup(io::Error),
    /// An endpoint refused the connection or could not be reached: 502.
    Connect(SocketAddr, io::Error),
    /// An endpoint did not take the connection in time: 504.
    ConnectTimeout(SocketAddr),
    /// TLS with the backend cannot be set up as its policy asks: 502.
    Tls(Box<str>),
    /// The connection broke before an answer came, or the answer was no HTTP: 502.
    Broken(hyper::Error),
    /// The answer breaks a rule that would make its end doubtful: 502.
    Answer(&'static str),
    /// The request's body broke off on the way from the client; the client hears 400 or nothing.
    RequestBody(hyper::Error),
}

impl UpstreamError {
    /// The status of the answer that the client gets instead (semantics of the Gateway API: 503
    /// without endpoints, 502 on failure, 504 on time-out).
    #[must_use]
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::NoEndpoint | Self::TooManyConnections | Self::Lookup(_) => {
                http::StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectTimeout(_) => http::StatusCode::GATEWAY_TIMEOUT,
            Self::RequestBody(_) => http::StatusCode::BAD_REQUEST,
            _ => http::StatusCode::BAD_GATEWAY,
        }
    }

    /// The cause as logs and metrics name it.
    #[must_use]
    pub const fn cause(&self) -> &'static str {
        match self {
            Self::NoEndpoint => "no-endpoint",
            Self::TooManyConnections => "upstream-overload",
            Self::Lookup(_) => "upstream-lookup",
            Self::Connect(..) => "upstream-connect",
            Self::ConnectTimeout(_) => "upstream-connect-timeout",
            Self::Tls(_) => "upstream-tls",
            Self::Broken(_) => "upstream-broken",
            Self::Answer(_) => "upstream-answer",
            Self::RequestBody(_) => "request-body",
        }
    }

    /// Whether no byte of the request can have reached an endpoint.
    #[must_use]
    pub const fn before_sending(&self) -> bool {
        matches!(
            self,
            Self::NoEndpoint
                | Self::TooManyConnections
                | Self::Lookup(_)
                | Self::Connect(..)
                | Self::ConnectTimeout(_)
                | Self::Tls(_)
        )
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("the backend has no ready endpoint"),
            Self::TooManyConnections => f.write_str("the backend has too many connections"),
            Self::Lookup(error) => write!(f, "cannot look up the backend: {error}"),
            Self::Connect(address, error) => write!(f, "cannot connect to {address}: {error}"),
            Self::ConnectTimeout(address) => write!(f, "{address} did not connect in time"),
            Self::Tls(reason) => write!(f, "TLS with the backend: {reason}"),
            Self::Broken(error) => write!(f, "the backend broke off: {error}"),
            Self::Answer(reason) => write!(f, "the backend answered badly: {reason}"),
            Self::RequestBody(error) => write!(f, "the request's body broke off: {error}"),
        }
    }
}

impl error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Lookup(error) | Self::Connect(_, error) => Some(error),
            Self::Broken(error) | Self::RequestBody(error) => Some(error),
            _ => None,
        }
    }
}
