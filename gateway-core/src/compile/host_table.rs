//! The routes of one host, indexed by path.
//!
//! In: routes by seniority, with the host that they are attached to. Out: the best match of a
//! request among them. Not here: which host it is (`host_index`) and what happens when nothing
//! matches here.
//!
//! Exact paths and prefixes are found by hash, prefixes from the longest to the shortest; regular
//! expressions through the literal segments that they start with. The cost of a look-up depends on
//! the request and on the matches that share its very path, not on how many others there are.

use std::sync::Arc;

use super::{
    candidate::{Candidate, Request},
    hasher::{Boundaries, Hasher, Reach},
    regex_set::RegexSet,
    selector::Selector,
    span_index::{Span, SpanIndex},
};
use crate::resolve::topology::Route;

/// The routes that are attached to one host of one listener. Immutable.
#[derive(Debug)]
pub(super) struct HostTable {
    /// Every route once, the senior first.
    pub(super) routes: Box<[Arc<Route>]>,
    /// All matches; those of one path or bucket stand together, by rank.
    pub(super) candidates: Box<[Candidate]>,
    pub(super) prefixes: SpanIndex,
    pub(super) reach: Reach,
    pub(super) needs_grpc: bool,
    /// What tables of nothing but prefixes do not have.
    pub(super) rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
pub(super) struct Rare {
    pub(super) exact: SpanIndex,
    /// Spans of `buckets`.
    pub(super) regexes: SpanIndex,
    pub(super) buckets: Box<[Bucket]>,
    pub(super) selectors: Box<[Selector]>,
    /// The best rule without matches, which is one of a layer 4 route.
    pub(super) stream: Option<Candidate>,
}

/// Regular expressions that start with the same segments.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) set: RegexSet,
    /// The matches of each expression.
    pub(super) spans: Box<[Span]>,
}

/// A span of candidates, unless this bit marks a place in the list of selectors.
pub(super) const SELECTOR: u32 = 1 << 31;

impl HostTable {
    /// The best match of the request.
    pub(super) fn find<'a>(
        &'a self,
        hasher: Hasher,
        request: &Request<'a>,
    ) -> Option<&'a Candidate> {
        let path = request.head.path.as_bytes();
        let mut boundaries = Boundaries::default();
        let whole = hasher.walk(path, self.reach, &mut boundaries);
        let search = Search { table: self, hasher, request };
        if let Some(rare) = &self.rare {
            let exact = whole.map_or(Span::EMPTY, |hash| rare.exact.find(hash));
            let exact = search.best(exact, u32::MAX, Search::path_holds);
            if exact.is_some() {
                return exact;
            }
            let regex = search.best_regex(rare, &boundaries);
            if regex.is_some() {
                return regex;
            }
        }
        boundaries.hashes().iter().rev().find_map(|hash| {
            let span = self.prefixes.find(*hash);
            search.best(span, u32::MAX, Search::path_holds)
        })
    }

    /// The rule that serves a connection: of the senior route, the first.
    pub(super) fn stream(&self) -> Option<Candidate> {
        self.rare.as_ref()?.stream
    }

    pub(super) fn needs_grpc(&self) -> bool {
        self.needs_grpc
    }

    /// Every match, the best first.
    pub(super) fn ranked(&self) -> Vec<Candidate> {
        let mut candidates = self.candidates.to_vec();
        candidates.sort_unstable_by_key(|candidate| candidate.rank);
        candidates
    }

    pub(super) fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Bytes on the heap, without routes and compiled expressions.
    pub(super) fn bytes(&self) -> usize {
        let rare = self.rare.as_ref().map_or(0, |rare| {
            size_of::<Rare>()
                + rare.exact.bytes()
                + rare.regexes.bytes()
                + rare.buckets.iter().map(Bucket::bytes).sum::<usize>()
                + rare.selectors.iter().map(Selector::bytes).sum::<usize>()
                + size_of_val(&*rare.selectors)
        });
        size_of_val(&*self.routes)
            + size_of_val(&*self.candidates)
            + self.prefixes.bytes()
            + rare
            + size_of::<Self>()
    }
}

impl Bucket {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.set.bytes() + size_of_val(&*self.spans)
    }
}

/// One request at one table.
#[derive(Clone, Copy)]
struct Search<'s, 'a> {
    table: &'a HostTable,
    hasher: Hasher,
    request: &'s Request<'a>,
}

impl<'a> Search<'_, 'a> {
    /// The first candidate of `span` with a rank below `below` that fits.
    fn best(
        &self,
        span: Span,
        below: u32,
        path_holds: impl Fn(&Self, &Candidate) -> bool + Copy,
    ) -> Option<&'a Candidate> {
        if span.length == SELECTOR {
            return self.select(span, below, path_holds);
        }
        span.of(&self.table.candidates).iter().take_while(|candidate| candidate.rank < below).find(
            |candidate| {
                candidate.may_fit(self.request)
                    && candidate.predicates_hold(&self.table.routes, self.request)
                    && path_holds(self, candidate)
            },
        )
    }

    #[inline(never)]
    fn select(
        &self,
        span: Span,
        below: u32,
        path_holds: impl Fn(&Self, &Candidate) -> bool + Copy,
    ) -> Option<&'a Candidate> {
        let selector = self.table.rare.as_ref()?.selectors.get(span.start as usize)?;
        let named = selector.find(self.hasher, self.request);
        let named = self.best(named, below, path_holds);
        let below = named.map_or(below, |candidate| candidate.rank);
        self.best(selector.rest, below, path_holds).or(named)
    }

    fn best_regex(&self, rare: &'a Rare, boundaries: &Boundaries) -> Option<&'a Candidate> {
        if rare.regexes.is_empty() {
            return None;
        }
        let mut best: Option<&Candidate> = None;
        // A path such as `*` has no boundary at its start, which some expressions begin at.
        let is_odd = !self.request.head.path.starts_with('/');
        let start = is_odd.then(|| self.hasher.text(b""));
        for hash in boundaries.hashes().iter().copied().chain(start) {
            for bucket in rare.regexes.find(hash).of(&rare.buckets) {
                bucket.set.matching(self.request.head.path.as_bytes(), |place| {
                    let below = best.map_or(u32::MAX, |candidate| candidate.rank);
                    best = self.best(bucket.spans[place], below, |_, _| true).or(best);
                });
            }
        }
        best
    }

    /// Compares the path itself: equal hashes are no proof.
    fn path_holds(&self, candidate: &Candidate) -> bool {
        candidate.entry(&self.table.routes).path.is_match(self.request.head.path)
    }
}
