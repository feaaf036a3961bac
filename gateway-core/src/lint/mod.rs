//! What is allowed but hardly meant: matches that never win, rules that can only fail.
//!
//! In: a [`RouteTable`]. Out: [`Diagnostic`]s. Not here: what is wrong with a single object
//! (`validate`) and routes or hostnames that no listener takes, which `resolve` reports.

mod cover;
mod shadow;

use std::sync::Arc;

use crate::{
    compile::{LiteralStart, Rest, RouteTable},
    diagnostic::{Code, Diagnostic, FieldPath},
    matcher::{PathPattern, Pattern, RouteMatch},
    resolve::topology::{Route, Rule},
};

/// Looks at every route of `table`. Findings are ordered by route.
///
/// Takes time in proportion to the number of matches, times the number of hosts they are on.
#[must_use]
pub fn lint(table: &RouteTable) -> Vec<Diagnostic> {
    let mut findings = shadow::shadowed(table);
    for route in table.routes() {
        for rule in &route.rules {
            findings.extend(weightless(route, rule));
            findings.extend(plain_expressions(route, rule));
        }
    }
    findings.sort_by(|a, b| a.object.cmp(&b.object));
    findings
}

fn rule_path(rule: &Rule) -> FieldPath {
    FieldPath::from("spec.rules").index(usize::from(rule.index))
}

/// The field of a match. A rule that names none has one that is not in the resource.
fn match_path(rule: &Rule, place: usize) -> FieldPath {
    match &*rule.matches {
        [only] if *only == RouteMatch::any() => rule_path(rule),
        _ => rule_path(rule).field("matches").index(place),
    }
}

fn weightless(route: &Arc<Route>, rule: &Rule) -> Option<Diagnostic> {
    let backends = rule.backends.as_slice();
    if backends.is_empty() || backends.iter().any(|backend| backend.weight > 0) {
        return None;
    }
    let message = "every backend has weight 0, so requests are answered with 500";
    let finding = Diagnostic::warning(Code::NoWeight, message)
        .object(route.key.clone())
        .field(rule_path(rule).field("backendRefs"))
        .help("give a weight to at least one backend, or leave the weights out");
    Some(finding)
}

fn plain_expressions(route: &Arc<Route>, rule: &Rule) -> impl Iterator<Item = Diagnostic> {
    let matches = rule.matches.iter().enumerate();
    matches.filter_map(|(place, entry)| {
        let PathPattern::Regex(Pattern::Regex(regex)) = &entry.path else { return None };
        let start = LiteralStart::of(regex.source());
        let kind = match start.rest {
            Rest::Nothing => "Exact",
            Rest::Below => "PathPrefix",
            Rest::Other => return None,
        };
        let message = format!("the expression {} is the path {}", regex.source(), start.text);
        let help = format!("write type {kind} and value {}", start.text);
        let finding = Diagnostic::note(Code::PlainExpression, message)
            .object(route.key.clone())
            .field(match_path(rule, place).field("path"))
            .help(help);
        Some(finding)
    })
}
