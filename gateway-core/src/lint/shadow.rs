//! Matches that never win, because on each of their hosts another one always comes first.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{cover, match_path};
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
    is_duplicate: bool,
}

pub(super) fn shadowed(table: &RouteTable) -> Vec<Diagnostic> {
    let mut sights: BTreeMap<Place<'_>, Sight<'_>> = BTreeMap::new();
    for matches in table.all_matches_by_rank() {
        let mut host = Host::default();
        for found in matches {
            let shadow = host.shadow_of(&found);
            let place = (&found.route.key, found.rule.index, found.match_index);
            let sight = sights.entry(place).or_insert(Sight { rule: found.rule, shadow });
            sight.shadow = sight.shadow.and(shadow);
            host.add(found);
        }
    }
    let shadowed =
        sights.into_iter().filter_map(|(place, sight)| Some((place, sight.rule, sight.shadow?)));
    shadowed.map(|(place, rule, shadow)| finding(place, rule, shadow)).collect()
}

fn finding((route, _, place): Place<'_>, rule: &Rule, shadow: Shadow<'_>) -> Diagnostic {
    let Shadow { by, is_duplicate } = shadow;
    let other = format!("{} {}", by.route.key, match_path(by.rule, by.match_index));
    let (code, message) = if is_duplicate {
        (Code::DuplicateMatch, format!("{other} asks for the same ({}) and comes first", by.entry))
    } else {
        let message = format!("{other} takes every request that fits here ({})", by.entry);
        (Code::UnreachableMatch, message)
    };
    let help = if by.route.key == *route {
        "remove one of the two, or ask for something else in the one that is to win"
    } else {
        "remove one of the two; between routes the older one wins, then the name decides"
    };
    Diagnostic::warning(code, message)
        .object(route.clone())
        .field(match_path(rule, place))
        .help(help)
}

/// The matches of a host that came so far, in the order of their rank.
#[derive(Default)]
struct Host<'t> {
    /// The first of each kind of match.
    firsts: HashMap<String, RankedMatch<'t>>,
    /// Expressions that cover whole prefixes.
    broad: Vec<RankedMatch<'t>>,
    /// By path, those whose values are expressions: they may cover others of the same path.
    loose: HashMap<&'t str, Vec<RankedMatch<'t>>>,
}

impl<'t> Host<'t> {
    fn shadow_of(&self, found: &RankedMatch<'t>) -> Option<Shadow<'t>> {
        let same = self.firsts.get(&identity(found.entry, found.entry.grpc));
        if let Some(by) = same {
            return Some(Shadow { by: *by, is_duplicate: true });
        }
        // A match that also takes other requests than gRPC calls.
        let wider = self.firsts.get(&identity(found.entry, false));
        let loose = self.loose.get(path_text(found.entry)).into_iter().flatten();
        let by = wider.into_iter().chain(&self.broad).chain(loose);
        let by = by.copied().find(|by| cover::covers(by.entry, found.entry))?;
        Some(Shadow { by, is_duplicate: false })
    }

    fn add(&mut self, found: RankedMatch<'t>) {
        let entry = found.entry;
        if cover::is_broad(&entry.path) {
            self.broad.push(found);
        }
        if cover::has_expressions(entry) {
            self.loose.entry(path_text(entry)).or_default().push(found);
        }
        self.firsts.entry(identity(entry, entry.grpc)).or_insert(found);
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
