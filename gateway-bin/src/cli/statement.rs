//! The conditions of a status report, one by one, each with the part of the object that it is about.
//!
//! In: the status of an object. Out: a flat list. Not here: which condition holds (`gateway-core`).

use gateway_core::{
    api::{Condition, ConditionStatus, ConditionType, ListenerStatus, ParentReference},
    resolve::ObjectStatus,
};

/// A condition and what it is about.
#[derive(Debug)]
pub(super) struct Statement<'a> {
    /// A listener, a parent or an ancestor; empty for the object as a whole.
    pub(super) part: String,
    pub(super) condition: &'a Condition,
}

impl Statement<'_> {
    /// Whether all is as its author will have wanted it.
    pub(super) fn is_good(&self) -> bool {
        let wanted = match self.condition.kind {
            ConditionType::Accepted
            | ConditionType::Programmed
            | ConditionType::ResolvedRefs
            | ConditionType::SupportedVersion => ConditionStatus::True,
            _ => ConditionStatus::False,
        };
        self.condition.status == wanted
    }
}

/// All conditions of an object: those of the whole first.
pub(super) fn statements(status: &ObjectStatus) -> Vec<Statement<'_>> {
    match status {
        ObjectStatus::GatewayClass(status) => about("", &status.conditions).collect(),
        ObjectStatus::Gateway(status) => {
            about("", &status.conditions).chain(about_listeners(&status.listeners)).collect()
        }
        ObjectStatus::ListenerSet(status) => {
            about("", &status.conditions).chain(about_listeners(&status.listeners)).collect()
        }
        ObjectStatus::Route(status) => {
            let parents = status.parents.iter();
            parents.flat_map(|parent| about(name(&parent.parent_ref), &parent.conditions)).collect()
        }
        ObjectStatus::Policy(status) => {
            let ancestors = status.ancestors.iter();
            ancestors
                .flat_map(|ancestor| about(name(&ancestor.ancestor_ref), &ancestor.conditions))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// What the status tells besides conditions, a line each.
pub(super) fn facts(status: &ObjectStatus) -> Vec<String> {
    match status {
        ObjectStatus::Gateway(status) => {
            let addresses =
                status.addresses.iter().map(|address| format!("address {}", address.value));
            let sets = status.attached_listener_sets.filter(|sets| *sets > 0);
            let sets = sets.map(|sets| format!("attached ListenerSets: {sets}"));
            addresses.chain(listener_facts(&status.listeners)).chain(sets).collect()
        }
        ObjectStatus::ListenerSet(status) => listener_facts(&status.listeners).collect(),
        ObjectStatus::Route(status) if status.parents.is_empty() => {
            vec!["attached to nothing that is served here".to_owned()]
        }
        _ => Vec::new(),
    }
}

fn about(part: impl Into<String>, conditions: &[Condition]) -> impl Iterator<Item = Statement<'_>> {
    let part = part.into();
    conditions.iter().map(move |condition| Statement { part: part.clone(), condition })
}

fn about_listeners(listeners: &[ListenerStatus]) -> impl Iterator<Item = Statement<'_>> {
    listeners
        .iter()
        .flat_map(|listener| about(format!("listener {}", listener.name), &listener.conditions))
}

fn listener_facts(listeners: &[ListenerStatus]) -> impl Iterator<Item = String> {
    listeners.iter().map(|listener| {
        let kinds: Vec<&str> = listener.supported_kinds.iter().map(|kind| &*kind.kind).collect();
        let kinds = if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") };
        format!("listener {}: routes {}, kinds {kinds}", listener.name, listener.attached_routes)
    })
}

fn name(parent: &ParentReference) -> String {
    let mut name = format!("{} ", parent.kind());
    if let Some(namespace) = &parent.namespace {
        name.push_str(namespace);
        name.push('/');
    }
    name.push_str(&parent.name);
    if let Some(section) = &parent.section_name {
        name.push('#');
        name.push_str(section);
    }
    if let Some(port) = parent.port {
        name.push(':');
        name.push_str(&port.to_string());
    }
    name
}
