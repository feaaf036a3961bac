//! The service that [`GatewayLayer`] makes.
//!
//! In: a request and the service inside. Out: the inner service's answer after the filters, or the
//! gateway's own. Not here: the answer's way back (`future`).

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use gateway_core::{
    backend::WeightedBackend,
    decide::{Cause, Decision, Forward, Respond, decide},
    filter::Filter,
    matcher::{RequestHead, is_grpc_content_type},
};
use http::{Request, Response, request};
use http_body::Body;
use tower_service::Service;

use bytes::Bytes;

use crate::{
    GatewayBody, GatewayFuture, GatewayLayer, NoBackend, NoMatch, OwnedIngress, OwnedMatch, answer,
    answer::filter_answer,
    filters::{self, Stop},
    future::WayBack,
    timeout,
};

/// Routes in front of a service; see [`GatewayLayer`].
///
/// It is ready when the inner service is, and fails only with it.
#[derive(Clone, Debug)]
pub struct GatewayService<S> {
    pub(crate) layer: GatewayLayer,
    pub(crate) inner: S,
}

/// What to do with a request.
enum Plan {
    /// Call the inner service, and treat its answer so.
    Call(Option<WayBack>),
    /// Answer.
    Answer(Response<Bytes>),
}

impl<S> GatewayService<S> {
    /// The service inside.
    #[must_use]
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    fn plan(&self, head: &mut request::Parts) -> Plan {
        let is_grpc = is_grpc_content_type(&head.headers);
        let table = self.layer.table.load();
        let of_request = head.extensions.get::<OwnedIngress>().cloned();
        let ingress = of_request.as_ref().or(self.layer.ingress.as_ref());
        let Some(entrance) = ingress.and_then(|ingress| ingress.locate(&table)) else {
            return self.miss(Cause::NoListener, is_grpc);
        };
        match decide(&table, &entrance, &RequestHead::of(head), |rule| rule.turns.next()) {
            Decision::Respond(Respond { cause, grpc_status, .. }) => {
                self.miss(cause, grpc_status.is_some())
            }
            Decision::Forward(forward) => self.follow(&forward, head, is_grpc),
        }
    }

    fn miss(&self, cause: Cause, is_grpc: bool) -> Plan {
        match (self.layer.on_no_match, cause) {
            (NoMatch::Forward, Cause::NoListener | Cause::NoRoute) => Plan::Call(None),
            _ => Plan::Answer(own(cause, is_grpc)),
        }
    }

    /// Runs the request side of the rule and its backend.
    fn follow(&self, forward: &Forward<'_>, head: &mut request::Parts, is_grpc: bool) -> Plan {
        let rule = forward.found.rule;
        let weighted = self.backend(forward);
        let of_backend = weighted.ok().flatten().map_or(&[][..], |backend| &*backend.filters);
        let origin = filters::origin(&[&rule.filters, of_backend], head);
        let grpc_headers = is_grpc.then_some(&head.headers);
        let deadline =
            timeout::request_deadline(&rule.timeouts, self.layer.request_timeout, grpc_headers);
        let facts = forward.found.facts();
        let refused = run(&rule.filters, head, &facts, is_grpc)
            .or_else(|| weighted.err().map(|cause| own(cause, is_grpc)))
            .or_else(|| run(of_backend, head, &facts, is_grpc));
        if let Some(answer) = refused {
            let is_preflight = answer.extensions().get() == Some(&Cause::CorsPreflight);
            return Plan::Answer(if is_preflight {
                answer
            } else {
                filters::permit_origin(&rule.filters, answer, origin.as_ref())
            });
        }
        let backend = weighted.ok().flatten().and_then(|weighted| weighted.target.as_ref().ok());
        head.extensions.insert(OwnedMatch::of(&forward.found, backend));
        Plan::Call(Some(WayBack {
            rule: Arc::clone(rule),
            backend: weighted.ok().flatten().and_then(|weighted| {
                rule.backends.as_slice().iter().position(|one| std::ptr::eq(one, weighted))
            }),
            origin,
            is_grpc,
            deadline: timeout::try_deadline(rule.timeouts.backend_request, deadline),
        }))
    }

    /// The backend that the inner service stands for; none if the rule names none and need not.
    fn backend<'t>(&self, forward: &Forward<'t>) -> Result<Option<&'t WeightedBackend>, Cause> {
        match forward.backend {
            Ok(backend) => Ok(Some(backend)),
            Err(Cause::NoBackend)
                if self.layer.on_no_backend == NoBackend::Forward
                    && forward.found.rule.backends.as_slice().is_empty() =>
            {
                Ok(None)
            }
            Err(cause) => Err(cause),
        }
    }
}

/// Runs filters to their end; an answer if one of them refuses.
fn run(
    filters: &[Filter],
    head: &mut request::Parts,
    facts: &gateway_core::filter::RequestFacts,
    is_grpc: bool,
) -> Option<Response<Bytes>> {
    let mut filters = filters.iter();
    loop {
        match filters::run(&mut filters, head, facts) {
            Stop::Done => return None,
            Stop::Respond(answer, cause) => {
                let mut answer = filter_answer(answer, is_grpc);
                answer.extensions_mut().insert(cause);
                return Some(answer);
            }
            Stop::Mirror(_) => {}
            // Nobody can be asked here, and letting the request pass would open the rule.
            Stop::ExternalAuth(_) => return Some(own(Cause::AuthUnavailable, is_grpc)),
        }
    }
}

fn own(cause: Cause, is_grpc: bool) -> Response<Bytes> {
    let mut answer = answer(cause, is_grpc);
    answer.extensions_mut().insert(cause);
    answer
}

impl<S, B, R> Service<Request<B>> for GatewayService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body,
{
    type Response = Response<GatewayBody<R>>;
    type Error = S::Error;
    type Future = GatewayFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut head, body) = request.into_parts();
        match self.plan(&mut head) {
            Plan::Call(way_back) => {
                let request = Request::from_parts(head, body);
                GatewayFuture::inner(self.inner.call(request), way_back)
            }
            Plan::Answer(answer) => GatewayFuture::answer(answer),
        }
    }
}
