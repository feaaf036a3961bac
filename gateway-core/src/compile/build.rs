//! How the table of a host is made.
//!
//! In: routes by seniority. Out: a [`HostTable`]. Not here: look-ups.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    candidate::{Candidate, Place},
    hasher::{Hasher, Reach, indexed_prefix},
    host_table::{Bucket, HostTable, Rare, SELECTOR},
    literal::LiteralStart,
    regex_set::RegexSet,
    selector::{FEW, Selector, ValueKey},
    span_index::{Span, SpanIndex},
};
use crate::{
    matcher::{CompiledRegex, PathPattern, Pattern, Precedence, RouteMatch},
    resolve::topology::Route,
};

/// More selectors in a row than this are not made.
const MAX_SELECTORS: usize = 4;

/// A match on its way into the table.
#[derive(Clone, Copy)]
struct Flat<'r> {
    rank: u32,
    place: Place,
    entry: &'r RouteMatch,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Exact,
    Prefix,
    Regex,
}

struct Builder {
    hasher: Hasher,
    candidates: Vec<Candidate>,
    selectors: Vec<Selector>,
}

impl HostTable {
    /// `routes`: each once, the senior first.
    pub(super) fn new(hasher: Hasher, routes: Vec<Arc<Route>>) -> Self {
        let mut parts: BTreeMap<Part, Vec<(u64, Flat<'_>)>> = BTreeMap::new();
        let mut reach = Reach::default();
        for flat in ranked(&routes) {
            let (part, hash) = locate(hasher, &flat.entry.path, &mut reach);
            parts.entry(part).or_default().push((hash, flat));
        }
        let mut builder = Builder { hasher, candidates: Vec::new(), selectors: Vec::new() };
        let mut part = |part| parts.remove(&part).unwrap_or_default();
        let exact = builder.spans(part(Part::Exact));
        let prefixes = builder.spans(part(Part::Prefix));
        let (regexes, buckets) = builder.buckets(part(Part::Regex));
        let stream = stream(&routes);
        let is_rare = !exact.is_empty()
            || !buckets.is_empty()
            || !builder.selectors.is_empty()
            || stream.is_some();
        let rare = is_rare.then(|| {
            Box::new(Rare {
                exact: SpanIndex::new(&exact),
                regexes: SpanIndex::new(&regexes),
                buckets: buckets.into(),
                selectors: builder.selectors.into(),
                stream,
            })
        });
        let needs_grpc = builder.candidates.iter().any(|candidate| candidate.entry(&routes).grpc);
        Self {
            prefixes: SpanIndex::new(&prefixes),
            candidates: builder.candidates.into(),
            reach,
            needs_grpc,
            rare,
            routes: routes.into(),
        }
    }
}

/// All matches of `routes` in the order of the specification.
fn ranked(routes: &[Arc<Route>]) -> Vec<Flat<'_>> {
    let mut entries: Vec<(Precedence, Place, &RouteMatch)> = places(routes).collect();
    // SPEC: after the precedence come the route's age and name, which are the order of `routes`,
    // then the place of the rule and of the match.
    entries.sort_unstable_by_key(|(precedence, place, _)| (*precedence, *place));
    let ranks = 0..;
    ranks.zip(entries).map(|(rank, (_, place, entry))| Flat { rank, place, entry }).collect()
}

fn places(routes: &[Arc<Route>]) -> impl Iterator<Item = (Precedence, Place, &RouteMatch)> {
    // The API permits 16 rules of 64 matches; what a place cannot hold is left out.
    (0..=u32::MAX).zip(routes).flat_map(|(route, object)| {
        (0..=u16::MAX).zip(&object.rules).flat_map(move |(rule, object)| {
            (0..=u16::MAX).zip(&object.matches).map(move |(entry, object)| {
                (Precedence::of(object), Place { route, rule, entry }, object)
            })
        })
    })
}

/// Where a path is listed. Widens `reach` so that requests are read that far.
fn locate(hasher: Hasher, path: &PathPattern, reach: &mut Reach) -> (Part, u64) {
    let (part, key) = match path {
        PathPattern::Exact(path) => {
            reach.exact_length = reach.exact_length.max(path.len() + 1);
            return (Part::Exact, hasher.text(path.as_bytes()));
        }
        PathPattern::Prefix(path) => (Part::Prefix, path.to_string()),
        PathPattern::Regex(pattern) => {
            (Part::Regex, LiteralStart::of(pattern.source()).segments().to_owned())
        }
    };
    let (key, depth) = indexed_prefix(&key);
    reach.depths |= 1 << depth;
    reach.prefix_length = reach.prefix_length.max(key.len());
    (part, hasher.text(key.as_bytes()))
}

fn stream(routes: &[Arc<Route>]) -> Option<Candidate> {
    let route = routes
        .iter()
        .position(|route| route.rules.first().is_some_and(|rule| rule.matches.is_empty()))?;
    let place = Place { route: u32::try_from(route).ok()?, rule: 0, entry: 0 };
    Some(Candidate::new(0, place, &RouteMatch::any()))
}

/// The runs of equal keys in a list that is sorted by them.
fn runs<T, K: Eq>(list: &[T], key: impl Fn(&T) -> K) -> impl Iterator<Item = &[T]> {
    list.chunk_by(move |a, b| key(a) == key(b))
}

impl Builder {
    /// Lists the matches of one part by hash.
    fn spans(&mut self, mut entries: Vec<(u64, Flat<'_>)>) -> Vec<(u64, Span)> {
        entries.sort_unstable_by_key(|(hash, flat)| (*hash, flat.rank));
        runs(&entries, |(hash, _)| *hash)
            .map(|run| {
                let flats: Vec<Flat<'_>> = run.iter().map(|(_, flat)| *flat).collect();
                (run[0].0, self.span(&flats, &mut Vec::new()))
            })
            .collect()
    }

    fn buckets(&mut self, mut entries: Vec<(u64, Flat<'_>)>) -> (Vec<(u64, Span)>, Vec<Bucket>) {
        entries.sort_unstable_by_key(|(hash, flat)| (*hash, source(flat.entry), flat.rank));
        let mut buckets = Vec::new();
        let mut spans = Vec::new();
        for bucket in runs(&entries, |(hash, _)| *hash) {
            let (mut expressions, mut groups) = (Vec::new(), Vec::new());
            for group in bucket.chunk_by(|(_, a), (_, b)| a.entry.path == b.entry.path) {
                let flats: Vec<Flat<'_>> = group.iter().map(|(_, flat)| *flat).collect();
                expressions.extend(path_regex(flats[0].entry).cloned());
                groups.push(self.span(&flats, &mut Vec::new()));
            }
            spans.push((bucket[0].0, Span { start: count(&buckets), length: 1 }));
            buckets.push(Bucket { set: RegexSet::new(&expressions), spans: groups.into() });
        }
        (spans, buckets)
    }

    /// Lists matches of one path, sorted by rank: as they are, or behind a selector.
    fn span(&mut self, flats: &[Flat<'_>], used: &mut Vec<ValueKey>) -> Span {
        if flats.len() > FEW && used.len() < MAX_SELECTORS {
            let entries = flats.iter().map(|flat| flat.entry);
            if let Some(key) = ValueKey::best(entries, used) {
                used.push(key.clone());
                let span = self.selector(flats, key, used);
                used.pop();
                return span;
            }
        }
        let start = count(&self.candidates);
        let candidates = flats.iter().map(|flat| Candidate::new(flat.rank, flat.place, flat.entry));
        self.candidates.extend(candidates);
        Span { start, length: count(flats) }
    }

    fn selector(&mut self, flats: &[Flat<'_>], key: ValueKey, used: &mut Vec<ValueKey>) -> Span {
        let mut by_value: BTreeMap<Option<u64>, Vec<Flat<'_>>> = BTreeMap::new();
        for flat in flats {
            by_value.entry(key.hash_in(self.hasher, flat.entry)).or_default().push(*flat);
        }
        let rest = by_value.remove(&None).unwrap_or_default();
        let rest = self.span(&rest, used);
        let values: Vec<(u64, Span)> = by_value
            .into_iter()
            .filter_map(|(hash, flats)| Some((hash?, self.span(&flats, used))))
            .collect();
        let start = count(&self.selectors);
        self.selectors.push(Selector::new(key, &values, rest));
        Span { start, length: SELECTOR }
    }
}

fn path_regex(entry: &RouteMatch) -> Option<&Arc<CompiledRegex>> {
    match &entry.path {
        PathPattern::Regex(Pattern::Regex(regex)) => Some(regex),
        _ => None,
    }
}

fn source(entry: &RouteMatch) -> Option<&str> {
    path_regex(entry).map(|regex| regex.source())
}

fn count<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).expect("four billion matches do not fit into memory")
}
