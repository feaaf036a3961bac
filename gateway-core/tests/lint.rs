//! What lints say of resources, and that they never lie.
//!
//! Goldens are under `testdata/lint`; `BLESS=1 cargo test -p gateway-core --test lint` rewrites them.

#[cfg(feature = "yaml")]
mod golden;
mod topology;

use std::collections::BTreeSet;

use gateway_core::{
    api::{Gateway, HttpMethod, HttpRoute, HttpRouteRule, Listener, Service},
    build::build,
    compile::{Ingress, RouteTable},
    diagnostic::Code,
    lint::lint,
    scope::ControllerScope,
    snapshot::Snapshot,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(topology::cases(200))]
    #[test]
    fn a_match_that_is_called_unreachable_never_wins(
        topology in topology::topology(),
        requests in proptest::collection::vec(topology::request(), 60),
    ) {
        let table = RouteTable::compile(&topology, 1);
        let findings = lint(&table);
        let is_shadow =
            |code: Code| matches!(code, Code::DuplicateMatch | Code::UnreachableMatch);
        let unreachable: BTreeSet<(String, String)> = findings
            .iter()
            .filter(|finding| is_shadow(finding.code))
            .map(|finding| (format!("{:?}", finding.object), finding.field.to_string()))
            .collect();
        for request in &requests {
            for ((bind, _), tls) in table.binds().zip([None, Some(request.sni)]) {
                let Ok(found) = table.find(&Ingress { bind, tls }, &request.head()) else { continue };
                let place = format!("spec.rules[{}].matches[{}]", found.rule.index, found.match_index);
                let key = (format!("{:?}", Some(&found.route.key)), place);
                prop_assert!(!unreachable.contains(&key), "{key:?} wins {request:?}");
            }
        }
    }
}

fn rule() -> HttpRouteRule {
    HttpRouteRule::new().backend("web", 80)
}

/// Checks the findings of a route `a` with `older` and a younger route `b` with `younger`.
#[track_caller]
fn check(older: Vec<HttpRouteRule>, younger: Vec<HttpRouteRule>, expect: &[&str]) {
    let route = |name: &str, rules: Vec<HttpRouteRule>| {
        let route = HttpRoute::new("shop", name).parent("public");
        rules.into_iter().fold(route, HttpRoute::rule)
    };
    let snapshot = Snapshot::from_iter([
        Gateway::new("shop", "public").listener(Listener::http("web", 80)).into(),
        Service::new("shop", "web").port(80).into(),
        route("a", older).into(),
        route("b", younger).into(),
    ]);
    let findings = lint(&build(&snapshot, &ControllerScope::all()).table);
    let got: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(got, expect);
}

#[test]
fn matches_that_never_win() {
    let canary = || rule().path_prefix("/cart").header("x-a", "1").header("x-b", "2");
    check(
        vec![canary()],
        vec![rule().path_prefix("/cart/").header("x-b", "2").header("X-A", "1")],
        &[
            "warning[GW0601]: HTTPRoute shop/a spec.rules[0].matches[0] asks for the same (prefix /cart, \
           header x-a = 1, header x-b = 2) and comes first (HTTPRoute shop/b spec.rules[0].matches[0])",
        ],
    );
    check(
        vec![rule().path_regex("/.*")],
        vec![rule().path_prefix("/cart").method(HttpMethod::Get)],
        &[
            "warning[GW0602]: HTTPRoute shop/a spec.rules[0].matches[0] takes every request that fits here \
           (expression /.*) (HTTPRoute shop/b spec.rules[0].matches[0])",
        ],
    );
    check(vec![rule().path_prefix("/")], vec![rule().path_exact("/cart")], &[]);
    check(vec![canary()], vec![rule().path_prefix("/cart").header("x-a", "1")], &[]);
    check(vec![rule().path_regex("/[a-z]+/.*")], vec![rule().path_prefix("/cart")], &[]);
}

#[test]
fn expressions_that_are_plain_paths() {
    check(
        vec![rule().path_regex(r"/v1\.0")],
        vec![rule().path_regex("/cart(/.*)?"), rule().path_regex("/cart[0-9]")],
        &[
            r"note[GW0604]: the expression /v1\.0 is the path /v1.0 (HTTPRoute shop/a spec.rules[0].matches[0].path)",
            "note[GW0604]: the expression /cart(/.*)? is the path /cart (HTTPRoute shop/b spec.rules[0].matches[0].path)",
        ],
    );
}

#[test]
fn rules_without_a_weight() {
    let mut none = rule().path_prefix("/none");
    for backend in &mut none.backend_refs {
        backend.weight = Some(0);
    }
    check(
        vec![none],
        vec![rule().path_prefix("/some")],
        &["warning[GW0603]: every backend has weight 0, so requests are answered with 500 \
           (HTTPRoute shop/a spec.rules[0].backendRefs)"],
    );
}

#[cfg(feature = "yaml")]
#[test]
fn goldens() {
    use gateway_core::{lint::lint_resources, source::Sources};

    golden::check("lint", |name, text| {
        let mut sources = Sources::default();
        let loaded = sources.load(name, text);
        assert!(loaded.diagnostics.is_empty(), "{name}: {:?}", loaded.diagnostics);
        let resources = loaded.resources.into_iter().map(|(resource, _)| resource);
        let snapshot = Snapshot::from_iter(resources);
        let build = build(&snapshot, &ControllerScope::all());
        let mut findings = lint(&build.table);
        findings.extend(lint_resources(&snapshot, &build.table, &build.status));
        let mut out = String::new();
        for mut finding in findings {
            sources.place(&mut finding);
            golden::write_diagnostic(&mut out, &finding);
        }
        out
    });
}
