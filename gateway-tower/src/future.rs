//! The way of an answer back through [`crate::GatewayService`].

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use gateway_core::{decide::Cause, resolve::topology::Rule};
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{GatewayBody, answer, filters};

pin_project! {
    /// The future of [`crate::GatewayService`].
    pub struct GatewayFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Answer { answer: Option<Response<Bytes>> },
        Inner {
            #[pin]
            inner: F,
            #[pin]
            timer: Option<Sleep>,
            way_back: Option<WayBack>,
        },
    }
}

/// What an answer meets on its way to the client.
pub(crate) struct WayBack {
    pub(crate) rule: Arc<Rule>,
    /// The place of the chosen backend in the rule.
    pub(crate) backend: Option<usize>,
    pub(crate) origin: Option<HeaderValue>,
    pub(crate) is_grpc: bool,
    pub(crate) deadline: Option<Instant>,
}

impl<F> GatewayFuture<F> {
    pub(crate) const fn answer(answer: Response<Bytes>) -> Self {
        Self { state: State::Answer { answer: Some(answer) } }
    }

    pub(crate) fn inner(inner: F, way_back: Option<WayBack>) -> Self {
        let timer = way_back.as_ref().and_then(|way_back| way_back.deadline).map(sleep_until);
        Self { state: State::Inner { inner, timer, way_back } }
    }
}

impl<F, R, E> Future for GatewayFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body,
{
    type Output = Result<Response<GatewayBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Answer { answer } => {
                let answer = answer.take().expect("a future is not polled after its end");
                Poll::Ready(Ok(answer.map(GatewayBody::own)))
            }
            StateProjection::Inner { inner, timer, way_back } => {
                if let Poll::Ready(response) = inner.poll(cx) {
                    let way_back = way_back.as_ref();
                    return Poll::Ready(response.map(|response| match way_back {
                        Some(way_back) => way_back.pass_on(response),
                        None => response.map(GatewayBody::forwarded),
                    }));
                }
                let Some(timer) = timer.as_pin_mut() else { return Poll::Pending };
                ready!(timer.poll(cx));
                let timed_out = way_back.as_ref().map(WayBack::timed_out);
                Poll::Ready(Ok(timed_out.expect("a timer comes with its rule")))
            }
        }
    }
}

impl WayBack {
    fn pass_on<R: Body>(&self, mut response: Response<R>) -> Response<GatewayBody<R>> {
        let backend = self.backend.and_then(|place| self.rule.backends.as_slice().get(place));
        let of_backend = backend.map_or(&[][..], |backend| &*backend.filters);
        if filters::change_response(of_backend, &self.rule.filters) {
            let (mut head, body) = response.into_parts();
            let origin = self.origin.as_ref();
            filters::apply_response(of_backend, &self.rule.filters, &mut head, origin);
            response = Response::from_parts(head, body);
        }
        // SPEC: a request that became a tunnel has ended as a request; no limit holds any more.
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let deadline = self.deadline.filter(|_| !is_tunnel);
        response.map(|body| GatewayBody::forwarded(body).until(deadline))
    }

    fn timed_out<R>(&self) -> Response<GatewayBody<R>> {
        let mut answer = answer(Cause::RequestTimeout, self.is_grpc);
        answer.extensions_mut().insert(Cause::RequestTimeout);
        let origin = self.origin.as_ref();
        filters::permit_origin(&self.rule.filters, answer, origin).map(GatewayBody::own)
    }
}

impl<F> fmt::Debug for GatewayFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatewayFuture").finish_non_exhaustive()
    }
}
