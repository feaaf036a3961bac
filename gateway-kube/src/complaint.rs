//! Events: a refused object says why in `kubectl describe`, without a look at its whole status.
//!
//! In: a status before and after a write. Out: one [`Complaint`] for each condition that has just
//! begun to fail. Not here: conditions; they say the same, and for as long as it holds.

use gateway_core::api::ObjectKey;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    core::DynamicObject,
    runtime::events::{Event, EventType, Recorder},
};
use serde_json::Value;

/// Conditions whose failure concerns the owner of the object.
const TYPES: &[&str] = &["Accepted", "ResolvedRefs", "Programmed"];

/// Bytes that a note may have, by the rules of the API.
const NOTE: usize = 1000;

/// Why a condition fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    reason: String,
    note: String,
}

/// What fails in `after` and did not fail for this reason in `before`.
pub(crate) fn complaints(controller: &str, before: &Value, after: &Value) -> Vec<Complaint> {
    let known = failures(controller, before);
    let mut new = Vec::new();
    for complaint in failures(controller, after) {
        if !known.contains(&complaint) && !new.contains(&complaint) {
            new.push(complaint);
        }
    }
    new
}

fn failures(controller: &str, status: &Value) -> Vec<Complaint> {
    let list = |name: &str| status[name].as_array().into_iter().flatten();
    let ours = |entry: &&Value| entry["controllerName"] == controller;
    let entries = list("parents").chain(list("ancestors")).filter(ours);
    let mut found = Vec::new();
    for (place, conditions) in [(String::new(), &status["conditions"])]
        .into_iter()
        .chain(list("listeners").map(|listener| {
            (format!("listener {}: ", text(&listener["name"])), &listener["conditions"])
        }))
        .chain(entries.map(|entry| (String::new(), &entry["conditions"])))
    {
        let failing = conditions.as_array().into_iter().flatten().filter(|condition| {
            condition["status"] == "False" && TYPES.contains(&text(&condition["type"]))
        });
        found.extend(failing.map(|condition| Complaint {
            reason: text(&condition["reason"]).to_owned(),
            note: shortened(format!("{place}{}", text(&condition["message"]))),
        }));
    }
    found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn shortened(mut note: String) -> String {
    while note.len() > NOTE {
        note.pop();
    }
    note
}

/// Publishes complaints about an object.
///
/// # Errors
/// The first one; the others are not tried then.
pub(crate) async fn publish(
    recorder: &Recorder,
    key: &ObjectKey,
    object: &DynamicObject,
    complaints: Vec<Complaint>,
) -> Result<(), kube::Error> {
    let types = object.types.as_ref();
    let regarding = ObjectReference {
        api_version: types.map(|types| types.api_version.clone()),
        kind: Some(key.kind.as_str().to_owned()),
        namespace: object.metadata.namespace.clone(),
        name: object.metadata.name.clone(),
        uid: object.metadata.uid.clone(),
        ..ObjectReference::default()
    };
    for Complaint { reason, note } in complaints {
        let event = Event {
            type_: EventType::Warning,
            reason,
            note: Some(note),
            action: "Resolve".to_owned(),
            secondary: None,
        };
        recorder.publish(&event, &regarding).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::complaints;

    fn parent(controller: &str, status: &str, reason: &str) -> Value {
        json!({
            "controllerName": controller,
            "conditions": [
                {"type": "Accepted", "status": status, "reason": reason, "message": "because"},
                {"type": "PartiallyInvalid", "status": "False", "reason": "X", "message": "x"},
            ],
        })
    }

    #[track_caller]
    fn check(before: &Value, after: &Value, expect: &[&str]) {
        let found = complaints("us", before, after);
        let found: Vec<String> =
            found.iter().map(|found| format!("{} {}", found.reason, found.note)).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn only_what_has_begun_to_fail_is_told() {
        let parents = |parents: &[Value]| json!({ "parents": parents });
        let fails = |reason| parent("us", "False", reason);
        let fine = parent("us", "True", "Accepted");
        check(&Value::Null, &parents(&[fails("NoMatchingParent")]), &["NoMatchingParent because"]);
        check(&parents(&[fails("A")]), &parents(&[fails("A")]), &[]);
        check(&parents(&[fails("A")]), &parents(&[fails("B")]), &["B because"]);
        check(&parents(std::slice::from_ref(&fine)), &parents(&[fails("A")]), &["A because"]);
        check(&Value::Null, &parents(&[fine, parent("them", "False", "A")]), &[]);
        check(&Value::Null, &parents(&[fails("A"), fails("A")]), &["A because"]);
    }

    #[test]
    fn listeners_are_named() {
        let listener = json!({"name": "https", "conditions": [
            {"type": "ResolvedRefs", "status": "False", "reason": "R", "message": "no Secret"},
            {"type": "Conflicted", "status": "False", "reason": "NoConflicts", "message": ""},
        ]});
        check(&Value::Null, &json!({"listeners": [listener]}), &["R listener https: no Secret"]);
    }
}
