//! Whether a match entry fits a request, and which of several wins.

use std::{cell::RefCell, cmp::Reverse, collections::HashMap};

use gateway_core::api::{
    GrpcHeaderMatch, GrpcMethodMatch, GrpcMethodMatchType, GrpcRouteMatch, HeaderMatchType,
    HttpHeaderMatch, HttpRouteMatch, PathMatchType, QueryParamMatchType,
};
use regex::bytes::Regex;

use super::route::Match;
use crate::corpus::Request;

/// The rank of a match among those that fit, within one hostname: the smallest wins.
// SPEC: exact before prefix, longer before shorter, then method, headers, query parameters, one
// after the other. Regular expressions stand between exact and prefix: the specification leaves it.
pub(super) type Rank =
    (u8, Reverse<usize>, Reverse<usize>, Reverse<bool>, Reverse<usize>, Reverse<usize>);

/// The rank of `entry` if it fits `request`.
pub(super) fn rank(entry: &Match, request: &Request) -> Option<Rank> {
    match entry {
        Match::Http(entry) => rank_http(entry, request),
        Match::Grpc(entry) => rank_grpc(entry, request),
    }
}

/// Whether all values of `entry` can be compared with.
pub(super) fn is_valid(entry: &Match) -> bool {
    match entry {
        Match::Http(entry) => {
            let path = entry.path.as_ref().is_none_or(|path| match path.kind() {
                PathMatchType::RegularExpression => regex(path.value()).is_some(),
                kind => kind.is_known() && is_path(&normal(path.value())),
            });
            let headers = entry.headers.iter().all(|it| match it.kind() {
                HeaderMatchType::RegularExpression => regex(&it.value).is_some(),
                kind => kind.is_known(),
            });
            let query = entry.query_params.iter().all(|it| match it.kind() {
                QueryParamMatchType::RegularExpression => regex(&it.value).is_some(),
                kind => kind.is_known(),
            });
            path && headers && query && entry.method.as_ref().is_none_or(|it| it.is_known())
        }
        Match::Grpc(entry) => {
            let method = entry.method.as_ref().is_none_or(|method| match method.kind() {
                GrpcMethodMatchType::RegularExpression => {
                    let parts = [&method.service, &method.method];
                    parts.into_iter().flatten().all(|part| regex(part).is_some())
                }
                kind => kind.is_known(),
            });
            let headers = entry.headers.iter().all(|it| match it.kind() {
                HeaderMatchType::RegularExpression => regex(&it.value).is_some(),
                kind => kind.is_known(),
            });
            method && headers
        }
    }
}

/// The length of the prefix that matched, without trailing slash.
pub(super) fn matched_prefix(entry: &Match) -> Option<usize> {
    let Match::Http(HttpRouteMatch { path, .. }) = entry else { return None };
    let Some(path) = path else { return Some(0) };
    let value = normal(path.value());
    let prefix = value.strip_suffix('/').unwrap_or(&value);
    (*path.kind() == PathMatchType::PathPrefix).then_some(prefix.len())
}

fn rank_http(entry: &HttpRouteMatch, request: &Request) -> Option<Rank> {
    let default = Default::default();
    let path = entry.path.as_ref().unwrap_or(&default);
    let (value, of_request) = (normal(path.value()), request.path());
    let (class, length, fits) = match path.kind() {
        PathMatchType::Exact => (0, value.len(), value == of_request),
        PathMatchType::RegularExpression => {
            (1, path.value().len(), matches(path.value(), of_request))
        }
        // SPEC: a prefix is compared element by element; its trailing slash has no meaning.
        _ => {
            let value = value.strip_suffix('/').unwrap_or(&value);
            let rest = of_request.strip_prefix(value);
            let fits = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            (2, value.len(), fits)
        }
    };
    let method = entry.method.as_ref().is_none_or(|method| method.as_str() == request.method());
    let headers: Vec<_> = first_of_each_name(&entry.headers);
    let query = &entry.query_params;
    let all = fits
        && method
        && headers.iter().all(|it| header_fits(request, &it.name, it.kind(), &it.value))
        && query.iter().all(|it| {
            query_value(request, &it.name).is_some_and(|value| match it.kind() {
                QueryParamMatchType::Exact => value == it.value.as_bytes(),
                _ => regex(&it.value).is_some_and(|regex| regex.is_match(&value)),
            })
        });
    let has_method = Reverse(entry.method.is_some());
    let (headers, query) = (Reverse(headers.len()), Reverse(query.len()));
    all.then_some((class, Reverse(length), Reverse(0), has_method, headers, query))
}

// SPEC: the rules of the schema for path values.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && !["//", "/./", "/../", "%2F", "#"].iter().any(|part| path.contains(part))
        && !path.ends_with("/..")
        && !path.ends_with("/.")
}

/// A path as requests have it: what needs no encoding is not encoded, and hex digits are upper case.
// SPEC: RFC 3986 section 6.2.2: both spellings are the same path.
fn normal(path: &str) -> String {
    let mut parts = path.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|it| it.is_ascii_hexdigit()));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).map(char::from) {
            Some(plain) if plain.is_ascii_alphanumeric() || "-._~".contains(plain) => {
                normal.push(plain);
                normal.push_str(&part[2..]);
            }
            Some(_) => {
                normal.push('%');
                normal.push_str(&part[..2].to_ascii_uppercase());
                normal.push_str(&part[2..]);
            }
            None => {
                normal.push('%');
                normal.push_str(part);
            }
        }
    }
    normal
}

/// Ranks service and method as an exact path, a service as a prefix, a method below every path.
// SPEC: GRPCRoute: characters of the service, then of the method, then headers. Where HTTPRoutes
// share the listener, entries are compared by the path that a call has.
fn rank_grpc(entry: &GrpcRouteMatch, request: &Request) -> Option<Rank> {
    let default = GrpcMethodMatch::default();
    let wanted = entry.method.as_ref().unwrap_or(&default);
    let full = |part: &Option<String>| part.clone().filter(|it| !it.is_empty());
    let (service, method) = (full(&wanted.service), full(&wanted.method));
    let (of_service, of_method) = service_and_method(request.path());
    let fits = |wanted: &Option<String>, got: Option<&str>| match (wanted, wanted_kind(entry)) {
        (None, _) => true,
        (Some(wanted), GrpcMethodMatchType::Exact) => Some(&**wanted) == got,
        (Some(wanted), _) => got.is_some_and(|got| matches(wanted, got)),
    };
    let predicates: Vec<_> = first_of_each_grpc_name(&entry.headers);
    let all = is_grpc(request)
        && fits(&service, of_service)
        && fits(&method, of_method)
        && predicates.iter().all(|it| header_fits(request, &it.name, it.kind(), &it.value));
    let exact = wanted_kind(entry) == GrpcMethodMatchType::Exact;
    let length = |part: &Option<String>| part.as_ref().map_or(0, String::len);
    let (class, path, rest) = match (&service, &method) {
        (Some(service), Some(method)) => (u8::from(!exact), service.len() + method.len() + 2, 0),
        (Some(service), None) => (if exact { 2 } else { 1 }, service.len() + 1, 0),
        (None, method) => (3, 0, length(method)),
    };
    let headers = Reverse(predicates.len());
    all.then_some((class, Reverse(path), Reverse(rest), Reverse(false), headers, Reverse(0)))
}

// SPEC: gRPC over HTTP/2: the content type is `application/grpc`, perhaps with `+` and a format.
pub(super) fn is_grpc(request: &Request) -> bool {
    request.headers().iter().any(|(name, value)| {
        let start = value.get(..16).filter(|it| it.eq_ignore_ascii_case("application/grpc"));
        let next = value.get(16..).and_then(|rest| rest.chars().next());
        name == "content-type" && start.is_some() && next.is_none_or(|next| "+; ".contains(next))
    })
}

fn wanted_kind(entry: &GrpcRouteMatch) -> GrpcMethodMatchType {
    entry.method.as_ref().map_or(GrpcMethodMatchType::Exact, |method| method.kind().clone())
}

fn service_and_method(path: &str) -> (Option<&str>, Option<&str>) {
    let mut parts = path.strip_prefix('/').unwrap_or(path).split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (service, Some(method), None) => (service, Some(method)),
        (service, ..) => (service, None),
    }
}

/// Header matches without those whose name came before, in any letter case.
fn first_of_each_name(headers: &[HttpHeaderMatch]) -> Vec<&HttpHeaderMatch> {
    let is_first = |place: usize, name: &str| {
        !headers[..place].iter().any(|it| it.name.eq_ignore_ascii_case(name))
    };
    headers
        .iter()
        .enumerate()
        .filter(|(at, it)| is_first(*at, &it.name))
        .map(|(_, it)| it)
        .collect()
}

fn first_of_each_grpc_name(headers: &[GrpcHeaderMatch]) -> Vec<&GrpcHeaderMatch> {
    let is_first = |place: usize, name: &str| {
        !headers[..place].iter().any(|it| it.name.eq_ignore_ascii_case(name))
    };
    headers
        .iter()
        .enumerate()
        .filter(|(at, it)| is_first(*at, &it.name))
        .map(|(_, it)| it)
        .collect()
}

// SPEC: lines of one field are compared as one value, joined by a comma (RFC 9110 section 5.3).
fn header_fits(request: &Request, name: &str, kind: &HeaderMatchType, value: &str) -> bool {
    let lines = request.headers();
    let lines: Vec<_> =
        lines.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, v)| &**v).collect();
    let joined = lines.join(",");
    !lines.is_empty()
        && match kind {
            HeaderMatchType::Exact => joined == value,
            _ => matches(value, &joined),
        }
}

// SPEC: decoded before it is compared; of a repeated parameter the first value counts.
fn query_value(request: &Request, name: &str) -> Option<Vec<u8>> {
    request.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name.as_bytes()).then(|| decode(value))
    })
}

fn decode(text: &str) -> Vec<u8> {
    let bytes = text.replace('+', " ").into_bytes();
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3).and_then(|it| std::str::from_utf8(it).ok());
        let escaped = digits.filter(|it| it.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                decoded.push(byte);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn matches(pattern: &str, text: &str) -> bool {
    regex(pattern).is_some_and(|regex| regex.is_match(text.as_bytes()))
}

/// A regular expression over the whole text.
fn regex(pattern: &str) -> Option<Regex> {
    thread_local! {
        // Compiling is slow, and the same few patterns come again and again.
        static KNOWN: RefCell<HashMap<String, Option<Regex>>> = RefCell::default();
    }
    KNOWN.with_borrow_mut(|known| {
        let compile = || {
            Regex::new(pattern).ok()?;
            Regex::new(&format!("^(?:{pattern})$")).ok()
        };
        known.entry(pattern.to_owned()).or_insert_with(compile).clone()
    })
}
