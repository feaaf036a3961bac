//! Filters, of HTTPRoute and GRPCRoute.

use super::check::{At, Check};
use super::http_route::header_names;
use super::{backend, cors, external_auth};
use crate::api::{
    FilterType, Fraction, GrpcRouteFilter, HttpHeader, HttpHeaderFilter, HttpPathModifier,
    HttpPathModifierType, HttpRequestMirrorFilter, HttpRequestRedirectFilter, HttpRouteFilter,
    HttpUrlRewriteFilter,
};
use crate::diagnostic::Code;

/// Filters that may stand in a list only once.
const SINGLE: [FilterType; 5] = [
    FilterType::Cors,
    FilterType::RequestHeaderModifier,
    FilterType::ResponseHeaderModifier,
    FilterType::RequestRedirect,
    FilterType::UrlRewrite,
];

/// Filters that GRPCRoute does not have.
const NOT_GRPC: &[&str] = &["RequestRedirect", "URLRewrite", "CORS", "ExternalAuth"];

pub(super) fn http_filters(check: &mut Check<'_>, filters: &[HttpRouteFilter], list: &At<'_>) {
    check.list_length(list, filters.len(), 0..=16);
    let except: &[&str] = if check.is_standard() { &["ExternalAuth"] } else { &[] };
    for (index, filter) in filters.iter().enumerate() {
        let at = list.index(index);
        check.known(&at.field("type"), &filter.kind, except);
        let auth_at = at.field("externalAuth");
        let auth = check.experimental(&auth_at, filter.external_auth.as_ref());
        members(check, &filter.kind, &http_members(filter, auth.is_some()), &at);
        settings(check, filter, &at);
        if let Some(auth) = auth {
            external_auth::external_auth(check, auth, &auth_at);
        }
    }
    repeated(check, filters.iter().map(|filter| &filter.kind), list);
    let position = |kind: FilterType| filters.iter().position(|filter| filter.kind == kind);
    if let (Some(redirect), Some(rewrite)) =
        (position(FilterType::RequestRedirect), position(FilterType::UrlRewrite))
    {
        let message = "a redirect and a rewrite exclude each other";
        let help = "a redirect can change host and path itself; remove the rewrite";
        check.error_help(
            &list.index(redirect.max(rewrite)),
            Code::RedirectWithRewrite,
            message,
            help,
        );
    }
}

pub(super) fn grpc_filters(check: &mut Check<'_>, filters: &[GrpcRouteFilter], list: &At<'_>) {
    check.list_length(list, filters.len(), 0..=16);
    for (index, filter) in filters.iter().enumerate() {
        let at = list.index(index);
        check.known(&at.field("type"), &filter.kind, NOT_GRPC);
        let present = [
            (
                FilterType::RequestHeaderModifier,
                "requestHeaderModifier",
                filter.request_header_modifier.is_some(),
            ),
            (
                FilterType::ResponseHeaderModifier,
                "responseHeaderModifier",
                filter.response_header_modifier.is_some(),
            ),
            (FilterType::RequestMirror, "requestMirror", filter.request_mirror.is_some()),
            (FilterType::ExtensionRef, "extensionRef", filter.extension_ref.is_some()),
        ];
        members(check, &filter.kind, &present, &at);
        let GrpcRouteFilter {
            kind,
            request_header_modifier,
            response_header_modifier,
            request_mirror,
            extension_ref,
        } = filter.clone();
        let shared = HttpRouteFilter {
            kind,
            request_header_modifier,
            response_header_modifier,
            request_mirror,
            extension_ref,
            ..HttpRouteFilter::default()
        };
        settings(check, &shared, &at);
    }
    repeated(check, filters.iter().map(|filter| &filter.kind), list);
}

fn repeated<'f>(check: &mut Check<'_>, kinds: impl Iterator<Item = &'f FilterType>, list: &At<'_>) {
    check.unique(
        list,
        kinds.map(|kind| SINGLE.contains(kind).then_some(kind)),
        |check, at, earlier, kind| {
            let message =
                format!("filter {earlier} is of type {kind}, too, and there may be only one");
            check.error_help(at, Code::FilterRepeated, message, "put all changes into one filter");
        },
    );
}

type Member = (FilterType, &'static str, bool);

fn http_members(filter: &HttpRouteFilter, has_auth: bool) -> [Member; 8] {
    [
        (
            FilterType::RequestHeaderModifier,
            "requestHeaderModifier",
            filter.request_header_modifier.is_some(),
        ),
        (
            FilterType::ResponseHeaderModifier,
            "responseHeaderModifier",
            filter.response_header_modifier.is_some(),
        ),
        (FilterType::RequestMirror, "requestMirror", filter.request_mirror.is_some()),
        (FilterType::RequestRedirect, "requestRedirect", filter.request_redirect.is_some()),
        (FilterType::UrlRewrite, "urlRewrite", filter.url_rewrite.is_some()),
        (FilterType::ExtensionRef, "extensionRef", filter.extension_ref.is_some()),
        (FilterType::Cors, "cors", filter.cors.is_some()),
        (FilterType::ExternalAuth, "externalAuth", has_auth),
    ]
}

/// Exactly the member that the type names must be set.
fn members(check: &mut Check<'_>, kind: &FilterType, members: &[Member], at: &At<'_>) {
    for (member_kind, name, is_set) in members {
        if member_kind == kind && !is_set {
            let message = format!("the type is {kind}, but {name} is not set");
            check.error(&at.field(name), Code::FilterMember, message);
        } else if member_kind != kind && *is_set {
            let message = format!("{name} is set, but the type is {:?}", kind.as_str());
            check.error_help(
                &at.field(name),
                Code::FilterMember,
                message,
                format!("use type: {member_kind}"),
            );
        }
    }
}

fn settings(check: &mut Check<'_>, filter: &HttpRouteFilter, at: &At<'_>) {
    if let Some(change) = &filter.request_header_modifier {
        header_change(check, change, &at.field("requestHeaderModifier"));
    }
    if let Some(change) = &filter.response_header_modifier {
        header_change(check, change, &at.field("responseHeaderModifier"));
    }
    if let Some(mirror) = &filter.request_mirror {
        self::mirror(check, mirror, &at.field("requestMirror"));
    }
    if let Some(redirect) = &filter.request_redirect {
        self::redirect(check, redirect, &at.field("requestRedirect"));
    }
    if let Some(rewrite) = &filter.url_rewrite {
        self::rewrite(check, rewrite, &at.field("urlRewrite"));
    }
    if let Some(cors) = &filter.cors {
        cors::cors(check, cors, &at.field("cors"));
    }
    if let Some(extension) = &filter.extension_ref {
        check.local_reference(&at.field("extensionRef"), extension);
    }
}

fn header_change(check: &mut Check<'_>, change: &HttpHeaderFilter, at: &At<'_>) {
    headers(check, &change.set, &at.field("set"));
    headers(check, &change.add, &at.field("add"));
    let remove = at.field("remove");
    check.list_length(&remove, change.remove.len(), 0..=16);
    check.unique_texts(&remove, None, change.remove.iter().map(String::as_str));
    let in_set =
        |name: &str| change.set.iter().any(|header| header.name.eq_ignore_ascii_case(name));
    for (index, header) in change.add.iter().enumerate().take(16) {
        if change.set.len() <= 16 && in_set(&header.name) {
            let message = format!("the header {:?} is set and added to at once", header.name);
            let add = at.field("add");
            check.warning(
                &add.index(index),
                Code::DuplicateItem,
                message,
                "name each header in only one of the lists",
            );
        }
    }
}

fn headers(check: &mut Check<'_>, headers: &[HttpHeader], list: &At<'_>) {
    check.list_length(list, headers.len(), 0..=16);
    for (index, header) in headers.iter().enumerate() {
        let at = list.index(index);
        check.header_name(&at.field("name"), &header.name);
        check.header_value(&at.field("value"), &header.value);
    }
    header_names(check, headers.iter().map(|header| header.name.as_str()), list);
}

fn mirror(check: &mut Check<'_>, mirror: &HttpRequestMirrorFilter, at: &At<'_>) {
    backend::reference(check, &mirror.backend_ref, &at.field("backendRef"));
    if let Some(percent) = mirror.percent {
        check.number(&at.field("percent"), percent, 0..=100);
    }
    if let Some(fraction) = &mirror.fraction {
        self::fraction(check, fraction, &at.field("fraction"));
    }
    if mirror.percent.is_some() && mirror.fraction.is_some() {
        let message = "the share is given as percent and as fraction";
        check.error_help(
            &at.field("fraction"),
            Code::MirrorShareTwice,
            message,
            "remove one of the two",
        );
    }
}

fn fraction(check: &mut Check<'_>, fraction: &Fraction, at: &At<'_>) {
    let numerator = at.field("numerator");
    match fraction.numerator {
        Some(number) => check.number(&numerator, number, 0..=i32::MAX),
        None => check.missing(&numerator),
    }
    if let Some(denominator) = fraction.denominator {
        check.number(&at.field("denominator"), denominator, 1..=i32::MAX);
    }
    if fraction.numerator() > fraction.denominator() {
        let message = format!(
            "{} of {} is more than the whole",
            fraction.numerator(),
            fraction.denominator()
        );
        check.error(&numerator, Code::FractionAboveOne, message);
    }
}

fn redirect(check: &mut Check<'_>, redirect: &HttpRequestRedirectFilter, at: &At<'_>) {
    if let Some(scheme) = &redirect.scheme {
        check.known(&at.field("scheme"), scheme, &[]);
    }
    if let Some(hostname) = &redirect.hostname {
        check.precise_hostname(&at.field("hostname"), hostname);
    }
    if let Some(path) = &redirect.path {
        path_modifier(check, path, &at.field("path"));
    }
    if let Some(port) = redirect.port {
        check.port(&at.field("port"), port);
    }
    if let Some(code) = redirect.status_code
        && ![301, 302, 303, 307, 308].contains(&code)
    {
        let message = format!("{code} is not a status code for redirects");
        check.error_help(
            &at.field("statusCode"),
            Code::UnknownValue,
            message,
            "use 301, 302, 303, 307 or 308",
        );
    }
}

fn rewrite(check: &mut Check<'_>, rewrite: &HttpUrlRewriteFilter, at: &At<'_>) {
    if let Some(hostname) = &rewrite.hostname {
        check.precise_hostname(&at.field("hostname"), hostname);
    }
    if let Some(path) = &rewrite.path {
        path_modifier(check, path, &at.field("path"));
    }
}

fn path_modifier(check: &mut Check<'_>, path: &HttpPathModifier, at: &At<'_>) {
    check.known(&at.field("type"), &path.kind, &[]);
    for (kind, name, value) in [
        (HttpPathModifierType::ReplaceFullPath, "replaceFullPath", &path.replace_full_path),
        (
            HttpPathModifierType::ReplacePrefixMatch,
            "replacePrefixMatch",
            &path.replace_prefix_match,
        ),
    ] {
        let member = at.field(name);
        match value {
            Some(value) => {
                check.text_length(&member, value, 1024);
                if path.kind != kind {
                    let message =
                        format!("{name} is set, but the type is {:?}", path.kind.as_str());
                    check.error_help(
                        &member,
                        Code::PathModifierMember,
                        message,
                        format!("use type: {kind}"),
                    );
                }
            }
            None if path.kind == kind => {
                check.error(
                    &member,
                    Code::PathModifierMember,
                    format!("the type is {kind}, but {name} is not set"),
                );
            }
            None => {}
        }
    }
}
