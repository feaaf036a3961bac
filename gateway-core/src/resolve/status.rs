//! The status of every object, as it should be written; without times, which the writer adds.
//!
//! In: verdicts of the passes. Out: [`StatusReport`], whose every condition carries the generation
//! of its object, in an order that depends on nothing but the outcome. Not here: the verdicts.

use std::collections::{BTreeMap, btree_map};

use serde::Serialize;

use crate::api::{
    Condition, ConditionStatus, ConditionType, GatewayClassStatus, GatewayStatus,
    ListenerSetStatus, ObjectKey, PolicyStatus, Reason, RouteStatus,
};

/// What became of every object of ours.
///
/// Routes are in it even if no parent is ours: their `parents` are then empty, and entries that we
/// wrote earlier have to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StatusReport {
    objects: BTreeMap<ObjectKey, ObjectStatus>,
}

/// The status of one object. Only entries of ours are in its lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ObjectStatus {
    /// Of a GatewayClass.
    GatewayClass(GatewayClassStatus),
    /// Of a Gateway.
    Gateway(GatewayStatus),
    /// Of a ListenerSet.
    ListenerSet(ListenerSetStatus),
    /// Of a route of any kind.
    Route(RouteStatus),
    /// Of a BackendTLSPolicy or XBackendTrafficPolicy.
    Policy(PolicyStatus),
}

impl StatusReport {
    /// The status of an object, if it is ours.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&ObjectStatus> {
        self.objects.get(key)
    }

    /// All of them in the order of their keys.
    pub fn iter(&self) -> btree_map::Iter<'_, ObjectKey, ObjectStatus> {
        self.objects.iter()
    }

    /// How many objects have a status.
    #[must_use]
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether no object has a status.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The objects whose status is new, differs or is gone since `before`.
    pub(crate) fn changed_since(&self, before: &Self) -> Vec<ObjectKey> {
        let differs = self.objects.iter().filter(|(key, status)| before.get(key) != Some(status));
        let gone = before.objects.keys().filter(|key| !self.objects.contains_key(*key));
        let mut changed: Vec<ObjectKey> =
            differs.map(|(key, _)| key).chain(gone).cloned().collect();
        changed.sort();
        changed
    }

    /// Sets a status. Says whether it differs from before.
    pub(super) fn set(&mut self, key: &ObjectKey, status: ObjectStatus) -> bool {
        match self.objects.get_mut(key) {
            Some(old) if *old == status => false,
            Some(old) => {
                *old = status;
                true
            }
            None => {
                self.objects.insert(key.clone(), status);
                true
            }
        }
    }

    /// Drops a status. Says whether there was one.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> bool {
        self.objects.remove(key).is_some()
    }

    pub(super) fn get_mut(&mut self, key: &ObjectKey) -> Option<&mut ObjectStatus> {
        self.objects.get_mut(key)
    }
}

impl<'a> IntoIterator for &'a StatusReport {
    type Item = (&'a ObjectKey, &'a ObjectStatus);
    type IntoIter = btree_map::Iter<'a, ObjectKey, ObjectStatus>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

// === Fault ===

/// Why a condition does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// The first reason in the order of `ranked` that one of `faults` has, with the messages of
    /// all of them; none if there are no faults.
    pub(super) fn gather(faults: &[Self], ranked: &[Reason]) -> Option<Self> {
        let rank = |fault: &&Self| {
            ranked.iter().position(|reason| *reason == fault.reason).unwrap_or(ranked.len())
        };
        let worst = faults.iter().min_by_key(rank)?;
        let messages: Vec<&str> = faults.iter().map(|fault| &*fault.message).collect();
        Some(Self::new(worst.reason.clone(), messages.join("; ")))
    }
}

// === Conditions ===

/// Builds the conditions of one object or of one part of it.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    generation: Option<i64>,
    list: Vec<Condition>,
}

impl Conditions {
    /// For an object of this generation.
    // SPEC: every condition repeats the generation, also those that did not change.
    pub(super) fn new(generation: Option<i64>) -> Self {
        Self { generation, list: Vec::with_capacity(3) }
    }

    /// A condition that holds.
    pub(super) fn holds(self, kind: ConditionType, reason: Reason, message: &str) -> Self {
        self.set(kind, ConditionStatus::True, reason, message.to_owned())
    }

    /// A condition that does not hold.
    pub(super) fn fails(self, kind: ConditionType, fault: &Fault) -> Self {
        self.set(kind, ConditionStatus::False, fault.reason.clone(), fault.message.clone())
    }

    /// A condition that holds unless there is a fault.
    pub(super) fn verdict(
        self,
        kind: ConditionType,
        fault: Option<&Fault>,
        good: Reason,
        message: &str,
    ) -> Self {
        match fault {
            Some(fault) => self.fails(kind, fault),
            None => self.holds(kind, good, message),
        }
    }

    /// A condition of negative polarity, which is present only as true.
    pub(super) fn warns(self, kind: ConditionType, fault: Option<&Fault>) -> Self {
        match fault {
            Some(fault) => {
                self.set(kind, ConditionStatus::True, fault.reason.clone(), fault.message.clone())
            }
            None => self,
        }
    }

    pub(super) fn set(
        mut self,
        kind: ConditionType,
        status: ConditionStatus,
        reason: Reason,
        message: String,
    ) -> Self {
        self.list.push(Condition {
            kind,
            status,
            observed_generation: self.generation,
            last_transition_time: None,
            reason,
            message,
        });
        self
    }

    /// The conditions, ordered by their types.
    pub(super) fn finish(mut self) -> Vec<Condition> {
        self.list.sort_by(|a, b| a.kind.cmp(&b.kind));
        self.list
    }
}
