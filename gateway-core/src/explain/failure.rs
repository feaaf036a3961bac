//! What a request lacks to fit a match.

use http::HeaderMap;
use serde::Serialize;

use crate::matcher::{
    Pattern, RequestHead, RouteMatch, first_value, header_bytes, is_grpc_content_type,
    method_segment,
};

/// One thing that a match asks for and the request does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// `path`, `method`, `content-type`, `gRPC method`, `header NAME` or `query parameter NAME`.
    pub field: String,
    /// What is asked for.
    pub wanted: String,
    /// What the request has, none if it has nothing of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

impl Failure {
    pub(super) fn is_path(&self) -> bool {
        self.field == PATH
    }
}

const PATH: &str = "path";

/// All that `head` lacks to fit `entry`.
pub(super) fn failures(entry: &RouteMatch, head: &RequestHead<'_>) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut fail = |field: String, wanted: String, seen: Option<String>| {
        failures.push(Failure { field, wanted, seen });
    };
    if !entry.path.is_match(head.path) {
        fail(PATH.into(), entry.path.to_string(), Some(head.path.into()));
    }
    if let Some(method) = &entry.method
        && method != head.method
    {
        fail("method".into(), method.to_string(), Some(head.method.to_string()));
    }
    if entry.grpc && !is_grpc_content_type(head.headers) {
        let seen = seen_header(head.headers, &http::header::CONTENT_TYPE);
        fail("content-type".into(), "application/grpc".into(), seen);
    }
    if let Some(method) = &entry.grpc_method {
        let seen = method_segment(head.path);
        if !seen.is_some_and(|seen| method.is_match(seen.as_bytes())) {
            fail("gRPC method".into(), wanted(method), seen.map(str::to_owned));
        }
    }
    for predicate in entry.headers.iter().filter(|predicate| !predicate.is_match(head.headers)) {
        let seen = seen_header(head.headers, &predicate.name);
        fail(format!("header {}", predicate.name), wanted(&predicate.value), seen);
    }
    for predicate in entry.query_params.iter().filter(|predicate| !predicate.is_match(head.query)) {
        let seen = head.query.and_then(|query| first_value(query, &predicate.name));
        let seen = seen.map(|value| text(value.bytes()));
        fail(format!("query parameter {}", predicate.name), wanted(&predicate.value), seen);
    }
    failures
}

fn wanted(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact(value) => value.to_string(),
        Pattern::Regex(regex) => format!("expression {}", regex.source()),
    }
}

fn seen_header(headers: &HeaderMap, name: &http::HeaderName) -> Option<String> {
    headers.contains_key(name).then(|| text(header_bytes(headers, name)))
}

fn text(bytes: impl Iterator<Item = u8>) -> String {
    String::from_utf8_lossy(&bytes.collect::<Vec<u8>>()).into_owned()
}
