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
    Broken(SocketAddr, hyper::Error),
    /// The answer breaks a rule that would make its end doubtful: 502.
    Answer(&'static str),
    /// The request's body broke off on the way from the client; the client hears 400 or nothing.
    RequestBody(hyper::Error),
}

impl UpstreamError {
    /// The endpoint that failed.
    #[must_use]
    pub const fn endpoint(&self) -> Option<SocketAddr> {
        match self {
            Self::Connect(address, _)
            | Self::ConnectTimeout(address)
            | Self::Broken(address, _) => Some(*address),
            _ => None,
        }
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
            Self::Broken(address, error) => match error::Error::source(error) {
                Some(source) => write!(f, "{address} broke off: {error}: {source}"),
                None => write!(f, "{address} broke off: {error}"),
            },
            Self::Answer(reason) => write!(f, "the backend answered badly: {reason}"),
            Self::RequestBody(error) => write!(f, "the request's body broke off: {error}"),
        }
    }
}

impl error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Lookup(error) | Self::Connect(_, error) => Some(error),
            Self::Broken(_, error) | Self::RequestBody(error) => Some(error),
            _ => None,
        }
    }
}
