//! Connections and datagrams to backends, below HTTP.
//!
//! In: the backend of a connection or a session. Out: an endpoint of it that takes part in the
//! choice of later ones while it is in use. Not here: what is sent.

use std::{net::SocketAddr, sync::Arc};

use gateway_core::backend::Backend;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    Upstream, UpstreamError,
    connect::{self, Opened},
    endpoint::{EndpointState, Lease, Open},
    pool::Reachable,
};

/// Whether a connection follows the BackendTLSPolicy of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackendTlsUse {
    /// Over TLS if there is a policy.
    AsPolicy,
    /// Never: the bytes are the client's own TLS.
    Passthrough,
}

/// An endpoint in use. Dropping it ends the use.
#[derive(Debug)]
pub(crate) struct Leased {
    reach: Arc<Reachable>,
    endpoint: Arc<EndpointState>,
    _lease: Lease,
    _open: Option<Open>,
}

impl Leased {
    fn new(reach: Arc<Reachable>, endpoint: Arc<EndpointState>, open: Option<Open>) -> Self {
        let lease = Lease::new(&endpoint);
        Self { reach, endpoint, _lease: lease, _open: open }
    }

    /// Where the endpoint is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.address
    }

    /// Whether the backend still has the endpoint.
    pub(crate) fn is_current(&self) -> bool {
        let address = self.address();
        self.reach.cluster.endpoints().iter().any(|endpoint| endpoint.address == address)
    }

    /// The endpoint did not take what was sent.
    pub(crate) fn failed(&self) {
        self.endpoint.failed(Instant::now());
    }

    /// The endpoint answered.
    pub(crate) fn succeeded(&self) {
        self.endpoint.succeeded();
    }
}

impl Upstream {
    /// Opens a connection to an endpoint of `backend`. Others are tried while none could be reached.
    ///
    /// # Errors
    /// If no endpoint could be reached, or the backend has too many connections.
    pub(crate) async fn connect(
        &self,
        backend: &Backend,
        tls: BackendTlsUse,
    ) -> Result<(Opened, Leased), UpstreamError> {
        let reach = self.pool.reach(backend);
        let limits = &self.pool.limits;
        let mut tried = SmallVec::<[SocketAddr; 4]>::new();
        let mut failure = UpstreamError::NoEndpoint;
        while tried.len() < limits.tries {
            let endpoint = reach.pick(None, &tried, &self.pool).await?;
            if tried.contains(&endpoint.address) {
                break;
            }
            tried.push(endpoint.address);
            reach.touch(Instant::now());
            let open = Open::try_new(&reach.cluster.open, limits.connections)
                .ok_or(UpstreamError::TooManyConnections)?;
            let security = match tls {
                BackendTlsUse::AsPolicy => reach.tls()?,
                BackendTlsUse::Passthrough => None,
            };
            let leased = Leased::new(Arc::clone(&reach), endpoint, Some(open));
            match connect::open(leased.address(), security, limits.connect).await {
                Ok(opened) => {
                    leased.succeeded();
                    return Ok((opened, leased));
                }
                Err(error) => {
                    leased.failed();
                    failure = error;
                }
            }
            // A backend that cannot prove who it is gets no second chance.
            if matches!(failure, UpstreamError::Tls(_)) {
                break;
            }
        }
        Err(failure)
    }

    /// An endpoint of `backend` for datagrams.
    ///
    /// # Errors
    /// If the backend has none.
    pub(crate) async fn lease(&self, backend: &Backend) -> Result<Leased, UpstreamError> {
        let reach = self.pool.reach(backend);
        let endpoint = reach.pick(None, &[], &self.pool).await?;
        reach.touch(Instant::now());
        Ok(Leased::new(reach, endpoint, None))
    }
}
