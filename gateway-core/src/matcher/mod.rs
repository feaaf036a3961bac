//! What a rule asks of a request, one dimension a file.
//!
//! In: the values of a route's `matches`, already checked. Out: predicates that look at a borrowed
//! [`RequestHead`], and the [`Precedence`] of a match. Not here: the index that finds candidates
//! quickly (`compile`) and the resources that the values come from (`api`).

use std::fmt;

mod grpc_method;
mod head;
mod header;
mod host;
mod path;
mod pattern;
mod precedence;
mod query_param;

pub use grpc_method::{is_grpc_content_type, method_segment};
pub use head::{RequestHead, Scheme};
pub use header::HeaderPredicate;
pub(crate) use header::{HeaderLine, header_bytes};
pub use host::HostPattern;
pub use path::{PathPattern, normal_path};
pub(crate) use path::{escaped, is_unreserved};
pub use pattern::{CompiledRegex, Pattern, PatternError, RegexLimits, ValuePattern};
pub use precedence::{PathClass, Precedence};
pub use query_param::QueryPredicate;
pub(crate) use query_param::first_value;

/// One entry of a rule's `matches`: all of its predicates must hold.
///
/// An entry of a GRPCRoute is lowered to the same shape: service and method are an exact path,
/// a service alone is a prefix, a method alone is [`RouteMatch::grpc_method`] under the prefix `/`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteMatch {
    /// What the path must be. A match without a path has the prefix `/`.
    pub path: PathPattern,
    /// The method that the request must have; none: any. `HEAD` is not `GET`.
    pub method: Option<http::Method>,
    /// Header predicates, at most one for a name; all must hold.
    pub headers: Vec<HeaderPredicate>,
    /// Query parameter predicates, at most one for a name; all must hold.
    pub query_params: Vec<QueryPredicate>,
    /// The entry belongs to a GRPCRoute and sees requests of content type `application/grpc` only.
    pub grpc: bool,
    /// A gRPC method without a service: the second and last path segment must be this.
    pub grpc_method: Option<Pattern>,
}

impl RouteMatch {
    /// The match of a rule that names none: every path, every method.
    #[must_use]
    pub fn any() -> Self {
        Self {
            path: PathPattern::prefix("/"),
            method: None,
            headers: Vec::new(),
            query_params: Vec::new(),
            grpc: false,
            grpc_method: None,
        }
    }

    /// Whether everything but the path holds for `head`.
    #[must_use]
    pub fn predicates_hold(&self, head: &RequestHead<'_>) -> bool {
        self.predicates_hold_with(head, None)
    }

    /// As [`RouteMatch::predicates_hold`], with a field that has been looked up before.
    pub(crate) fn predicates_hold_with(
        &self,
        head: &RequestHead<'_>,
        known: Option<HeaderLine<'_>>,
    ) -> bool {
        self.method.as_ref().is_none_or(|method| method == head.method)
            && (!self.grpc || is_grpc_content_type(head.headers))
            && self.grpc_method.as_ref().is_none_or(|pattern| {
                method_segment(head.path)
                    .is_some_and(|segment| pattern.is_match(segment.as_bytes()))
            })
            && self.headers.iter().all(|predicate| match known {
                Some(line) if *line.name == predicate.name => predicate.value.is_match(line.value),
                _ => predicate.is_match(head.headers),
            })
            && self.query_params.iter().all(|predicate| predicate.is_match(head.query))
    }

    /// Whether the whole match holds for `head`.
    #[must_use]
    pub fn is_match(&self, head: &RequestHead<'_>) -> bool {
        self.path.is_match(head.path) && self.predicates_hold(head)
    }
}

impl fmt::Display for RouteMatch {
    /// Everything that the match asks for, such as `prefix /cart, method GET, header x-beta = 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)?;
        if self.grpc {
            f.write_str(", gRPC")?;
        }
        if let Some(pattern) = &self.grpc_method {
            write!(f, ", gRPC method {pattern}")?;
        }
        if let Some(method) = &self.method {
            write!(f, ", method {method}")?;
        }
        for predicate in &self.headers {
            write!(f, ", header {} {}", predicate.name, predicate.value)?;
        }
        for predicate in &self.query_params {
            write!(f, ", query parameter {} {}", predicate.name, predicate.value)?;
        }
        Ok(())
    }
}
