//! Objects that no validation has seen, and clusters that behave oddly: nothing crashes, statuses say
//! it, and what others have is served on.

use std::{collections::BTreeSet, time::Duration};

use gateway_kube::Notice;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    CLASSES, GATEWAYS, LISTENER_SETS, ROUTES, class, condition,
    fake::Fake,
    gateway, route,
    running::{Replica, run},
};

const NAMESPACES: &str = "/namespaces";
const GRANTS: &str = "gateway.networking.k8s.io/referencegrants";

fn conditions(fake: &Fake, resource: &str, name: &str) -> Value {
    let namespace = if resource == CLASSES { "" } else { "shop" };
    let status = fake.get(resource, namespace, name)["status"].clone();
    match resource {
        ROUTES => status["parents"][0]["conditions"].clone(),
        _ => status["conditions"].clone(),
    }
}

/// Status, reason and message of the condition Accepted.
fn accepted(fake: &Fake, resource: &str, name: &str) -> (String, String, String) {
    let conditions = conditions(fake, resource, name);
    let accepted = condition(&conditions, "Accepted");
    let text = |field: &str| accepted[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn names(replica: &Replica) -> Vec<String> {
    replica.plane.served().names.into_iter().collect()
}

/// A Gateway in which one field has a value of a wrong type.
fn odd_gateway(name: &str) -> Value {
    let mut odd = gateway(name);
    odd["spec"]["listeners"][0]["port"] = "eighty".into();
    odd
}

fn listener_set(name: &str, listeners: &Value) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"parentRef": {"name": "gw"}, "listeners": listeners},
    })
}

fn start_with_two_gateways() -> (Fake, Replica) {
    let fake = Fake::new();
    fake.state().kinds.push(("ListenerSet", "listenersets"));
    fake.apply(CLASSES, class());
    fake.apply(GATEWAYS, gateway("gw"));
    fake.apply(GATEWAYS, gateway("other"));
    fake.apply(ROUTES, route("a", "gw"));
    fake.apply(ROUTES, route("b", "other"));
    let replica = Replica::start(&fake);
    (fake, replica)
}

#[test]
fn what_becomes_unreadable_is_served_on_and_its_status_says_so() {
    run(async {
        let (fake, replica) = start_with_two_gateways();
        fake.until(|fake| accepted(fake, GATEWAYS, "gw").0 == "True").await;
        fake.until(|fake| accepted(fake, ROUTES, "a").0 == "True").await;
        let before = conditions(&fake, GATEWAYS, "gw");
        let listeners = fake.get(GATEWAYS, "shop", "gw")["status"]["listeners"].clone();
        fake.apply(GATEWAYS, odd_gateway("gw"));
        fake.until(|fake| accepted(fake, GATEWAYS, "gw").0 == "False").await;
        let (_, reason, message) = accepted(&fake, GATEWAYS, "gw");
        assert_eq!(reason, "Invalid");
        assert!(message.contains("spec.listeners[0].port"), "{message}");
        assert!(message.contains("generation 1 is served on"), "{message}");
        let after = conditions(&fake, GATEWAYS, "gw");
        assert_eq!(condition(&after, "Accepted")["observedGeneration"], 2);
        assert_eq!(condition(&after, "Programmed"), condition(&before, "Programmed"));
        assert_eq!(fake.get(GATEWAYS, "shop", "gw")["status"]["listeners"], listeners);

        // A class of which something cannot be read is no reason to stop either.
        let mut odd = class();
        odd["spec"]["description"] = 7.into();
        fake.apply(CLASSES, odd);
        fake.until(|fake| accepted(fake, CLASSES, "ours").0 == "False").await;
        let (_, reason, message) = accepted(&fake, CLASSES, "ours");
        assert_eq!(reason, "Invalid");
        assert!(message.contains("spec.description"), "{message}");
        // Not even when everything is listed anew.
        fake.cut(true);
        fake.apply(ROUTES, route("c", "gw"));
        fake.until(|fake| accepted(fake, ROUTES, "c").0 == "True").await;
        assert_eq!(names(&replica), ["a", "b", "c"]);
        assert_eq!(accepted(&fake, GATEWAYS, "other").0, "True");

        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.until(|fake| accepted(fake, CLASSES, "ours").0 == "True").await;
        fake.until(|fake| accepted(fake, GATEWAYS, "gw").0 == "True").await;
        // Deleted is deleted, readable or not.
        fake.apply(GATEWAYS, odd_gateway("gw"));
        fake.until(|fake| accepted(fake, GATEWAYS, "gw").0 == "False").await;
        fake.delete(GATEWAYS, "shop", "gw");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(names(&replica), ["b"]);
        replica.end().await;
    });
}

#[test]
fn a_listener_set_that_becomes_unreadable_is_served_on() {
    run(async {
        let (fake, replica) = start_with_two_gateways();
        let mut open = gateway("gw");
        open["spec"]["allowedListeners"] = json!({"namespaces": {"from": "Same"}});
        fake.apply(GATEWAYS, open);
        let listeners = json!([{"name": "l", "port": 8080, "protocol": "HTTP"}]);
        fake.apply(LISTENER_SETS, listener_set("set", &listeners));
        let mut of_set = route("s", "set");
        of_set["spec"]["parentRefs"][0]["kind"] = "ListenerSet".into();
        fake.apply(ROUTES, of_set);
        fake.until(|fake| accepted(fake, ROUTES, "s").0 == "True").await;
        fake.apply(LISTENER_SETS, listener_set("set", &json!("all")));
        fake.until(|fake| accepted(fake, LISTENER_SETS, "set").1 == "Invalid").await;
        let message = accepted(&fake, LISTENER_SETS, "set").2;
        assert!(message.contains("spec.listeners:"), "{message}");
        sleep(Duration::from_secs(5)).await;
        assert_eq!(names(&replica), ["a", "b", "s"]);
        replica.end().await;
    });
}

#[test]
fn what_could_never_be_read_has_a_status_and_disturbs_nobody() {
    run(async {
        let fake = Fake::new();
        fake.state().kinds.push(("ListenerSet", "listenersets"));
        let mut odd_class = class();
        odd_class["metadata"]["name"] = "odd".into();
        odd_class["spec"]["parametersRef"] = "large".into();
        let mut of_odd_class = gateway("of-odd");
        of_odd_class["spec"]["gatewayClassName"] = "odd".into();
        let mut odd_route = route("odd", "gw");
        odd_route["spec"]["rules"] = json!([{"matches": {"path": "/"}}]);
        let mut theirs = odd_gateway("theirs");
        theirs["spec"]["gatewayClassName"] = "theirs".into();
        for class in [class(), odd_class] {
            fake.apply(CLASSES, class);
        }
        for gateway in [gateway("gw"), odd_gateway("odd"), of_odd_class, theirs] {
            fake.apply(GATEWAYS, gateway);
        }
        // Nothing of these says whose they are.
        let shapeless =
            |name| json!({"metadata": {"namespace": "shop", "name": name}, "spec": "?"});
        for (resource, name) in [(CLASSES, "shapeless"), (GATEWAYS, "shapeless")] {
            fake.apply(resource, shapeless(name));
        }
        fake.apply(LISTENER_SETS, shapeless("shapeless"));
        fake.apply(LISTENER_SETS, listener_set("odd", &json!([{"name": ["l"]}])));
        for route in [route("a", "gw"), odd_route, route("of-odd", "odd"), shapeless("shapeless")] {
            fake.apply(ROUTES, route);
        }
        let replica = Replica::start(&fake);
        for (resource, name, reason, field) in [
            (GATEWAYS, "odd", "Invalid", "spec.listeners[0].port: "),
            (LISTENER_SETS, "odd", "Invalid", "spec.listeners[0].name: "),
            (CLASSES, "odd", "Invalid", "spec.parametersRef: "),
            (GATEWAYS, "of-odd", "InvalidParameters", "spec.parametersRef"),
            (ROUTES, "odd", "UnsupportedValue", "spec.rules[0].matches: "),
        ] {
            fake.until(|fake| accepted(fake, resource, name).1 == reason).await;
            let (status, _, message) = accepted(&fake, resource, name);
            assert_eq!(status, "False", "{resource} {name}");
            assert!(message.contains(field), "{resource} {name}: {message}");
        }
        let programmed = conditions(&fake, GATEWAYS, "odd");
        assert_eq!(condition(&programmed, "Programmed")["status"], "False");
        fake.until(|fake| accepted(fake, ROUTES, "a").0 == "True").await;
        assert!(fake.get(GATEWAYS, "shop", "theirs")["status"].is_null());
        let routes: BTreeSet<String> = names(&replica).into_iter().collect();
        assert!(routes.contains("a") && !routes.contains("odd"), "{routes:?}");
        replica.end().await;
    });
}

#[test]
fn unknown_values_and_fields_are_told_and_disturb_nobody() {
    run(async {
        let (fake, replica) = start_with_two_gateways();
        let mut odd = gateway("odd");
        odd["spec"]["listeners"] = json!([
            {"name": "http", "port": 8080, "protocol": "HTTP", "colour": "blue"},
            {"name": "odd", "port": 8081, "protocol": "GOPHER", "allowedRoutes": {"namespaces": {"from": "Mars"}}},
        ]);
        odd["spec"]["future"] = json!({"a": [1, {"b": null}]});
        fake.apply(GATEWAYS, odd);
        let mut filter = route("filter", "other");
        filter["spec"]["rules"][0]["filters"][0]["type"] = "Teleport".into();
        filter["spec"]["rules"][0]["future"] = json!([[[]]]);
        fake.apply(ROUTES, filter);
        let mut matcher = route("matcher", "other");
        matcher["spec"]["rules"][0]["matches"] =
            json!([{"path": {"type": "Sounds", "value": "/x"}}]);
        fake.apply(ROUTES, matcher);
        for name in ["filter", "matcher"] {
            fake.until(|fake| {
                let conditions = conditions(fake, ROUTES, name);
                let all = conditions.as_array().into_iter().flatten();
                let reasons: Vec<&Value> = all.map(|condition| &condition["reason"]).collect();
                reasons.iter().any(|reason| **reason == "UnsupportedValue")
            })
            .await;
        }
        fake.until(|fake| accepted(fake, GATEWAYS, "odd").0 == "True").await;
        let listeners = fake.get(GATEWAYS, "shop", "odd")["status"]["listeners"].clone();
        let of = |at: usize| condition(&listeners[at]["conditions"], "Accepted").clone();
        assert_eq!(of(0)["status"], "True");
        assert_eq!(
            (&of(1)["status"], &of(1)["reason"]),
            (&"False".into(), &"UnsupportedProtocol".into())
        );
        fake.apply(ROUTES, route("c", "gw"));
        fake.until(|fake| accepted(fake, ROUTES, "c").0 == "True").await;
        let names = names(&replica);
        assert!(
            ["a", "b", "c"].iter().all(|name| names.iter().any(|other| other == name)),
            "{names:?}"
        );
        replica.end().await;
    });
}

#[test]
fn gateways_deleted_while_serving_take_nothing_else_along() {
    run(async {
        let (fake, replica) = start_with_two_gateways();
        fake.until(|fake| accepted(fake, ROUTES, "a").0 == "True").await;
        fake.until(|fake| accepted(fake, ROUTES, "b").0 == "True").await;
        for _ in 0..3 {
            fake.delete(GATEWAYS, "shop", "gw");
            fake.until(|fake| conditions(fake, ROUTES, "a").is_null()).await;
            assert_eq!(names(&replica), ["b"]);
            fake.apply(GATEWAYS, gateway("gw"));
            fake.until(|fake| accepted(fake, ROUTES, "a").0 == "True").await;
            assert_eq!(names(&replica), ["a", "b"]);
        }
        // A deletion between a status's making and its writing is no failure.
        let refused = replica.told(|notice| matches!(notice, Notice::Unwritten { .. }));
        assert_eq!(refused, 0);
        replica.end().await;
    });
}

#[test]
fn a_namespace_deleted_with_everything_inside_takes_nothing_else_along() {
    run(async {
        let (fake, replica) = start_with_two_gateways();
        let inside = |mut object: Value| {
            object["metadata"]["namespace"] = "lost".into();
            object
        };
        let service = |name: &str| json!({"metadata": {"namespace": "lost", "name": name}, "spec": {"ports": [{"port": 80}]}});
        // What is inside is used from outside, and the other way round.
        let mut across = route("across", "gw");
        across["spec"]["parentRefs"][0]["namespace"] = "lost".into();
        let mut open = inside(gateway("gw"));
        open["spec"]["listeners"][0]["allowedRoutes"] = json!({"namespaces": {"from": "All"}});
        let mut backend = route("backend", "gw");
        backend["spec"]["rules"] =
            json!([{"backendRefs": [{"name": "cart", "namespace": "lost", "port": 80}]}]);
        let grant = json!({
            "metadata": {"namespace": "lost", "name": "grant"},
            "spec": {
                "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
                "to": [{"group": "", "kind": "Service"}],
            },
        });
        fake.apply(NAMESPACES, json!({"metadata": {"name": "lost"}}));
        fake.apply(GATEWAYS, open);
        fake.apply(ROUTES, inside(route("inner", "gw")));
        fake.apply("/services", service("cart"));
        fake.apply(GRANTS, grant);
        fake.apply(ROUTES, across);
        fake.apply(ROUTES, backend);
        let resolved = |fake: &Fake, name: &str| {
            let conditions = conditions(fake, ROUTES, name);
            condition(&conditions, "ResolvedRefs")["status"].clone()
        };
        fake.until(|fake| resolved(fake, "backend") == "True").await;
        fake.until(|fake| accepted(fake, ROUTES, "across").0 == "True").await;
        // In the order in which a cluster happens to delete them.
        fake.apply(
            NAMESPACES,
            json!({"metadata": {"name": "lost", "deletionTimestamp": "2026-01-02T00:00:00Z"}}),
        );
        fake.delete("/services", "lost", "cart");
        fake.delete(ROUTES, "lost", "inner");
        fake.delete(GRANTS, "lost", "grant");
        fake.delete(GATEWAYS, "lost", "gw");
        fake.delete(NAMESPACES, "", "lost");
        fake.until(|fake| resolved(fake, "backend") == "False").await;
        fake.until(|fake| conditions(fake, ROUTES, "across").is_null()).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(names(&replica), ["a", "b", "backend"]);
        for gateway in ["gw", "other"] {
            assert_eq!(accepted(&fake, GATEWAYS, gateway).0, "True");
        }
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Unwritten { .. })), 0);
        replica.end().await;
    });
}

#[test]
fn two_controllers_of_one_name_agree_and_come_to_rest() {
    run(async {
        let (fake, first) = start_with_two_gateways();
        // Each believes to be alone, and writes.
        let second = Replica::start(&fake);
        fake.until(|fake| accepted(fake, ROUTES, "a").0 == "True").await;
        for name in ["c", "d", "e"] {
            fake.apply(ROUTES, route(name, "gw"));
            fake.until(|fake| accepted(fake, ROUTES, name).0 == "True").await;
        }
        fake.delete(ROUTES, "shop", "d");
        sleep(Duration::from_secs(10)).await;
        let writes = fake.writes().len();
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(fake.writes().len(), writes, "{:#?}", &fake.writes()[writes..]);
        let parents = &fake.get(ROUTES, "shop", "c")["status"]["parents"];
        assert_eq!(parents.as_array().map(Vec::len), Some(1), "one entry, not one for each");
        for replica in [&first, &second] {
            assert_eq!(names(replica), ["a", "b", "c", "e"]);
            assert!(replica.plane.served().leads());
        }
        first.end().await;
        second.end().await;
    });
}
