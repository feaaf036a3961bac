//! Matches that never win, because on each of their hosts another one always comes first.
//!
//! In: all matches in the order in which they are tried. Out: findings. Not here: matches that only
//! several others together leave nothing to, and whether one takes all of another (`cover`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    cover::{self, Broad},
    match_path,
};
use crate::{
    api::ObjectKey,
    compile::{RankedMatch, RouteTable},
    diagnostic::{Code, Diagnostic},
    matcher::{PathPattern, RouteMatch},
    resolve::topology::Rule,
};

/// Where a match is: route, rule, place in the rule.
type Place<'t> = (&'t ObjectKey, u16, usize);

/// What became of a match on the hosts seen so far.
struct Sight<'t> {
    rule: &'t Arc<Rule>,
    /// What comes first everywhere: on the last host, this.
    shadow: Option<Shadow<'t>>,
}

#[derive(Clone, Copy)]
struct Shadow<'t> {
    by: RankedMatch<'t>,
    reason: Reason,
}

/// Why what comes first does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// It asks for the same, and nothing but age and names tells them apart.
    Duplicate,
    /// It asks for less, in a way that is tried first.
    Rank,
    /// It is on a hostname that is tried first and takes all requests of the listener.
    Hostname,
}

pub(super) fn shadowed(table: &RouteTable) -> Vec<Diagnostic> {
    let mut sights: BTreeMap<Place<'_>, Sight<'_>> = BTreeMap::new();
    for lists in table.all_matches_by_rank() {
        let mut earlier = Earlier::default();
        for matches in lists {
            for found in &matches {
                let shadow = earlier.shadow_of(found);
                let place = (&found.route.key, found.rule.index, found.match_index);
                let sight = sights.entry(place).or_insert(Sight { rule: found.rule, shadow });
                sight.shadow = sight.shadow.and(shadow);
                earlier.add(*found);
            }
            matches.into_iter().for_each(|found| earlier.add_of_other_host(found));
        }
    }
    let shadowed =
        sights.into_iter().filter_map(|(place, sight)| Some((place, sight.rule, sight.shadow?)));
    shadowed.map(|(place, rule, shadow)| finding(place, rule, shadow)).collect()
}

fn finding((route, _, place): Place<'_>, rule: &Rule, shadow: Shadow<'_>) -> Diagnostic {
    let Shadow { by, reason } = shadow;
    let other = format!("{} {}", by.route.key, match_path(by.rule, by.match_index));
    let (code, message) = match reason {
        Reason::Duplicate => (
            Code::DuplicateMatch,
            format!("{other} asks for the same ({}) and comes first", by.entry),
        ),
        Reason::Rank => (
            Code::UnreachableMatch,
            format!("{other} takes every request that fits here ({})", by.entry),
        ),
        Reason::Hostname => (
            Code::UnreachableMatch,
            format!(
                "{other}, on a hostname that comes first, takes every request that fits here ({})",
                by.entry
            ),
        ),
    };
    let help = match reason {
        Reason::Hostname => "remove one of the two, or name the same hostname in both",
        _ if by.route.key == *route => {
            "remove one of the two, or ask for something else in the one that is to win"
        }
        _ => "remove one of the two; between routes the older one wins, then the name decides",
    };
    Diagnostic::warning(code, message)
        .object(route.clone())
        .field(match_path(rule, place))
        .help(help)
}

/// The matches that are tried before another one, in that order.
#[derive(Default)]
struct Earlier<'t> {
    /// The first of each kind of match, of this host.
    firsts: HashMap<String, RankedMatch<'t>>,
    /// Expressions that cover all paths with some start, by that start.
    broad: HashMap<String, Vec<RankedMatch<'t>>>,
    /// By path, those whose values are expressions: they may cover others of the same path.
    loose: HashMap<&'t str, Vec<RankedMatch<'t>>>,
    /// Those of hosts that are tried before: prefixes by their start, and all by their path.
    of_hosts: HashMap<String, Vec<RankedMatch<'t>>>,
}

impl<'t> Earlier<'t> {
    fn shadow_of(&self, found: &RankedMatch<'t>) -> Option<Shadow<'t>> {
        let shadow = |by: Option<&RankedMatch<'t>>, reason| Some(Shadow { by: *by?, reason });
        let covers = |by: &&RankedMatch<'t>| cover::covers(by.entry, found.entry);
        let of_host = cover::starts(&found.entry.path).filter_map(|start| self.of_hosts.get(start));
        let same = self.firsts.get(&identity(found.entry, found.entry.grpc));
        // A match that also takes other requests than gRPC calls.
        let wider = self.firsts.get(&identity(found.entry, false));
        let broad = cover::starts(&found.entry.path).filter_map(|start| self.broad.get(start));
        let loose = self.loose.get(path_text(found.entry));
        let by_rank = wider.into_iter().chain(broad.chain(loose).flatten());
        shadow(of_host.flatten().find(covers), Reason::Hostname)
            .or_else(|| shadow(same, Reason::Duplicate))
            .or_else(|| shadow(by_rank.into_iter().find(covers), Reason::Rank))
    }

    fn add(&mut self, found: RankedMatch<'t>) {
        let entry = found.entry;
        if let PathPattern::Regex(_) = &entry.path
            && let Some(broad) = Broad::of(&entry.path)
        {
            self.broad.entry(broad.start).or_default().push(found);
        }
        if cover::has_expressions(entry) {
            self.loose.entry(path_text(entry)).or_default().push(found);
        }
        self.firsts.entry(identity(entry, entry.grpc)).or_insert(found);
    }

    /// Whatever comes now is on another host, which is tried after that of `found`.
    fn add_of_other_host(&mut self, found: RankedMatch<'t>) {
        self.firsts.clear();
        let start = Broad::of(&found.entry.path)
            .map_or_else(|| path_text(found.entry).to_owned(), |broad| broad.start);
        self.of_hosts.entry(start).or_default().push(found);
    }
}

fn path_text(entry: &RouteMatch) -> &str {
    match &entry.path {
        PathPattern::Exact(text) | PathPattern::Prefix(text) => text,
        PathPattern::Regex(pattern) => pattern.source(),
    }
}

/// Equal for matches that ask for the same, in whatever order.
fn identity(entry: &RouteMatch, grpc: bool) -> String {
    let mut entry = RouteMatch { grpc, ..entry.clone() };
    entry.headers.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
    entry.query_params.sort_by(|a, b| a.name.cmp(&b.name));
    format!("{entry:?}")
}
