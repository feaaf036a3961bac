//! ListenerSets: which Gateway takes them, and their status.
//!
//! In: ListenerSets, and the Gateway they name. Out: [`SetDraft`]s in order of precedence. Not
//! here: conflicts between listeners (`distinct`).

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{ConditionType, FromNamespaces, Kind, ListenerSet, ListenerSetStatus, ObjectKey, Reason},
    diagnostic::Code,
};

use super::{
    Given,
    gateway::{GatewayDraft, listener_statuses},
    listener::Draft,
    note::Notes,
    selector::AllowedNamespaces,
    status::{Conditions, Fault},
};

/// A ListenerSet on its way through the passes.
#[derive(Debug)]
pub(super) struct SetDraft {
    pub(super) key: ObjectKey,
    pub(super) set: Arc<ListenerSet>,
    pub(super) listeners: Vec<Draft>,
    /// Why the Gateway does not take it.
    pub(super) refused: Option<Fault>,
}

/// All ListenerSets by the Gateway that they name, the oldest first.
pub(super) fn by_gateway(
    given: Given<'_>,
    notes: &mut Notes,
) -> BTreeMap<ObjectKey, Vec<SetDraft>> {
    let mut by_gateway: BTreeMap<_, Vec<SetDraft>> = BTreeMap::new();
    for (key, set) in given.snapshot.listener_sets() {
        let parent = &set.spec.parent_ref;
        let namespace = parent.namespace(&key.namespace);
        // SPEC: sets attach to Gateways only, never to other sets.
        let gateway = ObjectKey::new(Kind::Gateway, namespace, &parent.name);
        let kind = Kind::find(parent.group(), parent.kind());
        if kind != Some(Kind::Gateway) || given.snapshot.metadata(&gateway).is_none() {
            let message = format!(
                "parent {}/{} {namespace}/{} does not exist, expected a Gateway",
                parent.group(),
                parent.kind(),
                parent.name
            );
            notes.warn(key, "spec.parentRef", Code::ParentNotFound, message);
            continue;
        }
        let listeners = set.spec.listeners.iter().enumerate();
        by_gateway.entry(gateway).or_default().push(SetDraft {
            key: key.clone(),
            set: Arc::clone(set),
            listeners: listeners
                .map(|(index, listener)| Draft::new(listener, index, key, notes))
                .collect(),
            refused: None,
        });
    }
    for sets in by_gateway.values_mut() {
        sets.sort_by(|a, b| a.set.metadata.seniority_cmp(&b.set.metadata));
    }
    by_gateway
}

/// Refuses the sets whose namespace the Gateway does not let in.
// SPEC: without allowedListeners a Gateway takes no set.
pub(super) fn judge_permission(draft: &mut GatewayDraft, given: Given<'_>, notes: &mut Notes) {
    let allowed = draft.gateway.spec.allowed_listeners.as_ref();
    let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
    let (from, selector) = match namespaces {
        Some(namespaces) => (namespaces.from(), namespaces.selector.as_ref()),
        None => (&FromNamespaces::None, None),
    };
    let permitted = AllowedNamespaces::new(from, selector, &draft.key.namespace);
    if let Err(fault) = &permitted {
        notes.fault(&draft.key, "spec.allowedListeners", fault);
    }
    let permitted = permitted.unwrap_or(AllowedNamespaces::None);
    for set in &mut draft.sets {
        if permitted.allows(&set.key.namespace, given.snapshot) {
            continue;
        }
        let message = format!(
            "spec.allowedListeners of {} lets in namespaces {from}, which leaves out {}",
            draft.key, set.key.namespace
        );
        let fault = Fault::new(Reason::NotAllowed, message);
        notes.fault(&set.key, "spec.parentRef", &fault);
        set.refused = Some(fault);
    }
}

/// Refuses the sets of a Gateway that is not accepted.
pub(super) fn judge_parent(draft: &mut GatewayDraft, notes: &mut Notes) {
    let Some(refused) = &draft.refused else { return };
    for set in draft.sets.iter_mut().filter(|set| set.refused.is_none()) {
        let message = format!("{} is not accepted: {}", draft.key, refused.message);
        let fault = Fault::new(Reason::ParentNotAccepted, message);
        notes.fault(&set.key, "spec.parentRef", &fault);
        set.refused = Some(fault);
    }
}

impl SetDraft {
    /// Why the set as a whole is neither accepted nor programmed.
    // SPEC: a set counts if at least one of its listeners is served.
    pub(super) fn fault(&self) -> Option<Fault> {
        let served = |draft: &Draft| draft.is_accepted() && draft.not_programmed.is_none();
        match &self.refused {
            Some(fault) => Some(fault.clone()),
            None if self.listeners.iter().any(served) => None,
            None => Some(Fault::new(
                Reason::ListenersNotValid,
                format!("none of the {} listeners can be served", self.listeners.len()),
            )),
        }
    }

    /// The status, with no route attached yet.
    pub(super) fn status(&self) -> ListenerSetStatus {
        let generation = self.set.metadata.generation;
        let fault = self.fault();
        let conditions = Conditions::new(generation)
            .verdict(
                ConditionType::Accepted,
                fault.as_ref(),
                Reason::Accepted,
                "the Gateway takes the listeners",
            )
            .verdict(
                ConditionType::Programmed,
                fault.as_ref(),
                Reason::Programmed,
                "the listeners are served",
            )
            .finish();
        // A set that the Gateway does not take has no listeners there to speak of.
        let listeners = match &self.refused {
            None => listener_statuses(&self.listeners, generation, None),
            Some(_) => Vec::new(),
        };
        ListenerSetStatus { conditions, listeners }
    }
}
