//! An explanation comes to the same as the decision, and reads well.

mod topology;

use gateway_core::{
    api::{Gateway, HttpMethod, HttpRoute, HttpRouteRule, Listener, Service},
    build::build,
    compile::{Ingress, RouteTable},
    decide::{Decision, Respond, decide},
    explain::{Explanation, Verdict, explain},
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
   └─ invalid backend (it does not exist, or its port does not): 500 to 100.0 % of the requests
",
    );
}
