//! Sends a request to its backend, again if the rule says so.
//!
//! In: a request whose filters have run, and the chosen backend. Out: the answer that the client
//! gets, or why there is none. Not here: connections ([`Upstream`]).

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use gateway_core::{decide::Cause, resolve::topology::RetryPolicy};
use http::{Request, request};
use http_body::Body;
use tokio::time::{Instant, sleep, timeout};

use crate::{
    BoxError, ProxyBody, Purpose, SelectedBackend, Upstream, UpstreamAnswer, UpstreamError,
    UpstreamErrorKind,
    dispatch::{Chosen, Dispatch, Refusal, Served},
    request_body::{Incoming, Replay},
    retry,
    timeout::try_deadline,
};

/// How a try went, and when the body of its answer must be over.
struct Tried<B> {
    outcome: Result<UpstreamAnswer<B>, UpstreamError>,
    deadline: Option<Instant>,
}

impl<'r, U> Dispatch<'r, U> {
    /// Sends the request, once or as often as the rule allows.
    pub(crate) async fn forward<B>(
        &self,
        chosen: Chosen<'r>,
        head: request::Parts,
        body: Incoming<B>,
    ) -> Result<Served<'r, U::Body>, Box<Refusal<'r, U::Body>>>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if let Some(policy) = &self.found.rule.retry {
            return Box::pin(self.forward_retrying(policy, chosen, head, body)).await;
        }
        let request = Request::from_parts(head, body.into());
        let tried = self.send(chosen, Vec::new(), request).await;
        conclude(chosen, tried, 1)
    }

    async fn forward_retrying<B>(
        &self,
        policy: &RetryPolicy,
        chosen: Chosen<'r>,
        head: request::Parts,
        body: Incoming<B>,
    ) -> Result<Served<'r, U::Body>, Box<Refusal<'r, U::Body>>>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let settings = &self.shared.settings;
        let budget = chosen.backend.retry_budget.or(settings.retry_budget);
        let budget = budget.map(|budget| (budget, self.shared.budgets.ledger(&chosen.backend.key)));
        if let Some((budget, ledger)) = &budget {
            ledger.count_request(budget, Instant::now());
        }
        let replay = (!body.is_end_stream())
            .then(|| Replay::new(body.into_source(), settings.replay_buffer));
        let mut failed = Vec::new();
        let mut retries = 0;
        loop {
            let body = replay.as_ref().map_or_else(ProxyBody::empty, Replay::next_try);
            let request = Request::from_parts(head.clone(), body);
            let tried = self.send(chosen, failed.clone(), request).await;
            let may_retry = retries < policy.attempts
                && retry::has_failed(policy, &tried.outcome)
                && replay.as_ref().is_none_or(Replay::can_restart);
            if !may_retry {
                return conclude(chosen, tried, retries + 1);
            }
            if let Some((budget, ledger)) = &budget
                && !ledger.try_retry(budget, Instant::now())
            {
                return Err(over_budget(chosen, tried, retries + 1));
            }
            failed.extend(endpoint_of(&tried.outcome));
            // Gives the connection back, or ends it, before the pause.
            drop(tried);
            sleep(retry::pause(policy, retries, settings.dice.roll())).await;
            retries += 1;
        }
    }

    /// One try.
    // SPEC: `timeouts.backendRequest` spans one try up to the end of the answer.
    async fn send<B>(
        &self,
        chosen: Chosen<'r>,
        avoid: Vec<SocketAddr>,
        request: Request<ProxyBody<B>>,
    ) -> Tried<U::Body>
    where
        U: Upstream<B>,
    {
        let limit =
            self.found.rule.timeouts.backend_request.filter(|limit| *limit > Duration::ZERO);
        let deadline = try_deadline(limit, self.deadline);
        let mut to = SelectedBackend::new(chosen.backend, Purpose::Forward);
        to.session = self.session().and_then(|session| session.hint(&chosen.backend.key));
        to.avoid = avoid;
        to.timeout = limit;
        let sent = self.shared.upstream.send(to, request);
        let outcome = match limit {
            None => sent.await,
            Some(limit) => Box::pin(timeout(limit, sent))
                .await
                .unwrap_or_else(|_| Err(UpstreamError::new(UpstreamErrorKind::Timeout))),
        };
        Tried { outcome, deadline }
    }
}

fn conclude<'r, B>(
    chosen: Chosen<'r>,
    tried: Tried<B>,
    tries: u32,
) -> Result<Served<'r, B>, Box<Refusal<'r, B>>> {
    let Tried { outcome, deadline } = tried;
    match outcome {
        Ok(answer) => Ok(Served { answer, chosen, tries, deadline }),
        Err(error) => Err(Box::new(Refusal {
            cause: error.kind.cause(),
            response: None,
            chosen: Some(chosen),
            tries,
            error: Some(error),
        })),
    }
}

// SPEC: XBackendTrafficPolicy: a retry beyond the budget is not sent; the answer should be 503.
fn over_budget<'r, B>(chosen: Chosen<'r>, tried: Tried<B>, tries: u32) -> Box<Refusal<'r, B>> {
    Box::new(Refusal {
        cause: Cause::RetryBudget,
        response: None,
        chosen: Some(chosen),
        tries,
        error: tried.outcome.err(),
    })
}

fn endpoint_of<B>(outcome: &Result<UpstreamAnswer<B>, UpstreamError>) -> Option<SocketAddr> {
    match outcome {
        Ok(answer) => answer.endpoint,
        Err(error) => error.endpoint,
    }
}
