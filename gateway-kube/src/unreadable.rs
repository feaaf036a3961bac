//! Objects that cannot be read: why, what remains of them, and what is said of them.
//!
//! In: the JSON of such an object; later its stored status. Out: an [`Unreadable`]; the status that it
//! should have. Not here: objects that can be read, however wrong they are; `gateway-core` judges
//! those.
//!
//! Such an object is not one that was deleted. What it said before is served on; and of one that
//! could never be read so much is taken that nothing is removed that was made for it.

mod place;

use gateway_core::{
    api::{
        Condition, ConditionStatus, ConditionType, GATEWAY_GROUP, Kind, ObjectKey, ParentReference,
        PolicyAncestorStatus, PolicyStatus, Reason, Resource, RouteParentStatus, RouteStatus,
    },
    build::Builder,
    resolve::ObjectStatus,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::object::Version;

/// An object that cannot be read.
#[derive(Clone, Debug)]
pub(crate) struct Unreadable {
    pub(crate) key: ObjectKey,
    pub(crate) version: Version,
    pub(crate) fault: Fault,
    /// The object with the fields alone that say whose it is; none if they cannot be read either, or
    /// if an object of its kind would serve something all the same.
    pub(crate) remains: Option<Box<Resource>>,
    /// Whether it is being deleted.
    pub(crate) is_ending: bool,
}

/// What is wrong with it, and what is done about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fault {
    /// The field and what is wrong with it.
    pub(crate) error: String,
    /// Parents that a route names.
    pub(crate) parents: Vec<ParentReference>,
    /// Whether it could be read before, so that what it said then is served on.
    pub(crate) kept: bool,
}

/// Looks at an object that could not be read. `data` is all of it but its status.
pub(crate) fn examine(
    key: ObjectKey,
    version: Version,
    data: &Value,
    error: &serde_json::Error,
) -> Unreadable {
    let kind = key.kind;
    let place = place::place(data, &|candidate| Resource::deserialize(kind, candidate).is_err());
    let error = if place.is_empty() { error.to_string() } else { format!("{place}: {error}") };
    let parents = data["spec"]["parentRefs"].as_array().into_iter().flatten();
    let parents = parents.filter_map(|parent| ParentReference::deserialize(parent).ok()).collect();
    Unreadable {
        remains: remains(kind, data).map(Box::new),
        is_ending: data["metadata"].get("deletionTimestamp").is_some(),
        fault: Fault { error, parents, kept: false },
        key,
        version,
    }
}

fn remains(kind: Kind, data: &Value) -> Option<Resource> {
    let spec = &data["spec"];
    let spec = match kind {
        Kind::Gateway => json!({"gatewayClassName": spec["gatewayClassName"]}),
        Kind::ListenerSet => json!({"parentRef": spec["parentRef"]}),
        Kind::GatewayClass => {
            let mut fields = json!({"controllerName": spec["controllerName"]});
            if let Some(parameters) = spec.get("parametersRef") {
                fields["parametersRef"] = parameters.clone();
            }
            let read = |spec: &Value| {
                let object = json!({"metadata": data["metadata"], "spec": spec});
                Resource::deserialize(kind, object).is_ok()
            };
            if !read(&fields) {
                // One that names nothing: without any, Gateways would be made anew with others.
                fields["parametersRef"] =
                    json!({"group": "", "kind": "unreadable", "name": "parameters"});
            }
            fields
        }
        _ => return None,
    };
    Resource::deserialize(kind, json!({"metadata": data["metadata"], "spec": spec})).ok()
}

/// The status of an object that cannot be read; none if it is not ours, or nobody knows whose it is.
pub(crate) fn status(
    key: &ObjectKey,
    version: &Version,
    controller: &str,
    fault: &Fault,
    builder: &Builder,
) -> Option<ObjectStatus> {
    let generation = version.generation;
    let known = builder.status().get(key);
    let refuse = |reason, conditions: &mut Vec<Condition>| {
        refuse(conditions, reason, generation, fault);
    };
    let mut status = match known {
        Some(known) => known.clone(),
        None => stored(key, version, controller, fault, builder)?,
    };
    match &mut status {
        ObjectStatus::GatewayClass(of) => refuse(Reason::Invalid, &mut of.conditions),
        ObjectStatus::Gateway(of) => refuse(Reason::Invalid, &mut of.conditions),
        ObjectStatus::ListenerSet(of) => refuse(Reason::Invalid, &mut of.conditions),
        ObjectStatus::Route(of) => {
            let entries = of.parents.iter_mut();
            entries.for_each(|entry| refuse(Reason::UnsupportedValue, &mut entry.conditions));
        }
        ObjectStatus::Policy(of) => {
            let entries = of.ancestors.iter_mut();
            entries.for_each(|entry| refuse(Reason::UnsupportedValue, &mut entry.conditions));
        }
        _ => return None,
    }
    Some(status)
}

/// Puts the refusal in the place of what holds of the object as it was.
fn refuse(conditions: &mut Vec<Condition>, reason: Reason, generation: Option<i64>, fault: &Fault) {
    let is_accepted = |condition: &Condition| condition.kind == ConditionType::Accepted;
    let before = conditions.iter().find(|condition| is_accepted(condition));
    let before = before.and_then(|condition| condition.observed_generation);
    let then = match (fault.kept, before) {
        (false, _) => String::new(),
        (true, None) => "; what it said before is served on".to_owned(),
        (true, Some(before)) => format!("; what it said in generation {before} is served on"),
    };
    let refusal = |kind, reason| Condition {
        kind,
        status: ConditionStatus::False,
        observed_generation: generation,
        last_transition_time: None,
        reason,
        message: format!("the object cannot be read: {}{then}", fault.error),
    };
    let is_programmed = |condition: &Condition| condition.kind == ConditionType::Programmed;
    let programmed = conditions.iter().any(is_programmed) && !fault.kept;
    // What is served on is still programmed, as of the generation that those conditions name.
    conditions.retain(|condition| fault.kept && !is_accepted(condition));
    conditions.insert(0, refusal(ConditionType::Accepted, reason));
    if programmed {
        conditions.push(refusal(ConditionType::Programmed, Reason::Invalid));
    }
}

/// The entries that a route or policy should have that could never be read: those that we wrote
/// before, and those of parents that can be read.
fn stored(
    key: &ObjectKey,
    version: &Version,
    controller: &str,
    fault: &Fault,
    builder: &Builder,
) -> Option<ObjectStatus> {
    let stored = version.status();
    match key.kind {
        Kind::BackendTlsPolicy | Kind::XBackendTrafficPolicy => {
            let ancestors: Vec<PolicyAncestorStatus> = ours(&stored["ancestors"], controller);
            (!ancestors.is_empty()).then_some(ObjectStatus::Policy(PolicyStatus { ancestors }))
        }
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
            let mut parents: Vec<RouteParentStatus> = ours(&stored["parents"], controller);
            for parent in fault.parents.iter().filter(|parent| is_ours(parent, key, builder)) {
                let same =
                    |entry: &RouteParentStatus| entry.parent_ref.same_as(parent, &key.namespace);
                if !parents.iter().any(same) {
                    parents.push(RouteParentStatus {
                        parent_ref: parent.defaulted(&key.namespace),
                        controller_name: controller.to_owned(),
                        conditions: Vec::new(),
                    });
                }
            }
            (!parents.is_empty()).then_some(ObjectStatus::Route(RouteStatus { parents }))
        }
        _ => None,
    }
}

fn ours<T: for<'de> Deserialize<'de>>(entries: &Value, controller: &str) -> Vec<T> {
    let entries = entries.as_array().into_iter().flatten();
    let ours = entries.filter(|entry| entry["controllerName"] == controller);
    ours.filter_map(|entry| T::deserialize(entry).ok()).collect()
}

/// Whether the parent is a Gateway or ListenerSet of ours; only these have a status.
fn is_ours(parent: &ParentReference, route: &ObjectKey, builder: &Builder) -> bool {
    let kinds = [Kind::Gateway, Kind::ListenerSet];
    let kind = kinds.into_iter().find(|kind| kind.as_str() == parent.kind());
    let kind = kind.filter(|_| parent.group() == GATEWAY_GROUP);
    kind.is_some_and(|kind| {
        let key = ObjectKey::new(kind, parent.namespace(&route.namespace), &parent.name);
        builder.status().get(&key).is_some()
    })
}
