//! Runs lists of filters: what the layer and the dispatcher have in common.
//!
//! In: the filters of a rule or backend and a head. Out: the changed head, and where a filter wants
//! more than that, what it wants. Not here: doing it.

use std::{slice, sync::Arc};

use gateway_core::{
    decide::Cause,
    filter::{Effect, ExternalAuth, Filter, Flow, Mirror, RequestFacts},
};
use http::{HeaderValue, Response, header, request, response};

/// Why a run of filters stopped.
pub(crate) enum Stop<'f> {
    /// All have run.
    Done,
    /// This is the answer.
    Respond(Response<()>, Cause),
    /// A copy is wanted; then the run goes on.
    Mirror(&'f Arc<Mirror>),
    /// A permission is wanted; then the run goes on.
    ExternalAuth(&'f Arc<ExternalAuth>),
}

/// Runs the request side of `filters` up to the first that needs IO or answers. Call it again with
/// the same iterator to go on.
pub(crate) fn run<'f>(
    filters: &mut slice::Iter<'f, Filter>,
    head: &mut request::Parts,
    facts: &RequestFacts,
) -> Stop<'f> {
    for filter in filters {
        match filter.apply_request(head, facts) {
            Flow::Continue => {}
            Flow::Respond(answer, cause) => return Stop::Respond(*answer, cause.into()),
            Flow::Effect(Effect::Mirror(mirror)) => return Stop::Mirror(mirror),
            Flow::Effect(Effect::ExternalAuth(auth)) => return Stop::ExternalAuth(auth),
        }
    }
    Stop::Done
}

/// The `Origin` of the client, kept only if a CORS filter will ask for it.
pub(crate) fn origin(filters: &[&[Filter]], head: &request::Parts) -> Option<HeaderValue> {
    let asks = filters.iter().copied().flatten().any(|filter| matches!(filter, Filter::Cors(_)));
    asks.then(|| head.headers.get(header::ORIGIN).cloned()).flatten()
}

/// Runs the response side over the answer of a backend.
// SPEC: on the way back the filters of the backend come before those of the rule.
pub(crate) fn apply_response(
    of_backend: &[Filter],
    of_rule: &[Filter],
    head: &mut response::Parts,
    origin: Option<&HeaderValue>,
) {
    for filter in of_backend.iter().chain(of_rule) {
        filter.apply_response(head, origin);
    }
}

/// Whether [`apply_response`] would do anything.
pub(crate) fn change_response(of_backend: &[Filter], of_rule: &[Filter]) -> bool {
    of_backend.iter().chain(of_rule).any(Filter::changes_response)
}

/// Lets scripts read an answer of the gateway itself. Other filters leave those alone: they are
/// written for the answers of backends.
pub(crate) fn permit_origin<B>(
    of_rule: &[Filter],
    answer: Response<B>,
    origin: Option<&HeaderValue>,
) -> Response<B> {
    if !of_rule.iter().any(|filter| matches!(filter, Filter::Cors(_))) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    for filter in of_rule.iter().filter(|filter| matches!(filter, Filter::Cors(_))) {
        filter.apply_response(&mut head, origin);
    }
    Response::from_parts(head, body)
}
