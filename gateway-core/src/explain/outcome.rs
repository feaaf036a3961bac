//! What a rule makes of a request: its filters tried on a copy, then its backends.
//!
//! In: the rule that was found. Out: [`Outcome`]. Not here: anything with an effect. No turn of a
//! backend or mirror is used up, nobody is asked, and filters of the embedding application, which
//! may do anything, are not run.

use http::{HeaderValue, header, request};
use serde::Serialize;

use crate::{
    decide::{Cause, Respond},
    filter::{Filter, Flow, RequestFacts},
    matcher::{RequestHead, is_grpc_content_type},
    resolve::topology::Rule,
};

/// What becomes of a request that a rule serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Outcome {
    /// It goes to one of the backends; the share of an invalid one is answered with 500.
    #[serde(rename_all = "camelCase")]
    Forwarded {
        /// The authority after the filters of the rule.
        authority: String,
        /// Path and query after the filters of the rule.
        target: String,
        /// Whether the filters changed one of these.
        rewritten: bool,
    },
    /// The gateway answers.
    #[serde(rename_all = "camelCase")]
    Answered {
        /// The HTTP status.
        status: u16,
        /// The code in `grpc-status`, for gRPC requests that find no backend.
        #[serde(skip_serializing_if = "Option::is_none")]
        grpc_status: Option<u8>,
        /// Why, as in metrics.
        cause: &'static str,
        /// Where a redirect points.
        #[serde(skip_serializing_if = "Option::is_none")]
        location: Option<String>,
    },
    /// The request has no form in which filters could be tried.
    Unknown,
}

/// The outcome, and who might still answer before: those whose answer cannot be foreseen.
pub(super) fn outcome(
    rule: &Rule,
    head: &RequestHead<'_>,
    facts: &RequestFacts,
) -> (Outcome, Vec<String>) {
    let mut unless = Vec::new();
    let Some(mut parts) = parts(head) else { return (Outcome::Unknown, unless) };
    for filter in &rule.filters {
        match filter {
            Filter::Custom(_) | Filter::ExternalAuth(_) => unless.push(filter.to_string()),
            _ => {
                if let Flow::Respond(answer, cause) = filter.apply_request(&mut parts, facts) {
                    let location = answer.headers().get(header::LOCATION);
                    let location =
                        location.map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
                    let (status, cause) = (answer.status().as_u16(), Cause::from(cause).as_str());
                    let answered = Outcome::Answered { status, grpc_status: None, cause, location };
                    return (answered, unless);
                }
            }
        }
    }
    (at_backends(rule, head, &parts), unless)
}

fn at_backends(rule: &Rule, head: &RequestHead<'_>, parts: &request::Parts) -> Outcome {
    let mut weighty = rule.backends.as_slice().iter().filter(|backend| backend.weight > 0);
    let cause = match weighty.clone().next() {
        None => Cause::NoBackend,
        Some(_) if weighty.all(|backend| backend.target.is_err()) => Cause::InvalidBackend,
        Some(_) => return forwarded(head, &RequestHead::of(parts)),
    };
    let answer = Respond::new(cause, is_grpc_content_type(head.headers));
    let Respond { status, grpc_status, cause } = answer;
    Outcome::Answered { status, grpc_status, cause: cause.as_str(), location: None }
}

fn forwarded(before: &RequestHead<'_>, after: &RequestHead<'_>) -> Outcome {
    let rewritten = (before.authority, before.path) != (after.authority, after.path);
    Outcome::Forwarded { authority: after.authority.to_owned(), target: target(after), rewritten }
}

/// The request in origin form, with its authority in `Host`.
fn parts(head: &RequestHead<'_>) -> Option<request::Parts> {
    let request = http::Request::builder().method(head.method.clone()).uri(target(head));
    let mut parts = request.body(()).ok()?.into_parts().0;
    parts.headers = head.headers.clone();
    parts.headers.try_insert(header::HOST, HeaderValue::from_str(head.authority).ok()?).ok()?;
    Some(parts)
}

fn target(head: &RequestHead<'_>) -> String {
    match head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.to_owned(),
    }
}
