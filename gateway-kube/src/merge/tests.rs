use gateway_core::{api::Condition, resolve::ObjectStatus};
use serde_json::{Value, json};

use super::{Patch, Writing, merge};

const US: &str = "example.net/us";
const NOW: &str = "2026-11-24T12:00:00Z";
const EARLIER: &str = "2026-01-01T00:00:00Z";

/// A condition as it is stored, with the time of its last change.
fn stored(kind: &str, status: &str, generation: i64, since: &str) -> Value {
    json!({
        "type": kind,
        "status": status,
        "observedGeneration": generation,
        "lastTransitionTime": since,
        "reason": kind,
        "message": "",
    })
}

/// The same as the core finds it.
fn wanted(kind: &str, status: &str, generation: i64) -> Condition {
    let mut condition = stored(kind, status, generation, "");
    condition["lastTransitionTime"] = Value::Null;
    serde_json::from_value(condition).expect("it is a condition")
}

fn parent(gateway: &str, controller: &str, conditions: &[Value]) -> Value {
    json!({
        "parentRef": {
            "group": "gateway.networking.k8s.io",
            "kind": "Gateway",
            "namespace": "shop",
            "name": gateway,
        },
        "controllerName": controller,
        "conditions": conditions,
    })
}

fn route(parents: &[(&str, Vec<Condition>)]) -> ObjectStatus {
    let entry = |(gateway, conditions): &(&str, Vec<Condition>)| {
        let mut entry = parent(gateway, US, &[]);
        entry["conditions"] = serde_json::to_value(conditions).expect("conditions are JSON");
        entry
    };
    let parents: Vec<Value> = parents.iter().map(entry).collect();
    ObjectStatus::Route(
        serde_json::from_value(json!({ "parents": parents })).expect("it is a status"),
    )
}

#[track_caller]
fn run(wanted: &ObjectStatus, stored: &Value) -> Option<Patch> {
    let writing = Writing { controller: US, namespace: "shop", now: NOW };
    let patch = merge(wanted, stored, writing);
    if let Some(patch) = &patch {
        // What the patch makes of the status needs no further one.
        let mut after = stored.clone();
        if after.is_null() {
            after = json!({});
        }
        for (name, value) in patch.status.as_object().expect("a patch is an object") {
            after[name] = value.clone();
        }
        let again = merge(wanted, &after, Writing { now: "2027-01-01T00:00:00Z", ..writing });
        assert_eq!(again, None, "the patch is not the last one");
    }
    patch
}

#[track_caller]
fn check(wanted: &ObjectStatus, stored: &Value, expect: Option<&Value>) {
    let patch = run(wanted, stored);
    assert_eq!(patch.as_ref().map(|patch| &patch.status), expect);
}

#[test]
fn nothing_is_written_when_all_is_as_it_should_be() {
    let accepted = route(&[("gw", vec![wanted("Accepted", "True", 2)])]);
    let entry = parent("gw", US, &[stored("Accepted", "True", 2, EARLIER)]);
    check(&accepted, &json!({"parents": [entry]}), None);
    check(&route(&[]), &Value::Null, None);
    check(&route(&[]), &json!({"parents": []}), None);
    check(&route(&[]), &json!({"parents": [parent("gw", "other", &[])]}), None);
}

#[test]
fn the_time_changes_with_the_status_only() {
    let entry = |status, generation, since| json!({"parents": [parent("gw", US, &[stored("Accepted", status, generation, since)])]});
    let accepted = route(&[("gw", vec![wanted("Accepted", "True", 2)])]);
    check(&accepted, &Value::Null, Some(&entry("True", 2, NOW)));
    check(&accepted, &entry("True", 1, EARLIER), Some(&entry("True", 2, EARLIER)));
    check(&accepted, &entry("False", 1, EARLIER), Some(&entry("True", 2, NOW)));
    check(&accepted, &entry("Unknown", 2, EARLIER), Some(&entry("True", 2, NOW)));
}

#[test]
fn entries_of_others_stay_as_they_are_and_where_they_are() {
    let ours = |since| parent("gw", US, &[stored("Accepted", "True", 1, since)]);
    // Not even what nobody knows is lost.
    let mut foreign = parent("gw", "example.net/them", &[stored("Odd", "Maybe", 7, "yesterday")]);
    foreign["novelty"] = json!({"a": [1]});
    let other = parent("elsewhere", "example.net/third", &[]);
    let accepted = route(&[("gw", vec![wanted("Accepted", "True", 1)])]);
    check(
        &accepted,
        &json!({"parents": [foreign, other]}),
        Some(&json!({"parents": [foreign, other, ours(NOW)]})),
    );
    let stale = parent("gw", US, &[stored("Accepted", "False", 1, EARLIER)]);
    check(
        &accepted,
        &json!({"parents": [foreign, stale, other]}),
        Some(&json!({"parents": [foreign, ours(NOW), other]})),
    );
    check(
        &route(&[]),
        &json!({"parents": [foreign, ours(EARLIER), other]}),
        Some(&json!({"parents": [foreign, other]})),
    );
}

#[test]
fn entries_are_told_apart_by_the_whole_reference_after_defaulting() {
    let accepted = route(&[("gw", vec![wanted("Accepted", "True", 1)])]);
    let conditions = [stored("Accepted", "True", 1, EARLIER)];
    // As a controller writes it that leaves defaults out.
    let terse = json!({
        "parentRef": {"name": "gw"}, "controllerName": US, "conditions": conditions,
    });
    let full = json!({"parents": [parent("gw", US, &conditions)]});
    check(&accepted, &json!({ "parents": [terse] }), Some(&full));
    // Of two entries for the same parent the second is wrong.
    let twice = json!({"parents": [full["parents"][0], full["parents"][0]]});
    check(&accepted, &twice, Some(&full));
    let mut section = parent("gw", US, &conditions);
    section["parentRef"]["sectionName"] = "https".into();
    let moved = json!({"parents": [parent("gw", US, &[stored("Accepted", "True", 1, NOW)])]});
    check(&accepted, &json!({"parents": [section]}), Some(&moved));
}

#[test]
fn conditions_that_hold_no_longer_go_and_those_of_others_stay() {
    let odd = stored("example.net/Odd", "True", 1, EARLIER);
    let accepted = stored("Accepted", "True", 1, EARLIER);
    let partial = stored("PartiallyInvalid", "True", 1, EARLIER);
    let resolved = stored("ResolvedRefs", "True", 1, NOW);
    let of = |conditions: &[&Value]| {
        let conditions: Vec<Value> =
            conditions.iter().map(|&condition| condition.clone()).collect();
        json!({"parents": [parent("gw", US, &conditions)]})
    };
    let conditions = vec![wanted("Accepted", "True", 1), wanted("ResolvedRefs", "True", 1)];
    check(
        &route(&[("gw", conditions)]),
        &of(&[&odd, &partial, &accepted]),
        Some(&of(&[&odd, &accepted, &resolved])),
    );
}

#[test]
fn a_full_list_has_no_room_for_ours() {
    let others: Vec<Value> = (0..31).map(|at| parent(&format!("g{at}"), "other", &[])).collect();
    let gateways = ["a", "b"].map(|name| (name, vec![wanted("Accepted", "True", 1)]));
    let patch = run_full(&route(&gateways), &json!({ "parents": others }));
    let parents = patch.status["parents"].as_array().expect("parents are a list");
    assert_eq!((parents.len(), patch.full), (32, true));
    assert_eq!((&parents[30], &parents[31]["parentRef"]["name"]), (&others[30], &json!("a")));
}

fn run_full(wanted: &ObjectStatus, stored: &Value) -> Patch {
    run(wanted, stored).expect("something is to be written")
}

#[test]
fn a_gateway_is_written_field_by_field() {
    let listener = |name: &str, routes: i32, conditions: Value| {
        json!({
            "name": name,
            "supportedKinds": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}],
            "attachedRoutes": routes,
            "conditions": conditions,
        })
    };
    let status = |listeners: Value, since: Value| {
        json!({
            "addresses": [{"type": "IPAddress", "value": "192.0.2.1"}],
            "conditions": [stored("Accepted", "True", 1, since.as_str().unwrap_or_default())],
            "listeners": listeners,
            "attachedListenerSets": 0,
        })
    };
    let programmed = |since| json!([stored("Programmed", "True", 1, since)]);
    let wanted = status(json!([listener("http", 3, programmed(""))]), json!(""));
    let wanted =
        ObjectStatus::Gateway(serde_json::from_value(wanted).expect("it is a Gateway's status"));
    // Only the number of routes differs; a listener that is gone goes.
    let before = status(
        json!([listener("gone", 1, programmed(EARLIER)), listener("http", 2, programmed(EARLIER))]),
        json!(EARLIER),
    );
    let after = json!({"listeners": [listener("http", 3, programmed(EARLIER))]});
    check(&wanted, &before, Some(&after));
    // The API server puts this there when a Gateway is created.
    let defaults = json!({"conditions": [
        stored("Accepted", "Unknown", 0, "1970-01-01T00:00:00Z"),
        stored("Programmed", "Unknown", 0, "1970-01-01T00:00:00Z"),
    ]});
    let patch = run_full(&wanted, &defaults);
    assert_eq!(patch.status["conditions"], json!([stored("Accepted", "True", 1, NOW)]));
}

#[test]
fn shapes_that_no_schema_allows_do_no_harm() {
    let accepted = route(&[("gw", vec![wanted("Accepted", "True", 1)])]);
    let expect = json!({"parents": [parent("gw", US, &[stored("Accepted", "True", 1, NOW)])]});
    for stored in [
        json!("text"),
        json!({"parents": 7}),
        json!({"parents": [{"controllerName": US, "parentRef": 7}]}),
        json!({"parents": [{"controllerName": US, "parentRef": {"name": "gw"}, "conditions": "x"}]}),
    ] {
        let writing = Writing { controller: US, namespace: "shop", now: NOW };
        let patch = merge(&accepted, &stored, writing).expect("something is to be written");
        assert_eq!(patch.status, expect, "{stored}");
    }
    // What is no entry at all belongs to nobody, and stays.
    let odd = json!({"parents": [7]});
    let writing = Writing { controller: US, namespace: "shop", now: NOW };
    let patch = merge(&accepted, &odd, writing).expect("something is to be written");
    assert_eq!(patch.status["parents"][0], json!(7));
}
