//! What is known of a connection below HTTP, or of a UDP session, when it has ended.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use crate::stream::Ended;

/// What a stream speaks, as far as the gateway can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamProtocol {
    Tcp,
    Tls,
    Udp,
}

impl StreamProtocol {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
        }
    }
}

/// A stream from its first moment to its last.
#[derive(Debug)]
pub(crate) struct StreamRecord {
    pub(crate) begun: Instant,
    pub(crate) protocol: StreamProtocol,
    pub(crate) peer: SocketAddr,
    /// The socket that it came in by.
    pub(crate) bind: Arc<str>,
    pub(crate) ended: Ended,
}
