//! GRPCRoute: lowered to rules on HTTP requests.
//!
//! In: rules as written. Out: [`Rule`]s whose matches see gRPC requests only. Not here: answers of
//! the gateway to gRPC clients (`decide`).

use std::sync::Arc;

use crate::{
    api::{
        GrpcMethodMatch, GrpcMethodMatchType, GrpcRoute, GrpcRouteFilter, GrpcRouteMatch,
        GrpcRouteRule, HttpRouteFilter, Reason,
    },
    backend::Turns,
    matcher::{PathPattern, Pattern, RegexLimits, RouteMatch},
};

use super::{
    filters::{Place, filters},
    http_route::{header_predicate, in_match},
    rule::{BackendRef, Lowering},
    session::session_persistence,
    status::Fault,
    topology::{Rule, Timeouts},
};

/// Lowers all rules. The number is that of the rules as written.
pub(super) fn rules(route: &GrpcRoute, lowering: &mut Lowering<'_>) -> (Vec<Arc<Rule>>, usize) {
    let mut kept = Vec::with_capacity(route.spec.rules.len());
    for (index, rule) in route.spec.rules.iter().enumerate() {
        let lowered = lower(rule, index, lowering);
        kept.extend(lowering.keep(index, lowered));
    }
    (kept, route.spec.rules.len())
}

fn lower(
    written: &GrpcRouteRule,
    index: usize,
    lowering: &mut Lowering<'_>,
) -> Result<Rule, Fault> {
    let limits = lowering.backends.given.scope.regex_limits;
    let field = format!("spec.rules[{index}].filters");
    let has_backends = !written.backend_refs.is_empty();
    let place = Place { field: &field, one_prefix: false, has_backends, grpc: true };
    let references = written.backend_refs.iter().map(|backend| BackendRef {
        reference: &backend.reference,
        weight: backend.weight(),
        filters: backend.filters.iter().map(http_filter).collect(),
    });
    let backends = lowering.weighted(references, index, place);
    let written_filters: Vec<_> = written.filters.iter().map(http_filter).collect();
    let filters = filters(&written_filters, place, lowering)?;
    let matches = match &*written.matches {
        [] => vec![RouteMatch { grpc: true, ..RouteMatch::any() }],
        matches => matches
            .iter()
            .enumerate()
            .map(|(at, entry)| route_match(entry, limits).map_err(|fault| in_match(at, &fault)))
            .collect::<Result<_, _>>()?,
    };
    let session = written.session_persistence.as_ref().map(session_persistence);
    let invalid = |message| Fault::new(Reason::UnsupportedValue, message);
    Ok(Rule {
        name: written.name.as_deref().map(Into::into),
        index: u16::try_from(index).unwrap_or(u16::MAX),
        matches,
        filters,
        backends,
        timeouts: Timeouts::default(),
        retry: None,
        session_persistence: session.transpose().map_err(invalid)?.map(Arc::new),
        turns: Turns::default(),
    })
}

/// The same filter as an HTTPRoute would write it.
fn http_filter(filter: &GrpcRouteFilter) -> HttpRouteFilter {
    HttpRouteFilter {
        kind: filter.kind.clone(),
        request_header_modifier: filter.request_header_modifier.clone(),
        response_header_modifier: filter.response_header_modifier.clone(),
        request_mirror: filter.request_mirror.clone(),
        extension_ref: filter.extension_ref.clone(),
        ..HttpRouteFilter::default()
    }
}

fn route_match(written: &GrpcRouteMatch, limits: RegexLimits) -> Result<RouteMatch, Fault> {
    let mut entry = RouteMatch { grpc: true, ..RouteMatch::any() };
    if let Some(method) = &written.method {
        let (path, grpc_method) = lower_method(method, limits)?;
        entry.path = path;
        entry.grpc_method = grpc_method;
    }
    for header in &written.headers {
        let predicate = header_predicate(header.kind(), &header.name, &header.value, limits)?;
        if !entry.headers.iter().any(|earlier| earlier.name == predicate.name) {
            entry.headers.push(predicate);
        }
    }
    Ok(entry)
}

/// The path of a call is `/service/method`.
fn lower_method(
    written: &GrpcMethodMatch,
    limits: RegexLimits,
) -> Result<(PathPattern, Option<Pattern>), Fault> {
    let value = |message: String| Fault::new(Reason::UnsupportedValue, message);
    let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (service, method) = (named(&written.service), named(&written.method));
    match written.kind() {
        GrpcMethodMatchType::Exact => {
            for (field, name) in [("service", &service), ("method", &method)] {
                if let Some(name) = name.as_ref().filter(|name| !is_grpc_name(name)) {
                    return Err(value(format!("method.{field} {name:?} is no protobuf name")));
                }
            }
            let any = || PathPattern::prefix("/");
            match (service, method) {
                (Some(service), Some(method)) => {
                    Ok((PathPattern::exact(&format!("/{service}/{method}")), None))
                }
                (Some(service), None) => Ok((PathPattern::prefix(&format!("/{service}")), None)),
                (None, Some(method)) => Ok((any(), Some(Pattern::exact(method)))),
                (None, None) => {
                    Err(value("method has neither service nor method, expected one".to_owned()))
                }
            }
        }
        GrpcMethodMatchType::RegularExpression => {
            if service.is_none() && method.is_none() {
                return Err(value(
                    "method has neither service nor method, expected one".to_owned(),
                ));
            }
            let part = |field: &str, text: Option<String>| match text {
                None => Ok("[^/]+".to_owned()),
                // Checked alone first: an error in one part shall not be blamed on the whole path.
                Some(text) => match Pattern::regex(&text, limits) {
                    Ok(_) => Ok(format!("(?:{text})")),
                    Err(error) => Err(value(format!(
                        "method.{field} {text:?} is no regular expression: {error}"
                    ))),
                },
            };
            let path = format!("/{}/{}", part("service", service)?, part("method", method)?);
            // The frame around the two parts is ours and must not count against the limit.
            let framed = RegexLimits { pattern_bytes: 2 * limits.pattern_bytes + 16, ..limits };
            let pattern = PathPattern::regex(&path, framed)
                .map_err(|error| value(format!("method {path:?}: {error}")))?;
            Ok((pattern, None))
        }
        GrpcMethodMatchType::Unknown(kind) => Err(value(format!(
            "method.type is {kind:?}, expected one of {}",
            GrpcMethodMatchType::KNOWN.join(", ")
        ))),
    }
}

fn is_grpc_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}
