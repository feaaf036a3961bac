//! Gateways with the ListenerSets that attach to them: what is accepted, and the status.
//!
//! In: Gateways of our classes, their ListenerSets. Out: [`GatewayDraft`]s, whose listeners are
//! judged except for sockets; later their status. Not here: routes.

use std::sync::Arc;

use crate::{
    api::{
        self, ConditionType, Gateway, GatewayStatus, ListenerStatus, ObjectKey, Reason,
        RouteGroupKind,
    },
    diagnostic::Code,
};

use super::{
    Given,
    address::Addresses,
    class::{Classes, Membership},
    distinct::{self, Group},
    listener::Draft,
    listener_set::{self, SetDraft},
    note::Notes,
    overlap,
    parameters::Parameters,
    status::{Conditions, Fault},
    tls::{self, ClientCertificate, Frontend},
};

/// A Gateway on its way through the passes.
#[derive(Debug)]
pub(super) struct GatewayDraft {
    pub(super) key: ObjectKey,
    pub(super) gateway: Arc<Gateway>,
    pub(super) membership: Membership,
    pub(super) addresses: Addresses,
    pub(super) client_certificate: ClientCertificate,
    pub(super) listeners: Vec<Draft>,
    pub(super) sets: Vec<SetDraft>,
    /// Why it is not accepted.
    pub(super) refused: Option<Fault>,
    insecure_frontend: bool,
}

/// All Gateways of ours, the oldest first.
pub(super) fn draft_all(
    given: Given<'_>,
    classes: &Classes,
    notes: &mut Notes,
) -> Vec<GatewayDraft> {
    let mut sets = listener_set::by_gateway(given, notes);
    let mut ours: Vec<_> = given
        .snapshot
        .gateways()
        .iter()
        .filter_map(|(key, gateway)| Some((key, gateway, classes.of(gateway)?)))
        .collect();
    ours.sort_by(|(_, a, _), (_, b, _)| a.metadata.seniority_cmp(&b.metadata));
    ours.into_iter()
        .map(|(key, gateway, membership)| {
            let sets = sets.remove(key).unwrap_or_default();
            GatewayDraft::new(key, gateway, membership, sets, given, notes)
        })
        .collect()
}

impl GatewayDraft {
    fn new(
        key: &ObjectKey,
        gateway: &Arc<Gateway>,
        membership: Membership,
        sets: Vec<SetDraft>,
        given: Given<'_>,
        notes: &mut Notes,
    ) -> Self {
        let listeners = gateway.spec.listeners.iter().enumerate();
        let mut draft = Self {
            key: key.clone(),
            gateway: Arc::clone(gateway),
            membership,
            addresses: Addresses::new(gateway, key, given),
            client_certificate: tls::client_certificate(gateway, key, given),
            listeners: listeners
                .map(|(index, listener)| Draft::new(listener, index, key, notes))
                .collect(),
            sets,
            refused: None,
            insecure_frontend: false,
        };
        draft.judge_names(notes);
        listener_set::judge_permission(&mut draft, given, notes);
        distinct::mark_conflicts(&mut draft.groups(), notes);
        draft.judge_tls(given, notes);
        overlap::mark_overlaps(&mut draft.groups(), notes);
        draft.judge_acceptance(given, notes);
        listener_set::judge_parent(&mut draft, notes);
        draft
    }

    /// Two listeners of one name cannot be told apart by `sectionName`.
    fn judge_names(&mut self, notes: &mut Notes) {
        for (at, draft) in self.listeners.iter().enumerate() {
            if self.listeners[..at].iter().any(|earlier| earlier.name == draft.name) {
                let message =
                    format!("listener name {:?} is used twice; names are unique", draft.name);
                notes.warn(&self.key, draft.field.clone(), Code::DuplicateItem, message);
            }
        }
    }

    /// The listeners of the Gateway and of the sets that it takes, in order of precedence.
    fn groups(&mut self) -> Vec<Group<'_>> {
        let mut groups = vec![Group { owner: &self.key, drafts: &mut self.listeners }];
        let sets = self.sets.iter_mut().filter(|set| set.refused.is_none());
        groups.extend(sets.map(|set| Group { owner: &set.key, drafts: &mut set.listeners }));
        groups
    }

    // SPEC: listeners of ListenerSets are under the frontend settings of their Gateway.
    fn judge_tls(&mut self, given: Given<'_>, notes: &mut Notes) {
        let frontend = Frontend::new(&self.gateway, &self.key, given);
        self.insecure_frontend = frontend.is_insecure();
        for (draft, listener) in self.listeners.iter_mut().zip(&self.gateway.spec.listeners) {
            tls::resolve_listener(draft, listener, &self.key, &frontend, given, notes);
        }
        for set in &mut self.sets {
            for (draft, listener) in set.listeners.iter_mut().zip(&set.set.spec.listeners) {
                tls::resolve_listener(draft, listener, &set.key, &frontend, given, notes);
            }
        }
        if let Some(Err(fault)) = &self.client_certificate {
            notes.fault(&self.key, "spec.tls.backend.clientCertificateRef", fault);
        }
    }

    fn judge_acceptance(&mut self, given: Given<'_>, notes: &mut Notes) {
        if let Some(fault) = parameters_fault(&self.gateway, given) {
            notes.fault(&self.key, "spec.infrastructure.parametersRef", &fault);
            self.refused = Some(fault);
        } else if let Some(fault) = &self.membership.refused {
            self.refused = Some(fault.clone());
        } else if let Some(fault) = &self.addresses.unsupported {
            notes.fault(&self.key, "spec.addresses", fault);
            self.refused = Some(fault.clone());
        } else {
            self.refused = self.listeners_fault();
        }
    }

    // SPEC: a Gateway has at least one listener. One that reads from a file may do without if there
    // are ListenerSets.
    fn listeners_fault(&self) -> Option<Fault> {
        let message = match self.listeners.len() {
            0 if self.sets.iter().any(|set| set.refused.is_none()) => return None,
            0 => "the Gateway has no listener".to_owned(),
            _ if self.listeners.iter().any(Draft::is_accepted) => return None,
            count => format!("none of the {count} listeners is valid: {}", self.invalid_names()),
        };
        Some(Fault::new(Reason::ListenersNotValid, message))
    }

    fn invalid_names(&self) -> String {
        let invalid = self.listeners.iter().filter(|draft| !draft.is_accepted());
        let names: Vec<&str> = invalid.map(|draft| &*draft.name).collect();
        names.join(", ")
    }

    /// The status, with no route attached yet.
    pub(super) fn status(&self, given: Given<'_>) -> GatewayStatus {
        let generation = self.gateway.metadata.generation;
        let conditions = Conditions::new(generation);
        let conditions = match (&self.refused, self.listeners.iter().all(Draft::is_accepted)) {
            (Some(fault), _) => conditions.fails(ConditionType::Accepted, fault),
            (None, true) => conditions.holds(
                ConditionType::Accepted,
                Reason::Accepted,
                "the Gateway and all of its listeners are valid",
            ),
            (None, false) => conditions.holds(
                ConditionType::Accepted,
                Reason::ListenersNotValid,
                &format!("not all listeners are valid, see {}", self.invalid_names()),
            ),
        };
        let insecure = self.insecure_frontend.then(|| {
            let message = "clients without a valid certificate are let in (AllowInsecureFallback)";
            Fault::new(Reason::ConfigurationChanged, message)
        });
        let conditions = conditions
            .verdict(
                ConditionType::Programmed,
                self.not_programmed(given).as_ref(),
                Reason::Programmed,
                "the Gateway is served",
            )
            .verdict(
                ConditionType::ResolvedRefs,
                self.unresolved().as_ref(),
                Reason::ResolvedRefs,
                "all references are resolved",
            )
            .warns(ConditionType::InsecureFrontendValidationMode, insecure.as_ref())
            .finish();
        let attached = self.sets.iter().filter(|set| set.fault().is_none()).count();
        GatewayStatus {
            addresses: self.addresses.status(&self.key, given),
            conditions,
            listeners: listener_statuses(&self.listeners, generation, self.refused.as_ref()),
            attached_listener_sets: Some(i32::try_from(attached).unwrap_or(i32::MAX)),
        }
    }

    // SPEC: single listeners that are not programmed leave the Gateway programmed.
    fn not_programmed(&self, given: Given<'_>) -> Option<Fault> {
        if let Some(fault) = &self.refused {
            return Some(Fault::new(Reason::Invalid, format!("not accepted: {}", fault.message)));
        }
        if self.addresses.unusable.is_some() {
            return self.addresses.unusable.clone();
        }
        let observed = &given.snapshot.observed;
        if let Some(reason) = observed.unready.get(&self.key) {
            return Some(Fault::new(Reason::Pending, reason.clone()));
        }
        observed.gateway_addresses.get(&self.key)?.is_empty().then(|| {
            Fault::new(Reason::AddressNotAssigned, "no address is assigned to the Gateway yet")
        })
    }

    fn unresolved(&self) -> Option<Fault> {
        if let Some(Err(fault)) = &self.client_certificate {
            return Some(fault.clone());
        }
        let mut unresolved = self.listeners.iter().filter(|draft| !draft.unresolved.is_empty());
        let first = unresolved.next()?;
        let names =
            unresolved.fold(first.name.to_string(), |names, draft| names + ", " + &draft.name);
        let message = format!("listeners with unresolved references: {names}");
        Some(Fault::new(Reason::ListenersNotResolved, message))
    }
}

fn parameters_fault(gateway: &Gateway, given: Given<'_>) -> Option<Fault> {
    let reference = gateway.spec.infrastructure.as_ref()?.parameters_ref.as_ref()?;
    let parameters = Parameters::of_gateway(reference, &gateway.metadata.namespace);
    parameters.fault("spec.infrastructure.parametersRef", given)
}

/// The status of all listeners of one object. `refused`: why that object is not accepted.
pub(super) fn listener_statuses(
    drafts: &[Draft],
    generation: Option<i64>,
    refused: Option<&Fault>,
) -> Vec<ListenerStatus> {
    drafts.iter().map(|draft| listener_status(draft, generation, refused)).collect()
}

fn listener_status(
    draft: &Draft,
    generation: Option<i64>,
    refused: Option<&Fault>,
) -> ListenerStatus {
    let not_accepted = draft.invalid.as_ref().or(draft.conflict.as_ref());
    let invalid = |fault: &Fault| Fault::new(Reason::Invalid, fault.message.clone());
    let not_programmed = match not_accepted {
        // SPEC: the loser against another object has one reason in all three conditions.
        Some(fault) if draft.lost => Some(fault.clone()),
        Some(fault) => Some(invalid(fault)),
        None => refused.map(invalid).or_else(|| draft.not_programmed.clone()),
    };
    let unresolved = Fault::gather(
        &draft.unresolved,
        &[
            Reason::RefNotPermitted,
            Reason::InvalidCertificateRef,
            Reason::InvalidCaCertificateKind,
            Reason::InvalidCaCertificateRef,
        ],
    );
    let conditions = Conditions::new(generation)
        .verdict(ConditionType::Accepted, not_accepted, Reason::Accepted, "the listener is valid")
        .verdict(
            ConditionType::Programmed,
            not_programmed.as_ref(),
            Reason::Programmed,
            "the listener is served",
        )
        .verdict(
            ConditionType::ResolvedRefs,
            unresolved.as_ref(),
            Reason::ResolvedRefs,
            "all references are resolved",
        )
        .warns(ConditionType::OverlappingTlsConfig, draft.overlapping.as_ref());
    let conditions = match &draft.conflict {
        Some(fault) => conditions.warns(ConditionType::Conflicted, Some(fault)),
        None => {
            let fault = Fault::new(Reason::NoConflicts, "no other listener claims the same");
            conditions.fails(ConditionType::Conflicted, &fault)
        }
    };
    let kind = |kind: &api::Kind| RouteGroupKind {
        group: Some(kind.group().to_owned()),
        kind: kind.as_str().to_owned(),
    };
    ListenerStatus {
        name: draft.name.to_string(),
        supported_kinds: draft.kinds.iter().map(kind).collect(),
        attached_routes: 0,
        conditions: conditions.finish(),
    }
}
