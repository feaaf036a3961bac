//! HTTPRoute.

use std::collections::HashMap;

use super::check::{At, Check};
use super::filter;
use super::text::{is_path_text, is_token};
use super::{backend, parent, session};
use crate::api::{
    HttpHeaderMatch, HttpPathMatch, HttpPathModifierType, HttpQueryParamMatch, HttpRouteFilter,
    HttpRouteMatch, HttpRouteRetry, HttpRouteRule, HttpRouteSpec, HttpRouteTimeouts, PathMatchType,
};
use crate::diagnostic::Code;

pub(super) fn http_route(check: &mut Check<'_>, spec: &HttpRouteSpec, at: &At<'_>) {
    parent::parents(check, &spec.parent_refs, spec.use_default_gateways.as_ref(), at);
    parent::hostnames(check, &spec.hostnames, &at.field("hostnames"));
    let list = at.field("rules");
    check.list_length(&list, spec.rules.len(), 0..=16);
    for (index, rule) in spec.rules.iter().enumerate() {
        self::rule(check, rule, &list.index(index));
    }
    let unique = !check.is_standard();
    parent::rule_names(check, spec.rules.iter().map(|rule| rule.name.as_deref()), &list, unique);
    // A rule without matches gets one by default.
    let matches = spec.rules.iter().map(|rule| rule.matches.len().max(1)).sum();
    total_matches(check, matches, &list);
}

pub(super) fn total_matches(check: &mut Check<'_>, matches: usize, rules: &At<'_>) {
    if matches > 128 {
        let message =
            format!("the rules have {matches} matches together, but at most 128 are allowed");
        check.error_help(rules, Code::TooManyMatches, message, "split the route into several ones");
    }
}

fn rule(check: &mut Check<'_>, rule: &HttpRouteRule, at: &At<'_>) {
    let list = at.field("matches");
    check.list_length(&list, rule.matches.len(), 0..=64);
    for (index, condition) in rule.matches.iter().enumerate() {
        self::condition(check, condition, &list.index(index));
    }
    filter::http_filters(check, &rule.filters, &at.field("filters"));
    backends(check, rule, &at.field("backendRefs"));
    redirect_and_backends(check, rule, at);
    if let Some(timeouts) = &rule.timeouts {
        self::timeouts(check, timeouts, &at.field("timeouts"));
    }
    let retry_at = at.field("retry");
    if let Some(retry) = check.experimental(&retry_at, rule.retry.as_ref()) {
        self::retry(check, retry, &retry_at);
    }
    let session_at = at.field("sessionPersistence");
    if let Some(session) = check.experimental(&session_at, rule.session_persistence.as_ref()) {
        session::session(check, session, &session_at);
    }
}

fn backends(check: &mut Check<'_>, rule: &HttpRouteRule, list: &At<'_>) {
    check.list_length(list, rule.backend_refs.len(), 0..=16);
    for (index, backend) in rule.backend_refs.iter().enumerate() {
        let at = list.index(index);
        backend::reference(check, &backend.reference, &at);
        backend::weight(check, backend.weight, &at);
        filter::http_filters(check, &backend.filters, &at.field("filters"));
        prefix_replacement(check, rule, &backend.filters, &at.field("filters"));
    }
}

fn redirect_and_backends(check: &mut Check<'_>, rule: &HttpRouteRule, at: &At<'_>) {
    let list = at.field("filters");
    prefix_replacement(check, rule, &rule.filters, &list);
    let redirect = rule.filters.iter().position(|filter| filter.request_redirect.is_some());
    if let (Some(index), false) = (redirect, rule.backend_refs.is_empty()) {
        let message = "a rule that redirects never reaches its backends";
        check.error_help(
            &list.index(index),
            Code::RedirectWithBackends,
            message,
            "remove backendRefs or the redirect",
        );
    }
}

/// A prefix can only be replaced if it is clear which one.
fn prefix_replacement(
    check: &mut Check<'_>,
    rule: &HttpRouteRule,
    filters: &[HttpRouteFilter],
    list: &At<'_>,
) {
    let is_prefix = |condition: &HttpRouteMatch| {
        condition.path.as_ref().is_none_or(|path| *path.kind() == PathMatchType::PathPrefix)
    };
    if matches!(rule.matches.as_slice(), [] | [_]) && rule.matches.iter().all(is_prefix) {
        return;
    }
    for (index, filter) in filters.iter().enumerate() {
        let modifier = match (&filter.request_redirect, &filter.url_rewrite) {
            (Some(redirect), _) => redirect.path.as_ref(),
            (None, Some(rewrite)) => rewrite.path.as_ref(),
            (None, None) => None,
        };
        if modifier.is_some_and(|path| path.kind == HttpPathModifierType::ReplacePrefixMatch) {
            let message = "a prefix can only be replaced in a rule with exactly one match, of type PathPrefix";
            let help = "split the rule, or use ReplaceFullPath";
            check.error_help(&list.index(index), Code::PrefixWithoutPrefixMatch, message, help);
        }
    }
}

fn condition(check: &mut Check<'_>, condition: &HttpRouteMatch, at: &At<'_>) {
    if let Some(path) = &condition.path {
        self::path(check, path, &at.field("path"));
    }
    headers(check, &condition.headers, &at.field("headers"));
    query_params(check, &condition.query_params, &at.field("queryParams"));
    if let Some(method) = &condition.method {
        check.known(&at.field("method"), method, &[]);
    }
}

fn path(check: &mut Check<'_>, path: &HttpPathMatch, at: &At<'_>) {
    if let Some(kind) = &path.kind {
        check.known(&at.field("type"), kind, &[]);
    }
    let (value, at) = (path.value(), at.field("value"));
    if !check.text_length(&at, value, 1024)
        || !matches!(path.kind(), PathMatchType::Exact | PathMatchType::PathPrefix)
    {
        return;
    }
    if let Some((problem, help)) = path_problem(value) {
        let message = format!("the path {value:?} {problem}");
        check.error_help(&at, Code::InvalidPath, message, help);
    }
}

/// What is wrong with a path that is compared as it is: such a path could never match, or not the way it looks.
fn path_problem(value: &str) -> Option<(&'static str, &'static str)> {
    const SEGMENTS: &str = "write the path as it is after empty and dot segments are resolved";
    let found = [
        (!value.starts_with('/'), "does not start with \"/\"", "put a \"/\" in front"),
        (value.contains("//"), "contains \"//\"", SEGMENTS),
        (value.contains("/./"), "contains \"/./\"", SEGMENTS),
        (value.contains("/../"), "contains \"/../\"", SEGMENTS),
        (
            value.contains("%2f") || value.contains("%2F"),
            "contains an encoded \"/\"",
            "use type: RegularExpression",
        ),
        (value.contains('#'), "contains \"#\"", "a fragment is never sent to a server; remove it"),
        (value.ends_with("/.."), "ends with \"/..\"", SEGMENTS),
        (value.ends_with("/."), "ends with \"/.\"", SEGMENTS),
        (
            !is_path_text(value),
            "has characters that must be percent-encoded",
            "write for instance %20 for a space",
        ),
    ];
    found.into_iter().find(|(is_wrong, ..)| *is_wrong).map(|(_, problem, help)| (problem, help))
}

fn headers(check: &mut Check<'_>, headers: &[HttpHeaderMatch], list: &At<'_>) {
    check.list_length(list, headers.len(), 0..=16);
    for (index, header) in headers.iter().enumerate() {
        let at = list.index(index);
        if let Some(kind) = &header.kind {
            check.known(&at.field("type"), kind, &[]);
        }
        check.header_name(&at.field("name"), &header.name);
        check.header_value(&at.field("value"), &header.value);
    }
    header_names(check, headers.iter().map(|header| header.name.as_str()), list);
}

/// The schema compares names as written; HTTP does not care for their case.
pub(super) fn header_names<'h>(
    check: &mut Check<'_>,
    names: impl Iterator<Item = &'h str>,
    list: &At<'_>,
) {
    let mut first: HashMap<String, (usize, &str)> = HashMap::new();
    for (index, name) in names.enumerate() {
        let item = list.index(index);
        match first.get(&name.to_ascii_lowercase()) {
            Some((earlier, written)) => {
                let message =
                    format!("the header {name:?} is already in the list, as item {earlier}");
                if *written == name {
                    check.error(&item.field("name"), Code::DuplicateItem, message);
                } else {
                    check.warning(
                        &item.field("name"),
                        Code::DuplicateItem,
                        message,
                        "only the first one has an effect",
                    );
                }
            }
            None => {
                first.insert(name.to_ascii_lowercase(), (index, name));
            }
        }
    }
}

fn query_params(check: &mut Check<'_>, params: &[HttpQueryParamMatch], list: &At<'_>) {
    check.list_length(list, params.len(), 0..=16);
    for (index, param) in params.iter().enumerate() {
        let at = list.index(index);
        if let Some(kind) = &param.kind {
            check.known(&at.field("type"), kind, &[]);
        }
        let name = at.field("name");
        if check.required_text(&name, &param.name, 256) && !is_token(&param.name) {
            let message = format!("{:?} is not a valid name of a query parameter", param.name);
            check.error_help(
                &name,
                Code::InvalidName,
                message,
                "letters, digits and !#$%&'*+-.^_`|~ are allowed",
            );
        }
        check.required_text(&at.field("value"), &param.value, 1024);
    }
    check.unique_texts(list, Some("name"), params.iter().map(|param| param.name.as_str()));
}

fn timeouts(check: &mut Check<'_>, timeouts: &HttpRouteTimeouts, at: &At<'_>) {
    let request =
        timeouts.request.as_ref().and_then(|limit| check.duration(&at.field("request"), limit));
    let backend_at = at.field("backendRequest");
    let backend =
        timeouts.backend_request.as_ref().and_then(|limit| check.duration(&backend_at, limit));
    let (Some(request), Some(backend)) = (request, backend) else { return };
    if !request.is_zero() && backend > request {
        let message = "the limit for one attempt is longer than the limit for the whole request";
        check.error_help(
            &backend_at,
            Code::TimeoutOrder,
            message,
            "make it at most as long as request",
        );
    }
}

fn retry(check: &mut Check<'_>, retry: &HttpRouteRetry, at: &At<'_>) {
    let list = at.field("codes");
    for (index, code) in retry.codes.iter().enumerate() {
        check.number(&list.index(index), *code, 400..=599);
    }
    check.unique(&list, retry.codes.iter().map(Some), |check, at, earlier, code| {
        let message = format!("{code} is already in the list, as item {earlier}");
        check.error(at, Code::DuplicateItem, message);
    });
    if let Some(attempts) = retry.attempts {
        check.number(&at.field("attempts"), attempts, 1..=i32::MAX);
    }
    if let Some(backoff) = &retry.backoff {
        check.duration(&at.field("backoff"), backoff);
    }
}
