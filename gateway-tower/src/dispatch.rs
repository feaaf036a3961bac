//! One request on its way through a rule: filters, effects, backend, answer.
//!
//! In: a request and the rule that it was matched to. Out: an [`Exchange`]. Not here: how a try is
//! repeated (`forward`) and what effects do (`effects`).

use std::sync::Arc;

use bytes::Bytes;
use gateway_core::{
    backend::{Backend, WeightedBackend},
    compile::Found,
    decide::{Cause, Forward},
    filter::{Filter, RequestFacts},
};
use http::{HeaderValue, Response, StatusCode, request};
use http_body::Body;
use tokio::time::{Instant, timeout_at};

use crate::{
    BoxError, Exchange, GatewayBody, OwnedIngress, OwnedMatch, Upstream, UpstreamAnswer,
    UpstreamError, answer,
    filters::{self, Stop},
    request_body::Incoming,
    route_service::Shared,
    session::Session,
    timeout,
};

/// A request that a rule serves, while it is served.
pub(crate) struct Dispatch<'r, U> {
    pub(crate) shared: &'r Arc<Shared<U>>,
    pub(crate) ingress: &'r OwnedIngress,
    pub(crate) found: Found<'r>,
    pub(crate) facts: RequestFacts,
    pub(crate) is_grpc: bool,
    /// When the whole exchange must be over.
    pub(crate) deadline: Option<Instant>,
    picked: Result<&'r WeightedBackend, Cause>,
    origin: Option<HeaderValue>,
    session: Option<Session<'r>>,
}

/// The answer of a backend, before the response side of the filters.
pub(crate) struct Served<'r, B> {
    pub(crate) answer: UpstreamAnswer<B>,
    pub(crate) chosen: Chosen<'r>,
    pub(crate) tries: u32,
    /// When the answer's body must be over.
    pub(crate) deadline: Option<Instant>,
}

/// A backend that can be sent to.
#[derive(Clone, Copy)]
pub(crate) struct Chosen<'r> {
    pub(crate) weighted: &'r WeightedBackend,
    pub(crate) backend: &'r Arc<Backend>,
}

/// Why no backend's answer goes to the client, and what does instead. Boxed, as it is rare.
pub(crate) struct Refusal<'r, B> {
    pub(crate) cause: Cause,
    /// What a filter or an authorization service wants to be answered; none: what suits the cause.
    pub(crate) response: Option<Response<GatewayBody<B>>>,
    pub(crate) chosen: Option<Chosen<'r>>,
    pub(crate) tries: u32,
    pub(crate) error: Option<UpstreamError>,
}

impl<B> Refusal<'_, B> {
    pub(crate) fn new(cause: Cause) -> Box<Self> {
        Box::new(Self { cause, response: None, chosen: None, tries: 0, error: None })
    }

    pub(crate) fn with(cause: Cause, response: Response<GatewayBody<B>>) -> Box<Self> {
        Box::new(Self { cause, response: Some(response), chosen: None, tries: 0, error: None })
    }
}

impl<'r, U> Dispatch<'r, U> {
    /// Looks at the request as the client sent it, for what filters may change.
    pub(crate) fn new(
        shared: &'r Arc<Shared<U>>,
        ingress: &'r OwnedIngress,
        forward: &Forward<'r>,
        head: &request::Parts,
        is_grpc: bool,
    ) -> Self {
        let Forward { found, backend: picked } = *forward;
        let rule = &**found.rule;
        let of_backend = picked.map_or(&[][..], |backend| &*backend.filters);
        let grpc_headers = is_grpc.then_some(&head.headers);
        let default_timeout = shared.settings.request_timeout;
        Self {
            shared,
            ingress,
            facts: found.facts(),
            is_grpc,
            deadline: timeout::request_deadline(&rule.timeouts, default_timeout, grpc_headers),
            picked,
            origin: filters::origin(&[&rule.filters, of_backend], head),
            session: Session::find(&found, head, &shared.settings),
            found,
        }
    }

    /// Serves the request within its time.
    pub(crate) async fn run<B>(self, head: request::Parts, body: B) -> Exchange<U::Body>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let served = match self.deadline {
            // Most requests have no limit, and neither timer nor box.
            None => self.serve(head, body).await,
            Some(deadline) => Box::pin(timeout_at(deadline, self.serve(head, body)))
                .await
                .unwrap_or_else(|_| Err(Refusal::new(Cause::RequestTimeout))),
        };
        match served {
            Ok(served) => self.pass_on(served),
            Err(refusal) => self.refuse(*refusal),
        }
    }

    async fn serve<B>(
        &self,
        mut head: request::Parts,
        body: B,
    ) -> Result<Served<'r, U::Body>, Box<Refusal<'r, U::Body>>>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut body = Incoming::Plain(body);
        let of_rule = &self.found.rule.filters;
        if !of_rule.is_empty() {
            body = self.filter(of_rule, &mut head, body).await?;
        }
        let chosen = self.choose()?;
        if !chosen.weighted.filters.is_empty() {
            body = self.filter(&chosen.weighted.filters, &mut head, body).await?;
        }
        self.forward(chosen, head, body).await
    }

    /// Runs a list of filters with their effects.
    async fn filter<B>(
        &self,
        filters: &'r [Filter],
        head: &mut request::Parts,
        mut body: Incoming<B>,
    ) -> Result<Incoming<B>, Box<Refusal<'r, U::Body>>>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut filters = filters.iter();
        loop {
            match filters::run(&mut filters, head, &self.facts) {
                Stop::Done => return Ok(body),
                Stop::Respond(answer, cause) => {
                    let answer = answer::filter_answer(answer, self.is_grpc);
                    return Err(Refusal::with(cause, answer.map(GatewayBody::own)));
                }
                Stop::Mirror(mirror) => body = self.mirror(mirror, head, body),
                Stop::ExternalAuth(auth) => {
                    body = Box::pin(self.authorize(auth, head, body)).await?;
                }
            }
        }
    }

    /// The backend of the session, else the one whose turn it is.
    // SPEC: a session goes on even if the weight of its backend fell to 0.
    fn choose<B>(&self) -> Result<Chosen<'r>, Box<Refusal<'r, B>>> {
        let backends = self.found.rule.backends.as_slice();
        let of_session = self.session.as_ref().and_then(|session| session.backend(backends));
        let weighted = match of_session {
            Some(weighted) => weighted,
            None => self.picked.map_err(Refusal::new)?,
        };
        match &weighted.target {
            Ok(backend) => Ok(Chosen { weighted, backend }),
            Err(_) => Err(Refusal::new(Cause::InvalidBackend)),
        }
    }

    pub(crate) fn session(&self) -> Option<&Session<'r>> {
        self.session.as_ref()
    }

    /// The exchange with a backend's answer.
    fn pass_on<B: Body>(&self, served: Served<'r, B>) -> Exchange<B> {
        let Served { answer: UpstreamAnswer { mut response, endpoint }, chosen, tries, deadline } =
            served;
        let of_rule = &self.found.rule.filters;
        if filters::change_response(&chosen.weighted.filters, of_rule) {
            let (mut head, body) = response.into_parts();
            let origin = self.origin.as_ref();
            filters::apply_response(&chosen.weighted.filters, of_rule, &mut head, origin);
            response = Response::from_parts(head, body);
        }
        if let Some(endpoint) = endpoint {
            self.keep_session(chosen.backend, endpoint, &mut response);
        }
        // SPEC: a request that became a tunnel has ended as a request; no limit holds any more.
        let is_tunnel = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let deadline = deadline.filter(|_| !is_tunnel);
        Exchange {
            response: response.map(|body| GatewayBody::forwarded(body).until(deadline)),
            matched: Some(OwnedMatch::of(&self.found, Some(chosen.backend))),
            cause: None,
            endpoint,
            tries,
            error: None,
        }
    }

    fn keep_session<B>(
        &self,
        backend: &Arc<Backend>,
        endpoint: std::net::SocketAddr,
        response: &mut Response<B>,
    ) {
        let new;
        let session = match &self.session {
            Some(session) => session,
            None => {
                new = Session::start(&self.found, backend, &self.shared.settings);
                let Some(session) = &new else { return };
                session
            }
        };
        let now = self.shared.settings.clock.now();
        session.bind(&backend.key, endpoint, self.ingress.is_tls(), now, response.headers_mut());
    }

    /// The exchange with an answer of the gateway, a filter or an authorization service.
    fn refuse<B>(&self, refusal: Refusal<'r, B>) -> Exchange<B> {
        let Refusal { cause, response, chosen, tries, error } = refusal;
        let own = || answer(cause, self.is_grpc).map(GatewayBody::own);
        let mut response = response.unwrap_or_else(own);
        if cause != Cause::CorsPreflight {
            let of_rule = &self.found.rule.filters;
            response = filters::permit_origin(of_rule, response, self.origin.as_ref());
        }
        Exchange {
            response,
            matched: Some(OwnedMatch::of(&self.found, chosen.map(|chosen| chosen.backend))),
            cause: Some(cause),
            endpoint: error.as_ref().and_then(|error| error.endpoint),
            tries,
            error,
        }
    }
}
