//! From the status that should be to the smallest write that makes it so.
//!
//! In: what the core found, the status that the API server holds, who we are and what time it is.
//! Out: the fields to be patched, or nothing if all is as it should be. Not here: sending it.
//!
//! Works on JSON, so that entries of other controllers, and fields that we do not know, stay as
//! they are to the letter.

use gateway_core::{
    api::{
        Condition, ConditionType, GatewayStatus, ListenerStatus, ParentReference,
        PolicyAncestorStatus, RouteParentStatus,
    },
    resolve::ObjectStatus,
};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Entries that a route's status has room for.
const PARENTS: usize = 32;

/// Entries that a policy's status has room for.
const ANCESTORS: usize = 16;

/// Who writes, where and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing<'a> {
    /// The name under which entries are ours.
    pub(crate) controller: &'a str,
    /// The namespace of the object.
    pub(crate) namespace: &'a str,
    /// RFC 3339, for conditions that change.
    pub(crate) now: &'a str,
}

/// What is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Patch {
    /// Fields of the status that differ, whole.
    pub(crate) status: Value,
    /// Whether entries of ours were left out because others fill the list.
    pub(crate) full: bool,
}

/// Compares `wanted` with the status that is stored. None if nothing is to be written.
pub(crate) fn merge(wanted: &ObjectStatus, stored: &Value, writing: Writing<'_>) -> Option<Patch> {
    let mut fields = Map::new();
    let mut full = false;
    match wanted {
        ObjectStatus::GatewayClass(status) => {
            let conditions = conditions(&status.conditions, &stored["conditions"], writing);
            fields.insert("conditions".into(), conditions);
            if !status.supported_features.is_empty() {
                fields.insert("supportedFeatures".into(), value(&status.supported_features));
            }
        }
        ObjectStatus::Gateway(status) => of_gateway(status, stored, writing, &mut fields),
        ObjectStatus::ListenerSet(status) => {
            let conditions = conditions(&status.conditions, &stored["conditions"], writing);
            fields.insert("conditions".into(), conditions);
            let listeners = listeners(&status.listeners, &stored["listeners"], writing);
            fields.insert("listeners".into(), listeners);
        }
        ObjectStatus::Route(status) => {
            let ours = status.parents.iter().map(Entry::of_parent).collect();
            let (parents, fits) = entries(ours, &stored["parents"], "parentRef", PARENTS, writing);
            full = !fits;
            fields.insert("parents".into(), parents);
        }
        ObjectStatus::Policy(status) => {
            let ours = status.ancestors.iter().map(Entry::of_ancestor).collect();
            let stored = &stored["ancestors"];
            let (ancestors, fits) = entries(ours, stored, "ancestorRef", ANCESTORS, writing);
            full = !fits;
            fields.insert("ancestors".into(), ancestors);
        }
        _ => return None,
    }
    fields.retain(|name, value| !same(value, &stored[name.as_str()]));
    (!fields.is_empty()).then_some(Patch { status: Value::Object(fields), full })
}

/// The generation of the object that a status was made for.
pub(crate) fn generation(status: &ObjectStatus) -> Option<i64> {
    let conditions: &[Condition] = match status {
        ObjectStatus::GatewayClass(status) => &status.conditions,
        ObjectStatus::Gateway(status) => &status.conditions,
        ObjectStatus::ListenerSet(status) => &status.conditions,
        ObjectStatus::Route(status) => {
            status.parents.first().map_or(&[], |parent| &parent.conditions)
        }
        ObjectStatus::Policy(status) => {
            status.ancestors.first().map_or(&[], |ancestor| &ancestor.conditions)
        }
        _ => &[],
    };
    conditions.first()?.observed_generation
}

/// A list that is missing says the same as an empty one.
fn same(wanted: &Value, stored: &Value) -> bool {
    wanted == stored || (stored.is_null() && wanted.as_array().is_some_and(Vec::is_empty))
}

fn of_gateway(
    status: &GatewayStatus,
    stored: &Value,
    writing: Writing<'_>,
    fields: &mut Map<String, Value>,
) {
    fields.insert("addresses".into(), value(&status.addresses));
    let conditions = conditions(&status.conditions, &stored["conditions"], writing);
    fields.insert("conditions".into(), conditions);
    let listeners = listeners(&status.listeners, &stored["listeners"], writing);
    fields.insert("listeners".into(), listeners);
    if let Some(attached) = status.attached_listener_sets {
        fields.insert("attachedListenerSets".into(), attached.into());
    }
}

fn listeners(wanted: &[ListenerStatus], stored: &Value, writing: Writing<'_>) -> Value {
    let listener = |wanted: &ListenerStatus| {
        let stored = items(stored).iter().find(|stored| stored["name"] == wanted.name.as_str());
        let stored = stored.map_or(&Value::Null, |stored| &stored["conditions"]);
        let mut listener = value(wanted);
        listener["conditions"] = conditions(&wanted.conditions, stored, writing);
        listener
    };
    wanted.iter().map(listener).collect()
}

// === conditions ===

/// The conditions in the place of those that are stored; those of types that are not ours stay.
fn conditions(wanted: &[Condition], stored: &Value, writing: Writing<'_>) -> Value {
    let mut merged = Vec::with_capacity(wanted.len());
    let mut written = Vec::with_capacity(wanted.len());
    for stored in items(stored) {
        let name = stored["type"].as_str().unwrap_or_default();
        match wanted.iter().find(|wanted| wanted.kind.as_str() == name) {
            Some(wanted) if !written.contains(&name) => {
                merged.push(condition(wanted, stored, writing));
                written.push(name);
            }
            None if !is_ours(name) => merged.push(stored.clone()),
            // It was said twice, or holds no longer.
            _ => {}
        }
    }
    for wanted in wanted {
        if !written.contains(&wanted.kind.as_str()) {
            merged.push(condition(wanted, &Value::Null, writing));
        }
    }
    Value::Array(merged)
}

fn condition(wanted: &Condition, stored: &Value, writing: Writing<'_>) -> Value {
    let since = stored["lastTransitionTime"].as_str();
    let since = since.filter(|_| stored["status"] == wanted.status.as_str());
    let mut condition = value(wanted);
    // SPEC: the time is that of the last change of the status, not of reason or message.
    condition["lastTransitionTime"] = json!(since.unwrap_or(writing.now));
    condition
}

/// Whether conditions of this type are all written by us.
fn is_ours(name: &str) -> bool {
    ConditionType::KNOWN.contains(&name)
}

// === entries ===

/// One of the entries that several controllers write side by side.
struct Entry<'a> {
    reference: &'a ParentReference,
    controller: &'a str,
    conditions: &'a [Condition],
}

impl<'a> Entry<'a> {
    fn of_parent(status: &'a RouteParentStatus) -> Self {
        Self {
            reference: &status.parent_ref,
            controller: &status.controller_name,
            conditions: &status.conditions,
        }
    }

    fn of_ancestor(status: &'a PolicyAncestorStatus) -> Self {
        Self {
            reference: &status.ancestor_ref,
            controller: &status.controller_name,
            conditions: &status.conditions,
        }
    }
}

/// Our entries among those of others, and whether all have room.
// SPEC: entries of other controllers stay as they are and where they are.
fn entries(
    ours: Vec<Entry<'_>>,
    stored: &Value,
    reference: &str,
    room: usize,
    writing: Writing<'_>,
) -> (Value, bool) {
    let mut waiting: Vec<Option<Entry<'_>>> = ours.into_iter().map(Some).collect();
    let mut merged = Vec::new();
    for stored in items(stored) {
        if stored["controllerName"] != writing.controller {
            merged.push(Slot::Others(stored.clone()));
            continue;
        }
        let of: ParentReference =
            serde::Deserialize::deserialize(&stored[reference]).unwrap_or_default();
        let same = |entry: &&mut Option<Entry<'_>>| {
            entry.as_ref().is_some_and(|entry| entry.reference.same_as(&of, writing.namespace))
        };
        // One of ours that no ref asks for any more is left out.
        if let Some(entry) = waiting.iter_mut().find(same).and_then(Option::take) {
            merged.push(Slot::Ours(self::entry(&entry, stored, reference, writing)));
        }
    }
    let new = waiting.into_iter().flatten();
    merged.extend(new.map(|new| Slot::Ours(entry(&new, &Value::Null, reference, writing))));
    let fits = merged.len() <= room;
    while merged.len() > room {
        let Some(last) = merged.iter().rposition(|slot| matches!(slot, Slot::Ours(_))) else {
            break;
        };
        merged.remove(last);
    }
    (merged.into_iter().map(|(Slot::Ours(entry) | Slot::Others(entry))| entry).collect(), fits)
}

enum Slot {
    Ours(Value),
    Others(Value),
}

fn entry(wanted: &Entry<'_>, stored: &Value, reference: &str, writing: Writing<'_>) -> Value {
    let mut entry = match stored {
        Value::Object(_) => stored.clone(),
        _ => json!({}),
    };
    entry[reference] = value(wanted.reference);
    entry["controllerName"] = wanted.controller.into();
    entry["conditions"] = conditions(wanted.conditions, &stored["conditions"], writing);
    entry
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn value(of: &impl Serialize) -> Value {
    // Nothing of the core fails to be written as JSON.
    serde_json::to_value(of).unwrap_or_default()
}

#[cfg(test)]
#[path = "merge/tests.rs"]
mod tests;
