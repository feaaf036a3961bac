//! Statuses of objects, read from what would be written to a cluster.

use serde_json::Value;

use super::{Address, Conditions, ListenerOutcome, ObjectOutcome};

/// The status of one object as the API has it.
#[derive(Clone, Debug)]
pub struct ObjectStatus {
    /// `Kind namespace/name`, or `Kind name` for cluster-wide kinds.
    pub object: String,
    /// Its `status`.
    pub status: Value,
}

/// The outcome that a `status` stands for.
#[must_use]
pub fn object_outcome(status: &Value) -> ObjectOutcome {
    let addresses = entries(status, "addresses").iter();
    let addresses = addresses
        .map(|address| Address { kind: text(address, "type"), value: text(address, "value") });
    ObjectOutcome {
        attached_listener_sets: status.get("attachedListenerSets").and_then(Value::as_u64),
        addresses: Some(addresses.collect()),
        listeners: entries(status, "listeners").iter().map(listener).collect(),
        parents: entries(status, "parents")
            .iter()
            .map(|entry| (parent(&entry["parentRef"]), conditions(entry)))
            .collect(),
        ancestors: entries(status, "ancestors")
            .iter()
            .map(|entry| (parent(&entry["ancestorRef"]), conditions(entry)))
            .collect(),
        conditions: conditions(status),
    }
}

/// Conditions of `status` that do not say `generation`, each with what they say.
// SPEC: every condition of an object repeats its generation, also those that did not change.
pub(super) fn stale_conditions(status: &Value, generation: i64) -> Vec<(String, Value)> {
    let nested = ["listeners", "parents", "ancestors"];
    let holders = nested.iter().flat_map(|list| entries(status, list)).chain([status]);
    holders
        .flat_map(|holder| entries(holder, "conditions"))
        .filter(|condition| condition["observedGeneration"] != generation)
        .map(|condition| (text(condition, "type"), condition["observedGeneration"].clone()))
        .collect()
}

fn listener(status: &Value) -> (String, ListenerOutcome) {
    let kinds = entries(status, "supportedKinds").iter();
    let outcome = ListenerOutcome {
        attached_routes: status.get("attachedRoutes").and_then(Value::as_u64),
        supported_kinds: Some(kinds.map(|kind| text(kind, "kind")).collect()),
        conditions: conditions(status),
    };
    (text(status, "name"), outcome)
}

fn conditions(holder: &Value) -> Conditions {
    let condition = |condition: &Value| {
        let value = format!("{} {}", text(condition, "status"), text(condition, "reason"));
        (text(condition, "type"), value)
    };
    entries(holder, "conditions").iter().map(condition).collect()
}

/// `Kind namespace/name`, then `#section` and `:port`.
fn parent(reference: &Value) -> String {
    let mut name = text(reference, "kind");
    match reference.get("namespace").and_then(Value::as_str) {
        Some(namespace) => name.push_str(&format!(" {namespace}/{}", text(reference, "name"))),
        None => name.push_str(&format!(" {}", text(reference, "name"))),
    }
    if let Some(section) = reference.get("sectionName").and_then(Value::as_str) {
        name.push_str(&format!("#{section}"));
    }
    if let Some(port) = reference.get("port").and_then(Value::as_i64) {
        name.push_str(&format!(":{port}"));
    }
    name
}

fn entries<'v>(holder: &'v Value, list: &str) -> &'v [Value] {
    holder.get(list).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn text(holder: &Value, key: &str) -> String {
    holder.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}
