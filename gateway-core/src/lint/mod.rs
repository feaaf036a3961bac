//! What is allowed but hardly meant: matches that never win, rules that can only fail.
//!
//! In: a [`RouteTable`], and the resources that it comes from. Out: [`Diagnostic`]s. Not here: what
//! is wrong with a single object (`validate`), and references and parents that fail (`resolve`).

mod cover;
mod encoding;
mod grant;
mod route;
mod shadow;

use std::sync::Arc;

use crate::{
    api::Kind,
    compile::{LiteralStart, Rest, RouteTable},
    diagnostic::{Code, Diagnostic, FieldPath},
    matcher::{PathPattern, Pattern, RouteMatch},
    resolve::{
        StatusReport,
        topology::{Route, Rule},
    },
    snapshot::Snapshot,
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
            findings.extend(odd_encodings(route, rule));
        }
    }
    findings.sort_by(|a, b| a.object.cmp(&b.object));
    findings
}

/// Looks at the resources for what has no effect: hostnames that no listener serves, routes without
/// parent, grants that nothing makes use of. `table` and `status` are what came of `snapshot`.
///
/// ```
/// use gateway_core::{
///     api::{Gateway, HttpRoute, Listener}, build::build, diagnostic::Code,
///     lint::lint_resources, scope::ControllerScope, snapshot::Snapshot,
/// };
/// let route = HttpRoute::new("shop", "cart").parent("public");
/// let snapshot = Snapshot::from_iter([
///     Gateway::new("shop", "public")
///         .listener(Listener::http("web", 80).hostname("*.example.com"))
///         .into(),
///     route.hostname("shop.example.com").hostname("shop.example.org").into(),
/// ]);
/// let build = build(&snapshot, &ControllerScope::all());
/// let findings = lint_resources(&snapshot, &build.table, &build.status);
/// assert_eq!(findings[0].code, Code::HostnameNotServed);
/// assert_eq!(findings[0].field.as_str(), "spec.hostnames[1]");
/// ```
#[must_use]
pub fn lint_resources(
    snapshot: &Snapshot,
    table: &RouteTable,
    status: &StatusReport,
) -> Vec<Diagnostic> {
    let mut findings = route::idle(table, snapshot, status);
    findings.extend(grant::unused(snapshot));
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

fn plain_expressions(route: &Arc<Route>, rule: &Rule) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    let mut find = |field: FieldPath, plain: Option<(String, String)>| {
        if let Some((message, help)) = plain {
            let finding = Diagnostic::note(Code::PlainExpression, message);
            findings.push(finding.object(route.key.clone()).field(field).help(help));
        }
    };
    for (place, entry) in rule.matches.iter().enumerate() {
        let path = match_path(rule, place);
        // The path of a GRPCRoute is made of service and method.
        if let (Kind::HttpRoute, PathPattern::Regex(pattern)) = (route.key.kind, &entry.path) {
            find(path.field("path"), plain_path(pattern));
        }
        for (index, header) in entry.headers.iter().enumerate() {
            find(path.field("headers").index(index), plain_value(&header.value));
        }
        for (index, param) in entry.query_params.iter().enumerate() {
            find(path.field("queryParams").index(index), plain_value(&param.value));
        }
    }
    findings
}

// The path of a GRPCRoute is made of service and method, which need no encoding.
fn odd_encodings<'a>(
    route: &'a Route,
    rule: &'a Rule,
) -> impl Iterator<Item = Diagnostic> + use<'a> {
    let matches = rule.matches.iter().enumerate();
    matches.filter_map(|(place, entry)| {
        let PathPattern::Regex(pattern) = &entry.path else { return None };
        let (odd, normal) = encoding::odd_encoding(pattern.source())?;
        let message = format!(
            "the expression {} asks for {odd}, which a path in its normal form has as {normal}",
            pattern.source()
        );
        let finding = Diagnostic::warning(Code::OddEncoding, message)
            .object(route.key.clone())
            .field(match_path(rule, place).field("path"))
            .help(format!("write {normal}"));
        Some(finding)
    })
}

/// Message and help, if the expression has a plain form.
fn plain_path(pattern: &Pattern) -> Option<(String, String)> {
    let start = LiteralStart::of(pattern.source());
    let kind = match start.rest {
        Rest::Nothing => "Exact",
        Rest::Below => "PathPrefix",
        Rest::Other => return None,
    };
    let message = format!("the expression {} is the path {}", pattern.source(), start.text);
    Some((message, format!("write type {kind} and value {}", start.text)))
}

fn plain_value(pattern: &Pattern) -> Option<(String, String)> {
    let Pattern::Regex(regex) = pattern else { return None };
    let start = LiteralStart::of(regex.source());
    let message = format!("the expression {:?} is the value {:?}", regex.source(), start.text);
    let help = format!("write type Exact and value {:?}", start.text);
    (start.rest == Rest::Nothing).then_some((message, help))
}
