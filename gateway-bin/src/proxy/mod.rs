//! A request from the guard to the routes and the answer back.
//!
//! In: requests as hyper parsed them, and whom they are from. Out: answers. Not here: which
//! route and which backend (gateway-tower), and connections (`listen`, `upstream`).

mod body;
mod connector;
mod place;
mod tunnel;

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use futures_util::FutureExt;
use gateway_core::{decide::Cause, matcher::is_grpc_content_type};
use gateway_tower::{GatewayBody, OwnedIngress, RouteService};
use http::{HeaderValue, Request, Response, StatusCode, Version, header, request};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::Instant;

pub(crate) use body::ClientBody;

use body::Exchange;
use place::Places;

use crate::{
    guard::{
        self, Admitted, Framing, Limits, Peer, Refusal,
        body::{BodyError, ContinueGate, RequestBody},
    },
    listen::{BindState, ConnectionState, Drain, Interim, Member, Place},
    telemetry::{Record, WorkerTelemetry},
    upstream::{AnswerBody, Upstream, UpstreamError},
};

type Answer = Response<GatewayBody<AnswerBody>>;

/// The proxy of one worker.
#[derive(Debug)]
pub(crate) struct Proxy {
    routes: RouteService<Upstream>,
    limits: Limits,
    telemetry: Arc<WorkerTelemetry>,
    /// Which of the workers it is.
    worker: usize,
    places: Places,
}

/// The client's side of a connection.
#[derive(Debug)]
pub(crate) struct ClientSide {
    pub(crate) peer: Peer,
    pub(crate) ingress: OwnedIngress,
    pub(crate) state: Arc<ConnectionState>,
    pub(crate) bind: Arc<BindState>,
    /// The connections that TLS has let in on the same terms.
    pub(crate) terms: Option<Arc<Drain>>,
    pub(crate) place: Place,
}

impl ClientSide {
    /// A part of the connection that is told to end by itself.
    fn join(&self) -> Member {
        let mut member = self.bind.drain.join();
        if let Some(terms) = &self.terms {
            member.join_also(terms);
        }
        member
    }
}

impl Proxy {
    pub(crate) fn new(
        routes: RouteService<Upstream>,
        limits: Limits,
        telemetry: Arc<WorkerTelemetry>,
        worker: usize,
    ) -> Self {
        let places = Places::new(limits.requests);
        Self { routes, limits, telemetry, worker, places }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn telemetry(&self) -> &WorkerTelemetry {
        &self.telemetry
    }

    /// Closes connections to backends that were idle for too long.
    pub(crate) fn sweep(&self) {
        self.routes.upstream().sweep();
    }

    /// Answers a request, whatever happens.
    pub(crate) async fn serve(
        self: Arc<Self>,
        client: Arc<ClientSide>,
        request: Request<Incoming>,
    ) -> Result<Response<ClientBody>, Infallible> {
        let active = client.state.begin();
        let (head, body) = request.into_parts();
        let record = Box::new(begin_record(&head, &client));
        let of_bind = client.bind.requests.get(self.worker);
        let place = of_bind.and_then(|of_bind| self.places.take(of_bind));
        let exchange = Exchange::new(record, Arc::clone(&self.telemetry), active, place);
        let mut serving = Serving { proxy: &self, client: &client, exchange: Some(exchange) };
        // Futures are pinned where they are made; moved, they would be copied, and they are
        // large.
        let answered = {
            let answering = pin!(serving.answer(head, body));
            AssertUnwindSafe(answering).catch_unwind().await
        };
        let answer = answered.unwrap_or_else(|_| serving.panicked());
        Ok(serving.finish(answer))
    }
}

fn begin_record(head: &request::Parts, client: &ClientSide) -> Record {
    Record {
        begun: Instant::now(),
        method: head.method.clone(),
        target: head.uri.path_and_query().cloned(),
        host: head.headers.get(header::HOST).cloned(),
        version: head.version,
        peer: client.peer.address().clone(),
        bind: Arc::clone(&client.bind.label),
        matched: None,
        status: StatusCode::OK,
        cause: None,
        detail: None,
        endpoint: None,
        tries: 0,
        upstream_time: None,
        bytes: 0,
        complete: false,
    }
}

/// One request on its way.
struct Serving<'a> {
    proxy: &'a Proxy,
    client: &'a ClientSide,
    /// None once it belongs to a tunnel.
    exchange: Option<Exchange>,
}

impl Serving<'_> {
    async fn answer(&mut self, mut head: request::Parts, body: Incoming) -> Answer {
        let limits = &self.proxy.limits;
        let framing = match head.version {
            Version::HTTP_2 => Framing::default(),
            _ => self.client.state.framing.take(),
        };
        let admitted = match guard::admit(&mut head, &self.client.peer, framing, limits) {
            Ok(admitted) => admitted,
            Err(refusal) => return self.refuse(&refusal),
        };
        let host = head.headers.get(header::HOST).cloned();
        if let Some(record) = self.record() {
            record.host = host;
        }
        // After the framing was looked at: what is not to be trusted ends the connection, and what
        // was seen of this request is not held against the next.
        if self.exchange.as_ref().is_some_and(|exchange| !exchange.has_place()) {
            let is_grpc = is_grpc_content_type(&head.headers);
            return self.over_limit(is_grpc);
        }
        self.forward(head, body, admitted).await
    }

    async fn forward(
        &mut self,
        mut head: request::Parts,
        body: Incoming,
        admitted: Admitted,
    ) -> Answer {
        let state = &self.client.state;
        let http1 = head.version < Version::HTTP_2;
        let to_client = head.extensions.remove::<OnUpgrade>();
        let is_grpc = is_grpc_content_type(&head.headers);
        let gate = (admitted.expects_continue && !hyper::body::Body::is_end_stream(&body))
            .then(Arc::<ContinueGate>::default);
        let body = RequestBody::new(body, http1, gate.clone(), state, &self.proxy.limits);
        // Streams of HTTP/2 run side by side, so only HTTP/1.1 can have that of the connection.
        let interim = if http1 { Arc::clone(&state.interim) } else { Arc::default() };
        let interim_wanted = head.version == Version::HTTP_11;
        let mut request = Request::from_parts(head, body);
        if let (Some(gate), Some(exchange)) = (&gate, &mut self.exchange) {
            exchange.end_with(Arc::clone(gate));
        }
        pass_interim(&mut request, &interim, gate.clone(), interim_wanted);

        let dispatched = {
            let dispatching = pin!(self.proxy.routes.dispatch(&self.client.ingress, request));
            unless_flooded(dispatching, &interim).await
        };
        interim.discard();
        if let Some(gate) = gate {
            gate.hold();
        }
        let Some(dispatched) = dispatched else {
            return self.own(Cause::UpstreamProtocol, "too many interim answers", is_grpc);
        };
        self.note(&dispatched);
        if dispatched.cause.is_some() {
            return self.gateway_answer(dispatched);
        }
        let (mut answer, body) = dispatched.response.into_parts();
        if let Err(reason) = guard::answer::admit(&mut answer, admitted.upgrade.as_ref()) {
            return self.own(Cause::UpstreamProtocol, reason, is_grpc);
        }
        let answer = Response::from_parts(answer, body);
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return self.open_tunnel(answer, to_client);
        }
        answer
    }

    fn note<B>(&mut self, dispatched: &gateway_tower::Exchange<B>) {
        let Some(record) = self.record() else { return };
        record.matched = dispatched.matched.clone();
        record.endpoint = dispatched.endpoint;
        record.tries = dispatched.tries;
        record.cause = dispatched.cause.map(Cause::as_str);
        record.detail = dispatched.error.as_ref().map(|error| {
            let source = error.source.as_ref();
            source.map_or_else(|| error.to_string(), ToString::to_string).into()
        });
        if dispatched.cause.is_none() {
            record.upstream_time = Some(record.begun.elapsed());
        }
    }

    /// An answer of the routes; what the client itself is to blame for is said more exactly.
    fn gateway_answer(&mut self, dispatched: gateway_tower::Exchange<AnswerBody>) -> Answer {
        let Some(fault) = dispatched.error.as_ref().and_then(body_fault) else {
            return dispatched.response;
        };
        let (status, reason) = match fault {
            BodyError::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            BodyError::Client(_) | BodyError::Unwanted => {
                (StatusCode::BAD_REQUEST, "the body broke off")
            }
        };
        self.refuse(&Refusal { status, reason, close: true })
    }

    fn refuse(&mut self, refusal: &Refusal) -> Answer {
        if let Some(record) = self.record() {
            record.cause = Some("refused");
            record.detail = Some(refusal.reason.into());
        }
        let mut text = refusal.reason.to_owned();
        text.push('\n');
        let mut answer = Response::new(GatewayBody::own(Bytes::from(text)));
        *answer.status_mut() = refusal.status;
        let headers = answer.headers_mut();
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        if refusal.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
            let allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        answer
    }

    fn own(&mut self, cause: Cause, detail: &str, is_grpc: bool) -> Answer {
        if let Some(record) = self.record() {
            record.cause = Some(cause.as_str());
            record.detail = Some(detail.into());
        }
        gateway_tower::answer(cause, is_grpc).map(GatewayBody::own)
    }

    /// Too many requests here; [`Cause::Overload`] in records is about those at a backend.
    fn over_limit(&mut self, is_grpc: bool) -> Answer {
        let answer = self.own(Cause::Overload, "too many requests at a time", is_grpc);
        if let Some(record) = self.record() {
            record.cause = Some("request-limit");
        }
        answer
    }

    fn open_tunnel(&mut self, answer: Answer, to_client: Option<OnUpgrade>) -> Answer {
        let (mut head, body) = answer.into_parts();
        let to_backend = head.extensions.remove::<OnUpgrade>();
        let (Some(client), Some(backend)) = (to_client, to_backend) else {
            return self.own(Cause::UpstreamProtocol, "101 without a connection", false);
        };
        if let Some(mut exchange) = self.exchange.take() {
            exchange.record().status = head.status;
            exchange.leave_place();
            let hold = tunnel::Hold {
                member: self.client.join(),
                _place: Arc::clone(&self.client.place),
                _backend: body,
                idle: self.proxy.limits.tunnel_idle,
            };
            tunnel::open(client, backend, exchange, hold);
        }
        Response::from_parts(head, GatewayBody::default())
    }

    fn panicked(&mut self) -> Answer {
        self.proxy.telemetry.panicked(&self.client.bind.label);
        let refusal = Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            reason: "the gateway failed",
            close: true,
        };
        let answer = self.refuse(&refusal);
        if let Some(record) = self.record() {
            record.cause = Some("panic");
        }
        answer
    }

    fn record(&mut self) -> Option<&mut Record> {
        self.exchange.as_mut().map(Exchange::record)
    }

    fn finish(mut self, mut answer: Answer) -> Response<ClientBody> {
        let status = answer.status();
        answer.extensions_mut().clear();
        let exchange = self.exchange.take().map(|mut exchange| {
            exchange.record().status = status;
            exchange
        });
        answer.map(|body| ClientBody::new(body, exchange))
    }
}

/// The fault of the client's body behind an error of the dispatcher.
fn body_fault(error: &gateway_tower::UpstreamError) -> Option<&BodyError> {
    let mut source: &(dyn std::error::Error + 'static) =
        error.source.as_ref()?.downcast_ref::<UpstreamError>()?;
    loop {
        if let Some(fault) = source.downcast_ref::<BodyError>() {
            return Some(fault);
        }
        source = source.source()?;
    }
}

/// Has interim answers of the backend passed on, and the body sent once the backend wants it.
fn pass_interim(
    request: &mut Request<RequestBody>,
    to_client: &Arc<Interim>,
    gate: Option<Arc<ContinueGate>>,
    wanted: bool,
) {
    to_client.reset();
    let to_client = Arc::clone(to_client);
    hyper::ext::on_informational(request, move |interim| {
        let within_limit = to_client.count();
        if interim.status() == StatusCode::CONTINUE {
            if let Some(gate) = &gate {
                gate.open();
            }
        } else if wanted && within_limit {
            to_client.put(interim.status(), interim.headers());
        }
        to_client.waker.wake();
    });
}

/// Runs a request until its answer, unless the backend sends interim answers without end.
async fn unless_flooded<F: Future>(
    mut dispatched: Pin<&mut F>,
    interim: &Interim,
) -> Option<F::Output> {
    poll_fn(|cx| {
        interim.waker.register(cx.waker());
        if interim.is_flood() {
            return Poll::Ready(None);
        }
        dispatched.as_mut().poll(cx).map(Some)
    })
    .await
}
