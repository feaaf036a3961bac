//! GRPCRoute.

use super::check::{At, Check};
use super::http_route::{header_names, total_matches};
use super::{backend, filter, parent, session};
use crate::api::{
    GrpcHeaderMatch, GrpcMethodMatch, GrpcMethodMatchType, GrpcRouteRule, GrpcRouteSpec,
};
use crate::diagnostic::Code;

pub(super) fn grpc_route(check: &mut Check<'_>, spec: &GrpcRouteSpec, at: &At<'_>) {
    parent::parents(check, &spec.parent_refs, spec.use_default_gateways.as_ref(), at);
    parent::hostnames(check, &spec.hostnames, &at.field("hostnames"));
    let list = at.field("rules");
    check.list_length(&list, spec.rules.len(), 0..=16);
    for (index, rule) in spec.rules.iter().enumerate() {
        self::rule(check, rule, &list.index(index));
    }
    let unique = !check.is_standard();
    parent::rule_names(check, spec.rules.iter().map(|rule| rule.name.as_deref()), &list, unique);
    total_matches(check, spec.rules.iter().map(|rule| rule.matches.len()).sum(), &list);
}

fn rule(check: &mut Check<'_>, rule: &GrpcRouteRule, at: &At<'_>) {
    let list = at.field("matches");
    check.list_length(&list, rule.matches.len(), 0..=64);
    for (index, condition) in rule.matches.iter().enumerate() {
        let at = list.index(index);
        if let Some(method) = &condition.method {
            self::method(check, method, &at.field("method"));
        }
        headers(check, &condition.headers, &at.field("headers"));
    }
    filter::grpc_filters(check, &rule.filters, &at.field("filters"));
    let list = at.field("backendRefs");
    check.list_length(&list, rule.backend_refs.len(), 0..=16);
    for (index, backend) in rule.backend_refs.iter().enumerate() {
        let at = list.index(index);
        backend::reference(check, &backend.reference, &at);
        backend::weight(check, backend.weight, &at);
        filter::grpc_filters(check, &backend.filters, &at.field("filters"));
    }
    let session_at = at.field("sessionPersistence");
    if let Some(session) = check.experimental(&session_at, rule.session_persistence.as_ref()) {
        session::session(check, session, &session_at);
    }
}

fn method(check: &mut Check<'_>, method: &GrpcMethodMatch, at: &At<'_>) {
    if let Some(kind) = &method.kind {
        check.known(&at.field("type"), kind, &[]);
    }
    if method.service.is_none() && method.method.is_none() {
        let message = "a method match needs a service, a method, or both";
        check.error_help(
            at,
            Code::GrpcMethodEmpty,
            message,
            "to match every call, leave the method match out",
        );
    }
    let is_exact = *method.kind() == GrpcMethodMatchType::Exact;
    if let Some(service) = &method.service {
        let at = at.field("service");
        if check.text_length(&at, service, 1024) && is_exact && !is_service(service) {
            let message = format!("{service:?} is not the name of a service");
            check.error_help(
                &at,
                Code::InvalidName,
                message,
                "write its full name, as in shop.v1.Cart",
            );
        }
    }
    if let Some(name) = &method.method {
        let at = at.field("method");
        if check.text_length(&at, name, 1024) && is_exact && !is_identifier(name) {
            let message = format!("{name:?} is not the name of a method");
            check.error_help(
                &at,
                Code::InvalidName,
                message,
                "write its name without service, as in AddItem",
            );
        }
    }
}

fn is_service(name: &str) -> bool {
    name.strip_prefix('.').unwrap_or(name).split('.').all(is_identifier)
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn headers(check: &mut Check<'_>, headers: &[GrpcHeaderMatch], list: &At<'_>) {
    check.list_length(list, headers.len(), 0..=16);
    for (index, header) in headers.iter().enumerate() {
        let at = list.index(index);
        if let Some(kind) = &header.kind {
            check.known(&at.field("type"), kind, &[]);
        }
        check.header_name(&at.field("name"), &header.name);
        check.required_text(&at.field("value"), &header.value, 4096);
    }
    header_names(check, headers.iter().map(|header| header.name.as_str()), list);
}
