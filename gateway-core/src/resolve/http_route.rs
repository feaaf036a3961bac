//! HTTPRoute: rules as they are served.
//!
//! In: rules as written. Out: [`Rule`]s, those left out that cannot be taken. Not here: attachment.

use std::{borrow::Cow, sync::Arc, time::Duration};

use crate::{
    api::{
        self, HeaderMatchType, HttpHeaderMatch, HttpMethod, HttpPathMatch, HttpQueryParamMatch,
        HttpRoute, HttpRouteMatch, HttpRouteRetry, HttpRouteRule, HttpRouteTimeouts, PathMatchType,
        QueryParamMatchType, Reason,
    },
    backend::Turns,
    matcher::{
        HeaderPredicate, PathPattern, Pattern, QueryPredicate, RegexLimits, RouteMatch, normal_path,
    },
};
use http::Method;

use super::{
    filters::{Place, filters, header_name},
    rule::{BackendRef, Lowering},
    session::session_persistence,
    status::Fault,
    topology::{RetryPolicy, Rule, Timeouts},
};

/// Lowers all rules. The number is that of the rules as written.
pub(super) fn rules(route: &HttpRoute, lowering: &mut Lowering<'_>) -> (Vec<Arc<Rule>>, usize) {
    // SPEC: a route without rules has one that matches everything and has no backends.
    let default = [HttpRouteRule::default()];
    let written = if route.spec.rules.is_empty() { &default[..] } else { &route.spec.rules };
    let mut kept = Vec::with_capacity(written.len());
    for (index, rule) in written.iter().enumerate() {
        let lowered = lower(rule, index, lowering);
        kept.extend(lowering.keep(index, lowered));
    }
    (kept, written.len())
}

fn lower(
    written: &HttpRouteRule,
    index: usize,
    lowering: &mut Lowering<'_>,
) -> Result<Rule, Fault> {
    let limits = lowering.backends.given.scope.regex_limits;
    let field = format!("spec.rules[{index}].filters");
    let place = Place {
        field: &field,
        one_prefix: has_one_prefix(&written.matches),
        has_backends: !written.backend_refs.is_empty(),
        grpc: false,
    };
    // References are followed also in a rule that is then dropped, so that all mistakes show.
    let references = written.backend_refs.iter().map(|backend| BackendRef {
        reference: &backend.reference,
        weight: backend.weight(),
        filters: backend.filters.clone(),
    });
    let backends = lowering.weighted(references, index, place);
    let filters = filters(&written.filters, place, lowering)?;
    let matches = match &*written.matches {
        [] => vec![RouteMatch::any()],
        matches => matches
            .iter()
            .enumerate()
            .map(|(at, entry)| route_match(entry, limits).map_err(|fault| in_match(at, &fault)))
            .collect::<Result<_, _>>()?,
    };
    let invalid = |message| Fault::new(Reason::UnsupportedValue, message);
    let session = written.session_persistence.as_ref().map(session_persistence);
    Ok(Rule {
        name: written.name.as_deref().map(Into::into),
        index: u16::try_from(index).unwrap_or(u16::MAX),
        matches,
        filters,
        backends,
        timeouts: timeouts(written.timeouts.as_ref()).map_err(invalid)?,
        retry: written.retry.as_ref().map(retry).transpose().map_err(invalid)?.map(Arc::new),
        session_persistence: session.transpose().map_err(invalid)?.map(Arc::new),
        turns: Turns::default(),
    })
}

fn has_one_prefix(matches: &[HttpRouteMatch]) -> bool {
    match matches {
        [] => true,
        [only] => only.path.as_ref().is_none_or(|path| *path.kind() == PathMatchType::PathPrefix),
        _ => false,
    }
}

// === Matches ===

pub(super) fn in_match(index: usize, fault: &Fault) -> Fault {
    Fault::new(fault.reason.clone(), format!("matches[{index}]: {}", fault.message))
}

fn value(message: impl Into<String>) -> Fault {
    Fault::new(Reason::UnsupportedValue, message)
}

fn route_match(written: &HttpRouteMatch, limits: RegexLimits) -> Result<RouteMatch, Fault> {
    let mut entry = RouteMatch::any();
    if let Some(path) = &written.path {
        entry.path = path_pattern(path, limits)?;
    }
    entry.method = written.method.as_ref().map(method).transpose()?;
    for header in &written.headers {
        add_header(&mut entry.headers, header, limits)?;
    }
    for param in &written.query_params {
        add_query_param(&mut entry.query_params, param, limits)?;
    }
    Ok(entry)
}

fn path_pattern(written: &HttpPathMatch, limits: RegexLimits) -> Result<PathPattern, Fault> {
    let path = written.value();
    match written.kind() {
        PathMatchType::RegularExpression => PathPattern::regex(path, limits)
            .map_err(|error| value(format!("path {path:?} is no regular expression: {error}"))),
        PathMatchType::Exact => checked_path(path).map(|path| PathPattern::exact(&path)),
        PathMatchType::PathPrefix => checked_path(path).map(|path| PathPattern::prefix(&path)),
        PathMatchType::Unknown(kind) => {
            let known = PathMatchType::KNOWN.join(", ");
            Err(value(format!("path.type is {kind:?}, expected one of {known}")))
        }
    }
}

/// The normal form of a path.
// SPEC: the schema's rules for paths. A path that breaks them could be reached by no request, or by
// one that reads differently at the backend. They hold for what the path says, however it is encoded.
fn checked_path(written: &str) -> Result<Cow<'_, str>, Fault> {
    let path = normal_path(written);
    let wrong = |problem: &str| Err(value(format!("path {written:?} {problem}")));
    if !path.starts_with('/') {
        return wrong("does not start with /");
    }
    for part in ["//", "/./", "/../", "%2F", "#"] {
        if path.contains(part) {
            return wrong(&format!("contains {part}"));
        }
    }
    for end in ["/..", "/."] {
        if path.ends_with(end) {
            return wrong(&format!("ends in {end}"));
        }
    }
    Ok(path)
}

fn method(written: &HttpMethod) -> Result<Method, Fault> {
    match written {
        HttpMethod::Unknown(method) => {
            let known = HttpMethod::KNOWN.join(", ");
            Err(value(format!("method is {method:?}, expected one of {known}")))
        }
        known => Method::from_bytes(known.as_str().as_bytes())
            .map_err(|_| value(format!("method {known} is not valid"))),
    }
}

/// Adds a predicate unless there is one for the same name.
// SPEC: of several entries for one header, in any letter case, only the first counts.
fn add_header(
    predicates: &mut Vec<HeaderPredicate>,
    written: &HttpHeaderMatch,
    limits: RegexLimits,
) -> Result<(), Fault> {
    let predicate = header_predicate(written.kind(), &written.name, &written.value, limits)?;
    if !predicates.iter().any(|earlier| earlier.name == predicate.name) {
        predicates.push(predicate);
    }
    Ok(())
}

pub(super) fn header_predicate(
    kind: &HeaderMatchType,
    name: &str,
    text: &str,
    limits: RegexLimits,
) -> Result<HeaderPredicate, Fault> {
    let parsed = header_name(name)?;
    let pattern = match kind {
        HeaderMatchType::Exact => Pattern::exact(text),
        HeaderMatchType::RegularExpression => Pattern::regex(text, limits).map_err(|error| {
            value(format!("header {name}: {text:?} is no regular expression: {error}"))
        })?,
        HeaderMatchType::Unknown(kind) => {
            let known = HeaderMatchType::KNOWN.join(", ");
            return Err(value(format!("header {name}: type is {kind:?}, expected one of {known}")));
        }
    };
    Ok(HeaderPredicate { name: parsed, value: pattern })
}

fn add_query_param(
    predicates: &mut Vec<QueryPredicate>,
    written: &HttpQueryParamMatch,
    limits: RegexLimits,
) -> Result<(), Fault> {
    let (name, text) = (&written.name, &written.value);
    let pattern = match written.kind() {
        QueryParamMatchType::Exact => Pattern::exact(text.as_str()),
        QueryParamMatchType::RegularExpression => {
            Pattern::regex(text, limits).map_err(|error| {
                value(format!("query parameter {name}: {text:?} is no regular expression: {error}"))
            })?
        }
        QueryParamMatchType::Unknown(kind) => {
            let known = QueryParamMatchType::KNOWN.join(", ");
            return Err(value(format!(
                "query parameter {name}: type is {kind:?}, expected one of {known}"
            )));
        }
    };
    if !predicates.iter().any(|earlier| *earlier.name == **name) {
        predicates.push(QueryPredicate { name: name.as_str().into(), value: pattern });
    }
    Ok(())
}

// === Settings ===

fn timeouts(written: Option<&HttpRouteTimeouts>) -> Result<Timeouts, String> {
    let Some(written) = written else { return Ok(Timeouts::default()) };
    let request = duration(written.request.as_ref(), "timeouts.request")?;
    let backend_request = duration(written.backend_request.as_ref(), "timeouts.backendRequest")?;
    match (request, backend_request) {
        (Some(request), Some(one)) if !request.is_zero() && one > request => Err(format!(
            "timeouts.backendRequest {one:?} is longer than timeouts.request {request:?}"
        )),
        _ => Ok(Timeouts { request, backend_request }),
    }
}

fn retry(written: &HttpRouteRetry) -> Result<RetryPolicy, String> {
    let code = |code: &i32| match u16::try_from(*code) {
        Ok(code) if (400..600).contains(&code) => Ok(code),
        _ => Err(format!("retry.codes has {code}, expected 400 to 599")),
    };
    let attempts = written.attempts.unwrap_or(1);
    Ok(RetryPolicy {
        codes: written.codes.iter().map(code).collect::<Result<_, _>>()?,
        attempts: u32::try_from(attempts)
            .map_err(|_| format!("retry.attempts is {attempts}, expected 1 or more"))?,
        backoff: duration(written.backoff.as_ref(), "retry.backoff")?,
    })
}

fn duration(written: Option<&api::Duration>, field: &str) -> Result<Option<Duration>, String> {
    let Some(written) = written else { return Ok(None) };
    match written.to_std() {
        Ok(duration) => Ok(Some(duration)),
        Err(error) => Err(format!("{field} is {:?}: {error}", written.as_str())),
    }
}
