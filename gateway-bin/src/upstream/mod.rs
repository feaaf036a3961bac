//! Requests to backends: which endpoint, over which connection.
//!
//! In: a request that is fit to be forwarded and the backend that was chosen for it. Out: the
//! backend's answer, streamed, or an [`UpstreamError`]. Not here: filters, retries of a route and
//! time limits of a route (gateway-tower), and the client's side of the connection (`listen`).

mod body;
mod cluster;
mod connect;
mod endpoint;
mod error;
mod external;
mod pool;
mod stream;
pub(crate) mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use gateway_core::backend::{Backend, BackendProtocol};
use gateway_tower::SessionHint;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri};
use hyper::client::conn::TrySendError;
use rustls::crypto::CryptoProvider;
use smallvec::SmallVec;
use tokio::time::Instant;

pub use body::{AnswerBody, UpstreamBody};
pub use error::UpstreamError;
pub use pool::SharedEndpoints;
pub(crate) use {
    connect::{HYPER_HEADERS, Opened},
    endpoint::{Open, lock},
    stream::{BackendTlsUse, Leased},
};

use endpoint::{Connection, EndpointState, Lease, Taken};
use pool::{Pool, Reachable};

/// Limits of connections to backends.
#[derive(Clone, Debug)]
pub struct UpstreamLimits {
    /// How long a connection may take to open, TLS included.
    pub connect: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// Unused HTTP/1.1 connections kept for an endpoint by each worker.
    pub idle_per_endpoint: usize,
    /// Connections of one backend over all workers; requests beyond are answered with 503.
    pub connections: usize,
    /// Streams of one HTTP/2 connection before another is opened.
    pub streams: usize,
    /// Bytes of the head of an answer.
    pub answer_head_bytes: usize,
    /// Header fields of an answer.
    pub answer_headers: usize,
    /// Endpoints that are tried for one request while none has seen it.
    pub tries: usize,
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            idle_per_endpoint: 64,
            connections: 1024,
            streams: 100,
            answer_head_bytes: 64 * 1024,
            answer_headers: 100,
            tries: 3,
        }
    }
}

/// Idle connections older than this may have been closed by the backend just now, so that a
/// request over them is kept for a second try.
const FRESH: Duration = Duration::from_millis(500);

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The backend.
    pub backend: &'a Backend,
    /// The endpoint that the client's session is bound to.
    pub session: Option<&'a SessionHint>,
    /// Endpoints that failed for this request.
    pub avoid: &'a [SocketAddr],
}

/// Sends requests to backends, for one worker.
#[derive(Clone, Debug)]
pub struct Upstream {
    pool: Arc<Pool>,
}

impl Upstream {
    /// A pool of connections for one worker.
    #[must_use]
    pub fn new(
        shared: Arc<SharedEndpoints>,
        limits: UpstreamLimits,
        provider: Arc<CryptoProvider>,
    ) -> Self {
        Self { pool: Arc::new(Pool::new(shared, limits, provider)) }
    }

    /// Closes connections that were idle for too long. Call it every few seconds.
    pub fn sweep(&self) {
        self.pool.sweep();
    }

    /// Sends `request` to an endpoint of the target's backend. The endpoint is told beside the answer.
    ///
    /// Another endpoint is tried as long as no byte was sent. A request without body that may be
    /// repeated is sent once more if a pooled connection turns out to be closed. Dropping the
    /// future gives up the request and closes its connection.
    ///
    /// # Errors
    /// If no endpoint answers; see [`UpstreamError`].
    pub async fn send_to(
        &self,
        target: &Target<'_>,
        mut request: Request<UpstreamBody>,
    ) -> Result<(Response<AnswerBody>, SocketAddr), UpstreamError> {
        let protocol = target.backend.protocol;
        let reach = self.pool.reach(target.backend);
        aim(&mut request, protocol, reach.tls.is_some())?;
        let mut tried = SmallVec::<[SocketAddr; 4]>::from_slice(target.avoid);
        let most = target.avoid.len() + self.pool.limits.tries;
        loop {
            let endpoint = reach.pick(target.session, &tried, &self.pool).await?;
            tried.push(endpoint.address);
            let attempt = Attempt { pool: &self.pool, reach: &reach, endpoint: &endpoint };
            let failure = match attempt.send(protocol, request).await {
                Ok(answer) => {
                    endpoint.succeeded();
                    return Ok((answer, endpoint.address));
                }
                Err(failure) => failure,
            };
            if failure.endpoint_failed() {
                endpoint.failed(Instant::now());
            }
            match failure.unsent {
                Some(again) if tried.len() < most => request = *again,
                _ => return Err(failure.error),
            }
        }
    }
}

/// One try at one endpoint.
struct Attempt<'a> {
    pool: &'a Pool,
    reach: &'a Arc<Reachable>,
    endpoint: &'a Arc<EndpointState>,
}

/// A failed try, with the request if it may be sent again.
struct Failure {
    error: UpstreamError,
    unsent: Option<Box<Request<UpstreamBody>>>,
}

impl Failure {
    fn before_sending(error: UpstreamError, request: Request<UpstreamBody>) -> Self {
        let again = matches!(error, UpstreamError::Connect(..) | UpstreamError::ConnectTimeout(_));
        Self { error, unsent: again.then(|| Box::new(request)) }
    }

    /// Whether the endpoint is to blame, rather than the client or our own limits.
    fn endpoint_failed(&self) -> bool {
        matches!(
            self.error,
            UpstreamError::Connect(..)
                | UpstreamError::ConnectTimeout(_)
                | UpstreamError::Tls(_)
                | UpstreamError::Broken(..)
        ) && !(matches!(self.error, UpstreamError::Broken(..)) && self.unsent.is_some())
    }
}

impl Attempt<'_> {
    async fn send(
        &self,
        protocol: BackendProtocol,
        request: Request<UpstreamBody>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let lease = Lease::new(self.endpoint);
        match protocol {
            BackendProtocol::Http2 => self.send_http2(lease, request).await,
            _ => self.send_http1(lease, request).await,
        }
    }

    async fn send_http1(
        &self,
        lease: Lease,
        request: Request<UpstreamBody>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let taken = match self.take().await {
            Ok(taken) => taken,
            Err(error) => return Err(Failure::before_sending(error, request)),
        };
        let Taken { mut sender, open, idle_for } = taken;
        // A copy costs as much as a match; connections in steady use never need it.
        let copy = idle_for.filter(|idle| *idle >= FRESH).and_then(|_| repeatable(&request));
        match sender.try_send_request(request).await {
            Ok(answer) => {
                let lease = lease.hold(Connection::Http1 { sender, open });
                Ok(with_lease(answer, lease))
            }
            Err(error) => Err(self.failure(error, copy)),
        }
    }

    async fn send_http2(
        &self,
        lease: Lease,
        request: Request<UpstreamBody>,
    ) -> Result<Response<AnswerBody>, Failure> {
        let (mut sender, stream) = match self.share().await {
            Ok(shared) => shared,
            Err(error) => return Err(Failure::before_sending(error, request)),
        };
        match sender.try_send_request(request).await {
            Ok(answer) => {
                let lease = lease.hold(Connection::Http2 { _stream: stream });
                Ok(with_lease(answer, lease))
            }
            Err(error) => Err(self.failure(error, None)),
        }
    }

    async fn take(&self) -> Result<Taken, UpstreamError> {
        let now = Instant::now();
        self.reach.touch(now);
        if let Some(taken) = self.endpoint.take_idle(now, self.pool.limits.idle) {
            return Ok(taken);
        }
        let open = self.count_connection()?;
        let tls = self.reach.tls()?;
        let sender = connect::http1(self.endpoint.address, tls, &self.pool.limits).await?;
        Ok(Taken { sender, open, idle_for: None })
    }

    async fn share(&self) -> Result<(endpoint::Http2, endpoint::Stream), UpstreamError> {
        self.reach.touch(Instant::now());
        let streams = self.pool.limits.streams;
        if let Some(shared) = self.endpoint.share(streams) {
            return Ok(shared);
        }
        let _opening = self.endpoint.opening.lock().await;
        if let Some(shared) = self.endpoint.share(streams) {
            return Ok(shared);
        }
        let open = self.count_connection()?;
        let tls = self.reach.tls()?;
        let opened = connect::http2(self.endpoint.address, tls, &self.pool.limits).await;
        let (sender, room) = opened?;
        let stream = self.endpoint.add_multiplexed(&sender, room, open);
        Ok((sender, stream))
    }

    fn count_connection(&self) -> Result<Open, UpstreamError> {
        Open::try_new(&self.reach.cluster.open, self.pool.limits.connections)
            .ok_or(UpstreamError::TooManyConnections)
    }

    /// What became of a request whose connection failed. hyper hands it back if it never left; else
    /// a copy is used, if there is one.
    fn failure(
        &self,
        mut error: TrySendError<Request<UpstreamBody>>,
        copy: Option<Box<Request<UpstreamBody>>>,
    ) -> Failure {
        let unsent = error.take_message().map(Box::new);
        let error = error.into_error();
        if error.is_user() || error.is_body_write_aborted() {
            return Failure { error: UpstreamError::RequestBody(error), unsent: None };
        }
        let closed = error.is_incomplete_message() || error.is_canceled() || error.is_closed();
        let unsent = unsent.or_else(|| copy.filter(|_| closed));
        Failure { error: UpstreamError::Broken(self.endpoint.address, error), unsent }
    }
}

fn with_lease(answer: Response<hyper::body::Incoming>, lease: Lease) -> Response<AnswerBody> {
    let is_tunnel = answer.status() == StatusCode::SWITCHING_PROTOCOLS;
    answer.map(|body| AnswerBody::new(body, lease, is_tunnel))
}

/// A copy of a request that does no harm if it is carried out twice (RFC 9110 section 9.2.2).
fn repeatable(request: &Request<UpstreamBody>) -> Option<Box<Request<UpstreamBody>>> {
    if !request.method().is_idempotent() || !request.body().is_empty() {
        return None;
    }
    let mut copy = Request::new(UpstreamBody::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(Box::new(copy))
}

/// Gives the request target the form that the protocol wants: origin form and `Host` for HTTP/1.1,
/// all pseudo-header fields and no `Host` for HTTP/2.
fn aim(
    request: &mut Request<UpstreamBody>,
    protocol: BackendProtocol,
    tls: bool,
) -> Result<(), UpstreamError> {
    if protocol == BackendProtocol::Http2 {
        *request.version_mut() = Version::HTTP_2;
        let target = http2_target(request, tls).ok_or(UpstreamError::Answer("no target"))?;
        *request.uri_mut() = target;
        request.headers_mut().remove(header::HOST);
        return Ok(());
    }
    *request.version_mut() = Version::HTTP_11;
    if request.headers().contains_key(header::TE) {
        let named = HeaderValue::from_static("te");
        request.headers_mut().append(header::CONNECTION, named);
    }
    if let Some(authority) = request.uri().authority() {
        let host = HeaderValue::from_str(authority.as_str());
        let host = host.map_err(|_| UpstreamError::Answer("no host"))?;
        request.headers_mut().insert(header::HOST, host);
        let mut parts = uri::Parts::default();
        parts.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() =
            Uri::from_parts(parts).map_err(|_| UpstreamError::Answer("no target"))?;
    }
    Ok(())
}

fn http2_target(request: &Request<UpstreamBody>, tls: bool) -> Option<Uri> {
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(if tls { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
    if parts.authority.is_none() {
        let host = request.headers().get(header::HOST)?;
        parts.authority = Some(uri::Authority::try_from(host.as_bytes()).ok()?);
    }
    parts.path_and_query.get_or_insert_with(|| uri::PathAndQuery::from_static("/"));
    Uri::from_parts(parts).ok()
}
