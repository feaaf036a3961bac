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
    /// The port for probes has no socket.
    #[error("cannot listen on {address} for probes")]
    Probes {
        /// Where they should be answered.
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
    /// There is no authority that could vouch for us to data planes.
    #[cfg(feature = "kubernetes")]
    #[error("cannot hand out configurations")]
    Authority(#[source] gateway_kube::config_stream::AuthorityError),
    /// Configurations cannot be handed out.
    #[cfg(feature = "kubernetes")]
    #[error("cannot listen on {address} for data planes")]
    Configurations {
        /// Where they should be handed out.
        address: std::net::SocketAddr,
        /// Why they cannot.
        source: io::Error,
    },
}
