//! What is written, and what is not.

use std::time::Duration;

use gateway_core::api::{Kind, ObjectKey};
use gateway_kube::Notice;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    CLASSES, GATEWAYS, ROUTES, US, class, condition,
    fake::{Fake, Line},
    gateway, route,
    running::{Replica, run},
};

fn parents(fake: &Fake, route: &str) -> Value {
    fake.get(ROUTES, "shop", route)["status"]["parents"].clone()
}

fn is_accepted(fake: &Fake, route: &str, generation: i64) -> bool {
    let parents = parents(fake, route);
    let accepted = condition(&parents[0]["conditions"], "Accepted").clone();
    accepted["status"] == "True" && accepted["observedGeneration"] == generation
}

#[test]
fn the_whole_way_from_lists_to_statuses() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        // More than a page.
        for name in ["a", "b", "c", "d", "e"] {
            fake.apply(ROUTES, route(name, "gw"));
        }
        let replica = Replica::start(&fake);
        fake.until(|fake| ["a", "b", "c", "d", "e"].iter().all(|name| is_accepted(fake, name, 1)))
            .await;
        assert_eq!(replica.plane.served().names.len(), 5);
        fake.until(|fake| {
            fake.get(GATEWAYS, "shop", "gw")["status"]["listeners"][0]["attachedRoutes"] == 5
        })
        .await;
        fake.until(|fake| fake.get(CLASSES, "", "ours")["metadata"]["finalizers"].is_array()).await;
        let class = fake.get(CLASSES, "", "ours");
        assert_eq!(
            class["metadata"]["finalizers"],
            json!(["gateway-exists-finalizer.gateway.networking.k8s.io"])
        );
        let conditions = &class["status"]["conditions"];
        assert_eq!(condition(conditions, "Accepted")["status"], "True");
        assert_eq!(condition(conditions, "SupportedVersion")["status"], "True");
        assert_eq!(features(&fake), ["Gateway", "HTTPRoute", "HTTPRouteRetry"]);
        // Each route is written once, nothing is written that is not ours.
        let writes = fake.writes();
        let of_route = |name: &str| {
            let line = format!(
                "PATCH /apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/{name}/status"
            );
            writes.iter().filter(|(sent, _)| sent.starts_with(&line)).count()
        };
        assert_eq!(["a", "b", "c", "d", "e"].map(of_route), [1; 5], "{writes:#?}");
        replica.end().await;
    });
}

fn features(fake: &Fake) -> Vec<String> {
    let listed = fake.get(CLASSES, "", "ours")["status"]["supportedFeatures"].clone();
    let name = |feature: &Value| feature["name"].as_str().unwrap_or_default().to_owned();
    listed.as_array().into_iter().flatten().map(name).collect()
}

#[test]
fn a_class_claims_what_the_installed_channel_has() {
    run(async {
        let fake = Fake::new();
        fake.install("standard");
        fake.apply(CLASSES, class());
        let replica = Replica::start(&fake);
        fake.until(|fake| features(fake) == ["Gateway", "HTTPRoute"]).await;
        fake.install("experimental");
        fake.until(|fake| features(fake) == ["Gateway", "HTTPRoute", "HTTPRouteRetry"]).await;
        // In one moment, so that only a new list tells it.
        fake.install("standard");
        fake.state().refuses_forgotten = true;
        fake.cut(true);
        fake.until(|fake| features(fake) == ["Gateway", "HTTPRoute"]).await;
        replica.end().await;
    });
}

#[test]
fn a_class_claims_nothing_before_the_channel_is_known() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        for code in [503, 500, 429] {
            fake.state().faults.push(("/customresourcedefinitions", code));
        }
        let replica = Replica::start(&fake);
        fake.until(|fake| !features(fake).is_empty()).await;
        assert_eq!(features(&fake), ["Gateway", "HTTPRoute", "HTTPRouteRetry"]);
        replica.end().await;
    });
}

#[test]
fn without_any_list_of_definitions_the_rest_is_served() {
    run(async {
        for code in [403, 500] {
            let fake = Fake::new();
            fake.apply(CLASSES, class());
            for _ in 0..50 {
                fake.state().faults.push(("/customresourcedefinitions", code));
            }
            let replica = Replica::start(&fake);
            let at = Instant::now();
            fake.until(|fake| fake.get(CLASSES, "", "ours")["status"].is_object()).await;
            assert!(code == 500 || at.elapsed() < Duration::from_secs(1), "{:?}", at.elapsed());
            replica.end().await;
        }
    });
}

#[test]
fn nothing_is_written_when_nothing_differs() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| is_accepted(fake, "a", 1)).await;
        sleep(Duration::from_secs(5)).await;
        let before = fake.writes().len();
        // Not for an hour, ...
        sleep(Duration::from_secs(3600)).await;
        // ... not because watches begin anew or labels change, ...
        fake.cut(true);
        let mut labelled = route("a", "gw");
        labelled["metadata"]["labels"] = json!({"a": "b"});
        fake.apply(ROUTES, labelled);
        sleep(Duration::from_secs(60)).await;
        replica.end().await;
        // ... not because the program begins anew.
        let replica = Replica::start(&fake);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(fake.writes().len(), before, "{:#?}", &fake.writes()[before..]);
        replica.end().await;
    });
}

#[test]
fn a_change_is_served_before_its_status_says_so() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| is_accepted(fake, "a", 1)).await;
        fake.apply(ROUTES, route("b", "gw"));
        let plane = replica.plane.clone();
        fake.until(|fake| is_accepted(fake, "b", 1) && plane.served().names.contains("b")).await;
        assert!(replica.plane.served().routes > 0, "the listeners were left alone");
        let mut moved = route("a", "gw");
        moved["spec"]["hostnames"] = json!(["shop.example.com"]);
        fake.apply(ROUTES, moved);
        fake.until(|fake| is_accepted(fake, "a", 2)).await;
        replica.end().await;
    });
}

#[test]
fn entries_of_other_controllers_are_kept_and_conflicts_tried_again() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        let theirs = json!({
            "parentRef": {"name": "gw"},
            "controllerName": "example.net/them",
            "conditions": [],
            "novelty": 1,
        });
        fake.set_status(ROUTES, "shop", "a", json!({"parents": [theirs]}));
        fake.state().faults.push(("PATCH", 409));
        fake.state().faults.push(("httproutes/a/status", 409));
        fake.state().faults.push(("httproutes/a/status", 500));
        let replica = Replica::start(&fake);
        fake.until(|fake| parents(fake, "a")[1]["controllerName"] == US).await;
        assert_eq!(parents(&fake, "a")[0], theirs);
        // They write on.
        let mut both = parents(&fake, "a");
        both[0]["conditions"] = json!([{"type": "Odd"}]);
        fake.set_status(ROUTES, "shop", "a", json!({"parents": both}));
        let mut moved = route("a", "gw");
        moved["spec"]["hostnames"] = json!(["shop.example.com"]);
        fake.apply(ROUTES, moved);
        fake.until(|fake| {
            let ours = parents(fake, "a")[1]["conditions"].clone();
            condition(&ours, "Accepted")["observedGeneration"] == 2
        })
        .await;
        assert_eq!(parents(&fake, "a")[0]["conditions"], json!([{"type": "Odd"}]));
        // Our entry goes with the Gateway.
        fake.delete(GATEWAYS, "shop", "gw");
        fake.until(|fake| parents(fake, "a").as_array().map(Vec::len) == Some(1)).await;
        assert_eq!(parents(&fake, "a")[0]["controllerName"], "example.net/them");
        fake.until(|fake| fake.get(CLASSES, "", "ours")["metadata"]["finalizers"] == json!([]))
            .await;
        replica.end().await;
    });
}

#[test]
fn a_gateway_is_written_once_a_second_at_most() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        let replica = Replica::start(&fake);
        fake.until(|fake| fake.get(GATEWAYS, "shop", "gw")["status"].is_object()).await;
        let writes = |fake: &Fake| {
            fake.writes().iter().filter(|(line, _)| line.contains("gateways/gw/status")).count()
        };
        sleep(Duration::from_secs(5)).await;
        let before = writes(&fake);
        for at in 0..40 {
            fake.apply(ROUTES, route(&format!("r{at}"), "gw"));
            sleep(Duration::from_millis(50)).await;
        }
        fake.until(|fake| {
            fake.get(GATEWAYS, "shop", "gw")["status"]["listeners"][0]["attachedRoutes"] == 40
        })
        .await;
        // Two seconds of changes.
        assert!(writes(&fake) - before <= 4, "{}", writes(&fake) - before);
        replica.end().await;
    });
}

#[test]
fn a_write_that_was_long_on_its_way_is_not_followed_closely() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        let line = Line::default();
        let replica = Replica::start(&fake.over(&line));
        let attached = |fake: &Fake| {
            let listeners = &fake.get(GATEWAYS, "shop", "gw")["status"]["listeners"];
            listeners[0]["attachedRoutes"].as_u64()
        };
        let delay = |delay| *line.delay.lock().expect("nobody panics while holding it") = delay;
        fake.until(|fake| attached(fake) == Some(0)).await;
        sleep(Duration::from_secs(5)).await;
        delay(Duration::from_millis(900));
        fake.apply(ROUTES, route("a", "gw"));
        sleep(Duration::from_millis(500)).await;
        delay(Duration::ZERO);
        fake.apply(ROUTES, route("b", "gw"));
        fake.until(|fake| attached(fake) == Some(1)).await;
        let at = Instant::now();
        fake.until(|fake| attached(fake) == Some(2)).await;
        assert!(at.elapsed() >= Duration::from_secs(1), "{:?}", at.elapsed());
        replica.end().await;
    });
}

#[test]
fn an_event_tells_what_begins_to_fail_and_only_then() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        let mut lost = route("a", "gw");
        lost["spec"]["parentRefs"][0]["sectionName"] = "https".into();
        fake.apply(ROUTES, lost.clone());
        let replica = Replica::start(&fake);
        fake.until(|fake| parents(fake, "a")[0].is_object()).await;
        lost["spec"]["hostnames"] = json!(["shop.example.com"]);
        fake.apply(ROUTES, lost);
        fake.until(|fake| {
            condition(&parents(fake, "a")[0]["conditions"], "Accepted")["observedGeneration"] == 2
        })
        .await;
        sleep(Duration::from_secs(5)).await;
        let writes = fake.writes();
        let events: Vec<_> = writes.iter().filter(|(line, _)| line.contains("/events")).collect();
        let [(line, event)] = &*events else { panic!("{events:#?}") };
        assert!(line.starts_with("POST /apis/events.k8s.io/v1/namespaces/shop/events"), "{line}");
        assert_eq!(
            (&event["reason"], &event["type"]),
            (&json!("NoMatchingParent"), &json!("Warning"))
        );
        assert_eq!(event["regarding"]["name"], "a");
        replica.end().await;
    });
}

#[test]
fn events_that_are_never_answered_hold_up_no_status() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.state().silent.push("/events");
        let names: Vec<String> = (0..40).map(|at| format!("r{at}")).collect();
        for name in &names {
            let mut lost = route(name, "gw");
            lost["spec"]["parentRefs"][0]["sectionName"] = "https".into();
            fake.apply(ROUTES, lost);
        }
        let replica = Replica::start(&fake);
        let at = Instant::now();
        fake.until(|fake| names.iter().all(|name| parents(fake, name)[0].is_object())).await;
        assert!(at.elapsed() < Duration::from_secs(3), "{:?}", at.elapsed());
        sleep(Duration::from_secs(20)).await;
        fake.apply(ROUTES, route("late", "gw"));
        fake.until(|fake| is_accepted(fake, "late", 1)).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Eventless(_))), 1);
        assert_eq!(replica.told(|notice| matches!(notice, Notice::Unwritten { .. })), 0);
        replica.end().await;
    });
}

#[test]
fn a_status_that_is_refused_is_told_and_not_tried_again() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("gw"));
        fake.apply(ROUTES, route("a", "gw"));
        fake.state().faults.push(("httproutes/a/status", 422));
        let replica = Replica::start(&fake);
        sleep(Duration::from_secs(60)).await;
        let told = |notice: &Notice| matches!(notice, Notice::Refused { .. });
        assert_eq!((parents(&fake, "a"), replica.told(told)), (Value::Null, 1));
        let mut moved = route("a", "gw");
        moved["spec"]["hostnames"] = json!(["shop.example.com"]);
        fake.apply(ROUTES, moved);
        fake.until(|fake| is_accepted(fake, "a", 2)).await;
        replica.end().await;
    });
}

#[test]
fn a_slow_data_plane_holds_back_the_status_of_its_gateway_alone() {
    run(async {
        let fake = Fake::new();
        fake.apply(CLASSES, class());
        fake.apply(GATEWAYS, gateway("slow"));
        fake.apply(GATEWAYS, gateway("quick"));
        let replica = Replica::start(&fake);
        let has_status =
            |fake: &Fake, name: &str| fake.get(GATEWAYS, "shop", name)["status"].is_object();
        fake.until(|fake| has_status(fake, "slow") && has_status(fake, "quick")).await;
        let plane = replica.plane.clone();
        let slow = ObjectKey::new(Kind::Gateway, "shop", "slow");
        plane.awaited.send_replace([slow].into());
        let at = Instant::now();
        fake.apply(ROUTES, route("a", "slow"));
        fake.apply(ROUTES, route("b", "quick"));
        fake.until(|fake| is_accepted(fake, "b", 1)).await;
        assert!(at.elapsed() < Duration::from_millis(100), "{:?}", at.elapsed());
        assert_eq!(plane.served().names.len(), 2);
        assert!(!is_accepted(&fake, "a", 1));
        // What comes next is served as well.
        fake.apply(ROUTES, route("c", "quick"));
        fake.until(|fake| is_accepted(fake, "c", 1)).await;
        assert!(at.elapsed() < Duration::from_millis(200), "{:?}", at.elapsed());
        // It waits no longer than a second, ...
        fake.until(|fake| is_accepted(fake, "a", 1)).await;
        assert!(at.elapsed() >= Duration::from_secs(1), "{:?}", at.elapsed());
        // ... and not at all once the data plane has caught up.
        let at = Instant::now();
        fake.apply(ROUTES, route("d", "slow"));
        fake.apply(ROUTES, route("e", "quick"));
        fake.until(|fake| is_accepted(fake, "e", 1)).await;
        plane.awaited.send_replace([].into());
        fake.until(|fake| is_accepted(fake, "d", 1)).await;
        assert!(at.elapsed() < Duration::from_millis(200), "{:?}", at.elapsed());
        replica.end().await;
    });
}
