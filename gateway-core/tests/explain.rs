//! An explanation comes to the same as the decision, and reads well.

mod topology;

use gateway_core::{
    api::{Gateway, HttpMethod, HttpRoute, HttpRouteFilter, HttpRouteRule, Listener, Service},
    build::build,
    compile::{Ingress, RouteTable},
    decide::{Decision, Respond, decide},
    explain::{Explanation, Outcome, Verdict, explain},
    matcher::RequestHead,
    scope::ControllerScope,
    snapshot::Snapshot,
};
use proptest::prelude::*;

/// The decision in the words of an explanation: where it goes, or the answer.
fn decided(decision: &Decision<'_>) -> String {
    match decision {
        Decision::Forward(forward) => {
            let found = &forward.found;
            format!("{} {} {}", found.route.key, found.rule.index, found.match_index)
        }
        Decision::Respond(Respond { status, grpc_status, cause }) => {
            format!("{status} {grpc_status:?} {cause}")
        }
    }
}

fn explained(explanation: &Explanation) -> String {
    match &explanation.verdict {
        Verdict::Forward { winner, .. } => {
            format!("{} {} {}", winner.route, winner.rule, winner.match_index)
        }
        Verdict::Respond { status, grpc_status, cause } => {
            format!("{status} {grpc_status:?} {cause}")
        }
    }
}

/// Whether the winner is listed, and the answer is that of the decision. The rules of these
/// topologies have neither filters nor backends.
fn check_answer(explanation: &Explanation, decision: &Decision<'_>) -> Result<(), TestCaseError> {
    if let (Verdict::Forward { winner, outcome, .. }, Decision::Forward(forward)) =
        (&explanation.verdict, decision)
    {
        let listed = explanation.hosts.last().map(|host| host.matches.contains(winner));
        prop_assert_eq!(listed, Some(true));
        match outcome {
            Outcome::Answered { cause, .. } => {
                let decided = forward.backend.err().map(|cause| cause.as_str());
                prop_assert_eq!(Some(*cause), decided);
            }
            outcome => prop_assert_eq!(outcome, &Outcome::Unknown),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(topology::cases(100))]
    #[test]
    fn the_explanation_comes_to_the_decision(
        topology in topology::topology(),
        requests in proptest::collection::vec(topology::request(), 40),
    ) {
        let table = RouteTable::compile(&topology, 1);
        for request in &requests {
            for ((bind, _), tls) in table.binds().zip([None, Some(request.sni)]) {
                let ingress = Ingress { bind, tls };
                let explanation = explain(&table, &ingress, &request.head());
                let decision = decide(&table, &ingress, &request.head(), |_| 0);
                prop_assert_eq!(explained(&explanation), decided(&decision), "{:?}", request);
                check_answer(&explanation, &decision)?;
                let is_miss = matches!(explanation.verdict, Verdict::Respond { .. });
                prop_assert!(is_miss || explanation.nearest_miss.is_none());
            }
        }
    }
}

fn table() -> RouteTable {
    let canary = HttpRouteRule::new()
        .path_prefix("/cart")
        .header("x-canary", "1")
        .backend("cart-next", 8080);
    let stable =
        HttpRouteRule::new().path_prefix("/cart").method(HttpMethod::Get).backend("cart", 8080);
    let snapshot = Snapshot::from_iter([
        Gateway::new("shop", "public").listener(Listener::http("web", 80)).into(),
        HttpRoute::new("shop", "cart")
            .parent("public")
            .hostname("shop.example.com")
            .rule(canary)
            .rule(stable)
            .into(),
        Service::new("shop", "cart").port(8080).into(),
    ]);
    build(&snapshot, &ControllerScope::all()).table
}

#[track_caller]
fn check(request: http::request::Builder, expect: &str) {
    let table = table();
    let ingress = Ingress::plain(table.bind_on_port(80).expect("the Gateway listens there"));
    let (parts, ()) = request.body(()).expect("a valid request").into_parts();
    let explanation = explain(&table, &ingress, &RequestHead::of(&parts));
    assert_eq!(explanation.to_string(), expect);
    serde_json::to_string(&explanation).expect("explanations can be written as JSON");
}

#[test]
fn a_hit_shows_what_lost_and_why() {
    check(
        http::Request::get("http://shop.example.com/cart/1"),
        "\
GET shop.example.com/cart/1
├─ listener Gateway shop/public web (*): chosen: the most specific for the host
├─ host shop.example.com
│  ├─ HTTPRoute shop/cart rule 1 match 0: prefix /cart, method GET: wins
│  └─ HTTPRoute shop/cart rule 0 match 0: prefix /cart, header x-canary = 1
│     └─ header x-canary must be \"1\", but there is none
└─ served by HTTPRoute shop/cart rule 1
   └─ backend shop/cart:8080: 100.0 % of the requests
",
    );
}

#[test]
fn a_miss_shows_what_came_nearest() {
    check(
        http::Request::post("http://shop.example.com/cart").header("x-canary", "2"),
        "\
POST shop.example.com/cart
├─ listener Gateway shop/public web (*): chosen: the most specific for the host
├─ host shop.example.com
│  ├─ HTTPRoute shop/cart rule 1 match 0: prefix /cart, method GET
│  │  └─ method must be \"GET\", but is \"POST\"
│  └─ HTTPRoute shop/cart rule 0 match 0: prefix /cart, header x-canary = 1
│     └─ header x-canary must be \"1\", but is \"2\"
├─ answered with 404: no-route
└─ nearest miss: HTTPRoute shop/cart rule 1 match 0: prefix /cart, method GET
   └─ method must be \"GET\", but is \"POST\"
",
    );
    check(
        http::Request::get("http://shop.example.com/card"),
        "\
GET shop.example.com/card
├─ listener Gateway shop/public web (*): chosen: the most specific for the host
├─ host shop.example.com
│  └─ 2 with another path
├─ answered with 404: no-route
└─ nearest miss: HTTPRoute shop/cart rule 1 match 0: prefix /cart, method GET
   └─ path must be \"prefix /cart\", but is \"/card\"
",
    );
    check(
        http::Request::get("http://example.com/"),
        "\
GET example.com/
├─ listener Gateway shop/public web (*): chosen: the most specific for the host
└─ answered with 404: no-route
",
    );
}

#[test]
fn an_invalid_backend_is_named() {
    check(
        http::Request::post("http://shop.example.com/cart").header("x-canary", "1"),
        "\
POST shop.example.com/cart
├─ listener Gateway shop/public web (*): chosen: the most specific for the host
├─ host shop.example.com
│  ├─ HTTPRoute shop/cart rule 1 match 0: prefix /cart, method GET
│  │  └─ method must be \"GET\", but is \"POST\"
│  └─ HTTPRoute shop/cart rule 0 match 0: prefix /cart, header x-canary = 1: wins
└─ served by HTTPRoute shop/cart rule 0
   ├─ invalid backend (it does not exist, or its port does not): 500 to 100.0 % of the requests
   └─ answered with 500: invalid-backend
",
    );
}

#[test]
fn the_winner_among_many_is_listed() {
    let tenant = |n: u32| {
        let rule = HttpRouteRule::new().path_prefix("/").header("x-tenant", n.to_string());
        HttpRoute::new("shop", format!("tenant-{n:03}")).parent("public").rule(rule).into()
    };
    let gateway = Gateway::new("shop", "public").listener(Listener::http("web", 80)).into();
    let snapshot = Snapshot::from_iter((0..200).map(tenant).chain([gateway]));
    let table = build(&snapshot, &ControllerScope::all()).table;
    let ingress = Ingress::plain(table.bind_on_port(80).expect("the Gateway listens there"));
    let request = http::Request::get("http://shop.example.com/").header("x-tenant", "177");
    let (parts, ()) = request.body(()).expect("a valid request").into_parts();

    let explanation = explain(&table, &ingress, &RequestHead::of(&parts));
    let Verdict::Forward { winner, .. } = &explanation.verdict else { panic!("{explanation}") };
    assert_eq!(winner.route, "HTTPRoute shop/tenant-177");
    assert!(explanation.hosts[0].matches.contains(winner));
    assert_eq!(explanation.hosts[0].matches.len() + explanation.hosts[0].not_listed, 200);
}

/// What becomes of `/old/a?b=c` under a rule, as the last lines tell.
#[track_caller]
fn check_outcome(rule: HttpRouteRule, expect: &[&str]) {
    let snapshot = Snapshot::from_iter([
        Gateway::new("shop", "public").listener(Listener::http("web", 80)).into(),
        HttpRoute::new("shop", "a").parent("public").rule(rule.path_prefix("/old")).into(),
        HttpRoute::new("shop", "b").parent("public").rule(HttpRouteRule::new()).into(),
        Service::new("shop", "cart").port(8080).into(),
    ]);
    let table = build(&snapshot, &ControllerScope::all()).table;
    let ingress = Ingress::plain(table.bind_on_port(80).expect("the Gateway listens there"));
    let request = http::Request::get("http://shop.example.com/old/a?b=c").body(());
    let (parts, ()) = request.expect("a valid request").into_parts();
    let explanation = explain(&table, &ingress, &RequestHead::of(&parts)).to_string();
    let lines: Vec<&str> = explanation.lines().skip(4).collect();
    assert_eq!(lines, expect);
}

#[test]
fn filters_are_tried() {
    let loser = "│  └─ HTTPRoute shop/b rule 0 match 0: prefix /: fits, but comes later, \
                 the other's path is longer";
    check_outcome(
        HttpRouteRule::new().filter(HttpRouteFilter::redirect_to_https()),
        &[
            loser,
            "└─ served by HTTPRoute shop/a rule 0",
            "   ├─ filter: redirect with 301, scheme https",
            "   └─ answered with 301: redirect, location \"https://shop.example.com/old/a?b=c\"",
        ],
    );
    let rewrite = HttpRouteFilter::replace_prefix("/new");
    check_outcome(
        HttpRouteRule::new().filter(rewrite).backend("cart", 8080),
        &[
            loser,
            "└─ served by HTTPRoute shop/a rule 0",
            "   ├─ filter: rewrite, matched prefix becomes /new",
            "   ├─ backend shop/cart:8080: 100.0 % of the requests",
            "   └─ forwarded as \"/new/a?b=c\" of host \"shop.example.com\"",
        ],
    );
    check_outcome(
        HttpRouteRule::new(),
        &[loser, "└─ served by HTTPRoute shop/a rule 0", "   └─ answered with 500: no-backend"],
    );
}
