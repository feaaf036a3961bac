//! What carries requests to backends: the seam between the dispatcher and connections.
//!
//! In: a request and the backend that was chosen for it. Out: the head of an answer with its body
//! still on its way, or why there is none. Not here: connections; a program brings its own.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use gateway_core::{backend::Backend, decide::Cause};
use http::{Request, Response};
use http_body::Body;

use crate::{BoxError, ProxyBody, SessionHint};

/// Sends requests to backends. Implemented by [`crate::LocalBackends`] for services of the same
/// process, and by a proxy for its pool of connections.
///
/// `B` is the body that the server reads from the client; what is sent is a [`ProxyBody`] of it.
pub trait Upstream<B>: Send + Sync + 'static {
    /// The body of answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;

    /// Sends `request` to an endpoint of a backend and waits for the head of the answer.
    ///
    /// Dropping the future must cancel the request. The request is as it goes out: filters have
    /// been applied, the extensions are those of the client's request. Fields that belong to one
    /// connection (RFC 9110 section 7.6.1) are still in it.
    fn send(
        &self,
        to: SelectedBackend,
        request: Request<ProxyBody<B>>,
    ) -> impl Future<Output = Result<UpstreamAnswer<Self::Body>, UpstreamError>> + Send;
}

/// An [`Upstream`] from a function, for tests and small programs.
///
/// ```
/// use gateway_tower::{ProxyBody, SelectedBackend, UpstreamAnswer, UpstreamError, upstream_fn};
/// use http::Request;
/// use http_body_util::Full;
/// # fn is_upstream(_: impl gateway_tower::Upstream<Full<bytes::Bytes>>) {}
///
/// let echo = upstream_fn(|to: SelectedBackend, request: Request<ProxyBody<_>>| async move {
///     let text = format!("{} {}", to.backend.key, request.uri());
///     let response = http::Response::new(Full::new(bytes::Bytes::from(text)));
///     Ok::<_, UpstreamError>(UpstreamAnswer { response, endpoint: None })
/// });
/// # is_upstream(echo);
/// ```
#[must_use]
pub const fn upstream_fn<F>(send: F) -> UpstreamFn<F> {
    UpstreamFn(send)
}

/// What [`upstream_fn`] makes.
#[derive(Clone, Copy)]
pub struct UpstreamFn<F>(F);

impl<B, F, Sent, R> Upstream<B> for UpstreamFn<F>
where
    F: Fn(SelectedBackend, Request<ProxyBody<B>>) -> Sent + Send + Sync + 'static,
    Sent: Future<Output = Result<UpstreamAnswer<R>, UpstreamError>> + Send,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = R;

    fn send(
        &self,
        to: SelectedBackend,
        request: Request<ProxyBody<B>>,
    ) -> impl Future<Output = Result<UpstreamAnswer<R>, UpstreamError>> + Send {
        (self.0)(to, request)
    }
}

impl<F> fmt::Debug for UpstreamFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamFn").finish_non_exhaustive()
    }
}

/// The backend of a try, with what the choice among its endpoints should respect.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SelectedBackend {
    /// The backend.
    pub backend: Arc<Backend>,
    /// The endpoint that the client's session is bound to, if it still exists.
    pub session: Option<SessionHint>,
    /// Endpoints that failed for this request; to be avoided if there is another, even if the
    /// session names them.
    pub avoid: Vec<SocketAddr>,
    /// What the request is for.
    pub purpose: Purpose,
    /// How long the whole try may take; enforced by the caller too.
    pub timeout: Option<Duration>,
}

impl SelectedBackend {
    pub(crate) fn new(backend: &Arc<Backend>, purpose: Purpose) -> Self {
        let backend = Arc::clone(backend);
        Self { backend, session: None, avoid: Vec::new(), purpose, timeout: None }
    }
}

/// What a request to a backend is for. Under pressure mirrors go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// A client waits for the answer.
    Forward,
    /// A copy whose answer nobody reads.
    Mirror,
    /// A question to an authorization service.
    ExternalAuth,
}

/// The answer of a backend.
#[derive(Debug)]
pub struct UpstreamAnswer<B> {
    /// Head and body.
    pub response: Response<B>,
    /// The endpoint that gave it; none if the backend has no addresses, as a local service. A
    /// session can be bound to an endpoint only if it has one.
    pub endpoint: Option<SocketAddr>,
}

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("{kind}")]
pub struct UpstreamError {
    /// What went wrong; decides about status and retry.
    pub kind: UpstreamErrorKind,
    /// The endpoint that failed, if one was chosen.
    pub endpoint: Option<SocketAddr>,
    /// The details, for logs.
    pub source: Option<BoxError>,
}

impl UpstreamError {
    /// An error without details.
    #[must_use]
    pub const fn new(kind: UpstreamErrorKind) -> Self {
        Self { kind, endpoint: None, source: None }
    }

    /// The same with the error that led to it.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same with the endpoint that failed.
    #[must_use]
    pub const fn at(mut self, endpoint: SocketAddr) -> Self {
        self.endpoint = Some(endpoint);
        self
    }

    /// Whether another try may go better: the connection failed, or no answer came.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            UpstreamErrorKind::Connect | UpstreamErrorKind::Reset | UpstreamErrorKind::Timeout
        )
    }
}

/// The ways in which a backend fails to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamErrorKind {
    /// No endpoint is ready, or none could be looked up: 503.
    #[error("no endpoint is ready")]
    NoEndpoint,
    /// Too many requests or connections at once: 503.
    #[error("the backend is at its limit")]
    Overload,
    /// The connection was refused or not possible: 502.
    #[error("the endpoint cannot be reached")]
    Connect,
    /// The connection ended before the head of the answer: 502.
    #[error("the connection broke before the answer")]
    Reset,
    /// TLS could not be set up as the policy of the backend asks: 502.
    #[error("the endpoint's TLS is not to be trusted")]
    Tls,
    /// The answer is malformed: 502.
    #[error("the answer is malformed")]
    Protocol,
    /// No connection or no answer in time: 504.
    #[error("the endpoint did not answer in time")]
    Timeout,
    /// The client's body broke off; there is nobody to answer.
    #[error("the request's body broke off")]
    RequestBody,
}

impl UpstreamErrorKind {
    /// The cause as metrics and logs name it.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::NoEndpoint => Cause::NoEndpoint,
            Self::Overload => Cause::Overload,
            Self::Connect => Cause::UpstreamConnect,
            Self::Reset => Cause::UpstreamReset,
            Self::Tls => Cause::UpstreamTls,
            Self::Protocol => Cause::UpstreamProtocol,
            Self::Timeout => Cause::UpstreamTimeout,
            Self::RequestBody => Cause::BadRequest,
        }
    }
}
