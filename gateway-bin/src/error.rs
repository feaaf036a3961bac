//! Why the program cannot run.

use std::io;

/// Any error, as bodies carry it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why the gateway cannot start or go on. Mistakes in resources are never errors; they are
/// statuses and diagnostics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A worker or the control thread has no runtime.
    #[error("cannot start a runtime")]
    Runtime(#[source] io::Error),
    /// The admin endpoints have no socket.
    #[error("cannot listen on {address} for the admin endpoints")]
    Admin {
        /// Where they should listen.
        address: std::net::SocketAddr,
        /// Why they cannot.
        source: io::Error,
    },
    /// The access log cannot be written.
    #[error("cannot open the access log")]
    AccessLog(#[source] io::Error),
    /// The cluster cannot be used.
    #[cfg(feature = "kubernetes")]
    #[error("cannot serve the Gateways of a cluster")]
    Kubernetes(#[source] gateway_kube::Error),
}
