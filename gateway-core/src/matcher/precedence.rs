//! Which of several matches wins: the only place where the order of the specification is written.

use std::cmp::Reverse;

use super::{PathPattern, RouteMatch};

/// The kind of a path match, the strongest first.
// SPEC: Exact before PathPrefix; where regular expressions stand is left to us. They stand before
// prefixes because the prefix `/` is the usual catch-all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathClass {
    /// An exact path.
    Exact,
    /// A regular expression.
    Regex,
    /// A prefix by segments.
    Prefix,
    /// A gRPC call whose service does not matter; below every path, also the prefix `/`.
    AnyService,
}

/// The rank of one match within the routes of one host pattern; the smallest value wins.
///
/// It leaves to its users what comes before and after: the host's specificity
/// ([`super::HostPattern::specificity_cmp`]), then age and name of the route, and the places of
/// rule and match in it.
// SPEC: HTTPRouteRule.matches and GRPCRouteRule.matches: path class, characters of the path,
// method, number of headers, number of query parameters; compared one after the other, so that one
// method beats any number of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Precedence {
    /// Exact, regular expression, prefix, any service.
    pub class: PathClass,
    /// Characters of the path, more first.
    pub path_length: Reverse<usize>,
    /// Characters of a gRPC method without service, more first.
    pub grpc_method_length: Reverse<usize>,
    /// With a method before without.
    pub method: Reverse<bool>,
    /// Header predicates, more first.
    pub headers: Reverse<usize>,
    /// Query parameter predicates, more first.
    pub query_params: Reverse<usize>,
}

impl Precedence {
    /// The rank of `entry`.
    #[must_use]
    pub fn of(entry: &RouteMatch) -> Self {
        let class = match &entry.path {
            PathPattern::Exact(_) => PathClass::Exact,
            PathPattern::Regex(_) => PathClass::Regex,
            PathPattern::Prefix(prefix) if entry.grpc && prefix.is_empty() => PathClass::AnyService,
            PathPattern::Prefix(_) => PathClass::Prefix,
        };
        Self {
            class,
            path_length: Reverse(entry.path.length()),
            grpc_method_length: Reverse(
                entry.grpc_method.as_ref().map_or(0, |method| method.source().len()),
            ),
            method: Reverse(entry.method.is_some()),
            headers: Reverse(entry.headers.len()),
            query_params: Reverse(entry.query_params.len()),
        }
    }
}
