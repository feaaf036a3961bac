//! The dispatcher: every request goes to the backend that the routes choose.
//!
//! In: requests, and an [`Upstream`] that reaches backends. Out: an answer for each, always. Not
//! here: the steps of one request (`dispatch`).

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway_core::{
    decide::{Cause, Decision, Respond, decide},
    matcher::{RequestHead, is_grpc_content_type},
};
use http::{Request, Response};
use http_body::Body;
use tokio::sync::Semaphore;
use tower_service::Service;

use crate::{
    BoxError, GatewayBody, OwnedIngress, OwnedMatch, RouteSettings, TableHandle, Upstream,
    UpstreamError, answer, dispatch::Dispatch, retry_budget::RetryBudgets,
};

/// Answers requests as the routes say. Cheap to clone.
///
/// As a `tower` service it never fails and is always ready; the entrance of a request is that of
/// [`RouteService::at`], or else an [`OwnedIngress`] in its extensions. Servers that care for every
/// allocation call [`RouteService::dispatch`].
pub struct RouteService<U> {
    shared: Arc<Shared<U>>,
    ingress: Option<OwnedIngress>,
}

pub(crate) struct Shared<U> {
    table: TableHandle,
    pub(crate) upstream: U,
    pub(crate) settings: RouteSettings,
    pub(crate) mirrors: Arc<Semaphore>,
    pub(crate) budgets: RetryBudgets,
}

/// A request's answer, and what became of the request: one line of an access log.
#[derive(Debug)]
pub struct Exchange<B> {
    /// The answer.
    pub response: Response<GatewayBody<B>>,
    /// What the request was matched to; none if to nothing.
    pub matched: Option<OwnedMatch>,
    /// Why the gateway answered itself; none: a backend answered.
    pub cause: Option<Cause>,
    /// The endpoint that answered.
    pub endpoint: Option<SocketAddr>,
    /// How often the request was sent.
    pub tries: u32,
    /// What went wrong with the backend in the last try.
    pub error: Option<UpstreamError>,
}

impl<U> RouteService<U> {
    /// A dispatcher with default settings.
    #[must_use]
    pub fn new(table: TableHandle, upstream: U) -> Self {
        Self::with_settings(table, upstream, RouteSettings::default())
    }

    /// A dispatcher with the given settings.
    #[must_use]
    pub fn with_settings(table: TableHandle, upstream: U, settings: RouteSettings) -> Self {
        let mirrors = Arc::new(Semaphore::new(settings.mirror_concurrency));
        let budgets = RetryBudgets::default();
        let shared = Arc::new(Shared { table, upstream, settings, mirrors, budgets });
        Self { shared, ingress: None }
    }

    /// The same for requests that come in at `ingress`: one clone for each connection.
    #[must_use]
    pub fn at(&self, ingress: OwnedIngress) -> Self {
        Self { shared: Arc::clone(&self.shared), ingress: Some(ingress) }
    }

    /// What reaches the backends.
    #[must_use]
    pub fn upstream(&self) -> &U {
        &self.shared.upstream
    }

    /// The tables that are served.
    #[must_use]
    pub fn table(&self) -> &TableHandle {
        &self.shared.table
    }

    /// Answers one request. Dropping the future cancels what is under way for it, mirrors excepted.
    ///
    /// Must be called within a tokio runtime.
    pub async fn dispatch<B>(
        &self,
        ingress: &OwnedIngress,
        request: Request<B>,
    ) -> Exchange<U::Body>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let table = self.shared.table.load();
        let (head, body) = request.into_parts();
        let is_grpc = is_grpc_content_type(&head.headers);
        let Some(entrance) = ingress.locate(&table) else {
            return Exchange::own(Cause::NoListener, is_grpc);
        };
        match decide(&table, &entrance, &RequestHead::of(&head), |rule| rule.turns.next()) {
            Decision::Respond(Respond { cause, grpc_status, .. }) => {
                Exchange::own(cause, grpc_status.is_some())
            }
            Decision::Forward(forward) => {
                let dispatch = Dispatch::new(&self.shared, ingress, &forward, &head, is_grpc);
                dispatch.run(head, body).await
            }
        }
    }
}

impl<B> Exchange<B> {
    fn own(cause: Cause, is_grpc: bool) -> Self {
        Self {
            response: answer(cause, is_grpc).map(GatewayBody::own),
            matched: None,
            cause: Some(cause),
            endpoint: None,
            tries: 0,
            error: None,
        }
    }

    /// The answer with what is known about it in its extensions: [`OwnedMatch`], [`Cause`].
    #[must_use]
    pub fn into_response(self) -> Response<GatewayBody<B>> {
        let mut response = self.response;
        if let Some(matched) = self.matched {
            response.extensions_mut().insert(matched);
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

impl<U, B> Service<Request<B>> for RouteService<U>
where
    U: Upstream<B>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<GatewayBody<U::Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let of_request = || request.extensions().get::<OwnedIngress>().cloned();
            let exchange = match service.ingress.clone().or_else(of_request) {
                Some(ingress) => service.dispatch(&ingress, request).await,
                None => Exchange::own(Cause::NoListener, is_grpc_content_type(request.headers())),
            };
            Ok(exchange.into_response())
        })
    }
}

impl<U> Clone for RouteService<U> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), ingress: self.ingress.clone() }
    }
}

impl<U> fmt::Debug for RouteService<U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.shared.settings;
        f.debug_struct("RouteService").field("settings", settings).finish_non_exhaustive()
    }
}
