//! One entry of a rule's `matches` on one host, as the index keeps it.
//!
//! In: routes of a host. Out: 16 bytes that tell most requests apart and lead to the rest. Not
//! here: the predicates themselves, which stay where `resolve` put them.

use std::{cell::Cell, sync::Arc};

use http::Method;

use crate::{
    matcher::{HeaderLine, RequestHead, RouteMatch, is_grpc_content_type},
    resolve::topology::{Route, Rule},
};

/// A match of a route and what it takes to rule it out quickly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Its place among all matches of the host; the smallest wins.
    pub(super) rank: u32,
    /// A place in the host's list of routes.
    pub(super) route: u32,
    /// A place in [`Route::rules`].
    pub(super) rule: u16,
    /// A place in [`Rule::matches`].
    pub(super) entry: u16,
    /// The methods that pass, as bits of [`method_bit`].
    methods: u16,
    needs_grpc: bool,
    /// Whether something else than path, method and content type must be looked at.
    has_predicates: bool,
}

/// A request with what is worth finding out once.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) head: &'a RequestHead<'a>,
    /// A field that has been looked up already.
    known: Cell<Option<HeaderLine<'a>>>,
    method: u16,
    is_grpc: bool,
}

impl<'a> Request<'a> {
    /// `sees_grpc`: whether any route asks for gRPC, so that the content type has to be read.
    pub(super) fn new(head: &'a RequestHead<'a>, sees_grpc: bool) -> Self {
        let is_grpc = sees_grpc && is_grpc_content_type(head.headers);
        Self { head, known: Cell::new(None), method: method_bit(head.method), is_grpc }
    }

    /// Notes a field that was looked up, so that candidates need not do it again.
    pub(super) fn note(&self, line: HeaderLine<'a>) {
        self.known.set(Some(line));
    }
}

impl Candidate {
    pub(super) fn new(rank: u32, place: Place, entry: &RouteMatch) -> Self {
        let method = entry.method.as_ref().map(method_bit);
        Self {
            rank,
            route: place.route,
            rule: place.rule,
            entry: place.entry,
            methods: method.unwrap_or(u16::MAX),
            needs_grpc: entry.grpc,
            has_predicates: method == Some(OTHER_METHOD)
                || entry.grpc_method.is_some()
                || !entry.headers.is_empty()
                || !entry.query_params.is_empty(),
        }
    }

    /// Whether method and content type leave the match possible. No memory beyond `self` is read.
    #[inline]
    pub(super) fn may_fit(&self, request: &Request<'_>) -> bool {
        self.methods & request.method != 0 && (!self.needs_grpc || request.is_grpc)
    }

    /// Whether all but the path holds, provided that it [may fit](Self::may_fit).
    #[inline]
    pub(super) fn predicates_hold(&self, routes: &[Arc<Route>], request: &Request<'_>) -> bool {
        !self.has_predicates || {
            self.entry(routes).predicates_hold_with(request.head, request.known.get())
        }
    }

    #[inline]
    pub(super) fn route<'t>(&self, routes: &'t [Arc<Route>]) -> &'t Arc<Route> {
        // INVARIANT: a candidate is used with the routes of its host, which never change.
        &routes[self.route as usize]
    }

    #[inline]
    pub(super) fn rule<'t>(&self, routes: &'t [Arc<Route>]) -> &'t Arc<Rule> {
        &self.route(routes).rules[usize::from(self.rule)]
    }

    #[inline]
    pub(super) fn entry<'t>(&self, routes: &'t [Arc<Route>]) -> &'t RouteMatch {
        &self.rule(routes).matches[usize::from(self.entry)]
    }
}

/// Where a match is found: places in the lists of routes, rules and matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) route: u32,
    pub(super) rule: u16,
    pub(super) entry: u16,
}

const OTHER_METHOD: u16 = 1 << 9;

fn method_bit(method: &Method) -> u16 {
    match *method {
        Method::GET => 1,
        Method::POST => 1 << 1,
        Method::PUT => 1 << 2,
        Method::DELETE => 1 << 3,
        Method::HEAD => 1 << 4,
        Method::OPTIONS => 1 << 5,
        Method::PATCH => 1 << 6,
        Method::CONNECT => 1 << 7,
        Method::TRACE => 1 << 8,
        _ => OTHER_METHOD,
    }
}
