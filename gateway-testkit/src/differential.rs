//! The reference beside the library on one scenario.

use std::collections::BTreeMap;

use crate::{
    corpus::{Conditions, Engine, ObjectOutcome, ObjectStatus, Outcome, object_outcome},
    library::Library,
    reference::{Reference, Verdict},
    scenario::Scenario,
};

/// Sendings of one request at most, so that every share of its backends comes up.
const SENDINGS: u64 = 12;

/// The first difference between reference and library; none if they agree.
#[must_use]
pub fn difference(scenario: &Scenario) -> Option<String> {
    let mut library = Library::new(&scenario.resources);
    let reference = Reference::new(&scenario.resources);
    status_difference(&reference, &library)
        .or_else(|| decision_difference(scenario, &reference, &mut library))
}

/// Reduces `scenario` to what it takes to differ, and describes it as a case of the corpus.
#[must_use]
pub fn describe(scenario: &Scenario) -> String {
    let small = scenario.reduce(|smaller| difference(smaller).is_some());
    let found = difference(&small).unwrap_or_default();
    format!(
        "reference and library differ: {found}\nRead in the specification who is right; the case \
         makes a golden:\n\n{}",
        small.to_yaml()
    )
}

fn decision_difference(
    scenario: &Scenario,
    reference: &Reference,
    library: &mut Library,
) -> Option<String> {
    scenario.requests.iter().find_map(|request| {
        let verdict = reference.verdict(request);
        let sendings = match &verdict {
            Verdict::Always(_) => 1,
            Verdict::Shares(shares) => shares.iter().map(|(weight, _)| weight).sum(),
        };
        // Which share comes first is not specified; over all sendings the counts are.
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for turn in 0..sendings.min(SENDINGS) {
            *counts.entry(verdict.at(turn).to_string()).or_default() += 1;
            *counts.entry(library.decide(request, turn).to_string()).or_default() -= 1;
        }
        counts.retain(|_, count| *count != 0);
        let side = |sign: i64| {
            let mine = counts.iter().filter(|(_, count)| **count * sign > 0);
            let mine: Vec<_> = mine.map(|(it, n)| format!("{}x {it}", n.abs())).collect();
            mine.join("\n    ")
        };
        let (expected, got) = (side(1), side(-1));
        (!counts.is_empty())
            .then(|| format!("{request}\n  reference {expected}\n  library   {got}"))
    })
}

fn status_difference(reference: &Reference, library: &Library) -> Option<String> {
    let of = |statuses: Vec<ObjectStatus>| {
        let entry = |it: ObjectStatus| (it.object, object_outcome(&it.status));
        Outcome { status: statuses.into_iter().map(entry).collect(), decisions: Vec::new() }
    };
    let expected = of(reference.status());
    let got = reference.narrow(of(library.status()));
    expected.status.iter().find_map(|(name, expected)| {
        let got = got.status.get(name).cloned().unwrap_or_default();
        let (expected, got) = (comparable(expected), comparable(&got));
        (expected != got)
            .then(|| format!("status of {name}\n  reference {expected:?}\n  library   {got:?}"))
    })
}

/// What the reference knows of a status, in one order.
fn comparable(object: &ObjectOutcome) -> Comparable {
    let listeners = object.listeners.iter();
    let attached = listeners.map(|(name, listener)| (name.clone(), listener.attached_routes));
    Comparable { parents: object.parents.clone(), attached: attached.collect() }
}

#[derive(Debug, PartialEq)]
struct Comparable {
    parents: BTreeMap<String, Conditions>,
    attached: Vec<(String, Option<u64>)>,
}
