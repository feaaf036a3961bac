//! What the rules of all kinds of routes have in common.
//!
//! In: references and filters of a rule. Out: backends with weights, and the findings on the way.
//! Not here: matches (`http_route`, `grpc_route`).

use std::sync::Arc;

use crate::{
    api::{BackendObjectReference, HttpRouteFilter, Reason},
    backend::{Backend, InvalidBackend, WeightedBackend, WeightedBackends},
    diagnostic::Code,
    filter::Filter,
};

use super::{
    backend::{Backends, Rejected, Speaks},
    filters::{Place, filters},
    note::Notes,
    status::Fault,
    topology::Rule,
};

/// The most that a weight may be.
const MAX_WEIGHT: u32 = 1_000_000;

/// The rules of one route on their way.
#[derive(Debug)]
pub(super) struct Lowering<'a> {
    pub(super) backends: Backends<'a>,
    pub(super) notes: &'a mut Notes,
    /// References that lead nowhere.
    pub(super) faults: Vec<Fault>,
    /// Rules that cannot be taken, by their index.
    pub(super) dropped: Vec<(usize, Fault)>,
    /// Backends whose filters cannot be taken.
    pub(super) spoiled: Vec<String>,
}

/// A backend as all kinds of routes write it.
#[derive(Debug)]
pub(super) struct BackendRef<'r> {
    pub(super) reference: &'r BackendObjectReference,
    pub(super) weight: i32,
    pub(super) filters: Vec<HttpRouteFilter>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(backends: Backends<'a>, notes: &'a mut Notes) -> Self {
        let (faults, dropped, spoiled) = (Vec::new(), Vec::new(), Vec::new());
        Self { backends, notes, faults, dropped, spoiled }
    }

    /// Notes a reference that leads nowhere.
    pub(super) fn unresolved(&mut self, fault: Fault, field: &str) {
        self.notes.fault(self.backends.route, field, &fault);
        self.faults.push(fault);
    }

    /// Notes something that no condition shows.
    pub(super) fn warn(&mut self, field: &str, code: Code, message: String) {
        self.notes.warn(self.backends.route, field, code, message);
    }

    /// Keeps a rule, or notes why it cannot be taken.
    pub(super) fn keep(&mut self, index: usize, rule: Result<Rule, Fault>) -> Option<Arc<Rule>> {
        match rule {
            Ok(rule) => Some(Arc::new(rule)),
            Err(fault) => {
                let field = format!("spec.rules[{index}]");
                let message = format!("the rule is dropped: {}", fault.message);
                self.warn(&field, Code::RuleDropped, message);
                self.dropped.push((index, fault));
                None
            }
        }
    }

    /// Follows a reference.
    ///
    /// # Errors
    ///
    /// Why it leads nowhere; that is noted already.
    pub(super) fn backend(
        &mut self,
        reference: &BackendObjectReference,
        field: &str,
    ) -> Result<Arc<Backend>, InvalidBackend> {
        self.backends.resolve(reference).map_err(|Rejected { invalid, fault }| {
            if let Some(fault) = fault {
                self.unresolved(fault, field);
            }
            invalid
        })
    }

    /// Follows the reference to an authorization service, which is not spoken to as the route is.
    ///
    /// # Errors
    ///
    /// As [`Self::backend`].
    pub(super) fn auth_backend(
        &mut self,
        reference: &BackendObjectReference,
        grpc: bool,
        field: &str,
    ) -> Result<Arc<Backend>, InvalidBackend> {
        let route_speaks = self.backends.speaks;
        self.backends.speaks = if grpc { Speaks::Grpc } else { Speaks::Http };
        let backend = self.backend(reference, field);
        self.backends.speaks = route_speaks;
        backend
    }

    /// Resolves the backends of a rule. `place` is that of the rule's own filters.
    pub(super) fn weighted<'r>(
        &mut self,
        references: impl Iterator<Item = BackendRef<'r>>,
        index: usize,
        place: Place<'_>,
    ) -> WeightedBackends {
        let backends = references.enumerate().map(|(at, reference)| {
            let field = format!("spec.rules[{index}].backendRefs[{at}]");
            self.weighted_backend(&reference, &field, place)
        });
        WeightedBackends::new(backends.collect())
    }

    fn weighted_backend(
        &mut self,
        reference: &BackendRef<'_>,
        field: &str,
        place: Place<'_>,
    ) -> WeightedBackend {
        let weight = u32::try_from(reference.weight).ok().filter(|weight| *weight <= MAX_WEIGHT);
        let weight = weight.unwrap_or_else(|| {
            let taken = if reference.weight < 0 { 0 } else { MAX_WEIGHT };
            let message = format!(
                "weight is {}, expected 0 to {MAX_WEIGHT}; {taken} is used",
                reference.weight
            );
            self.warn(field, Code::OutOfRange, message);
            taken
        });
        let target = self.backend(reference.reference, field);
        let place = Place { field: &format!("{field}.filters"), has_backends: false, ..place };
        let read = filters(&reference.filters, place, self);
        let (filters, spoiled) = match read {
            Ok(filters) => {
                let spoiled = filters.iter().any(|filter| matches!(filter, Filter::Invalid));
                (filters, spoiled)
            }
            Err(fault) => {
                let message = format!("requests for it are answered with 500: {}", fault.message);
                self.warn(field, Code::UnsupportedValue, message);
                self.spoiled.push(fault.message);
                (Vec::new(), true)
            }
        };
        match spoiled {
            true => {
                let target = target.and(Err(InvalidBackend::InvalidFilter));
                WeightedBackend { weight, target, filters: Vec::new() }
            }
            false => WeightedBackend { weight, target, filters },
        }
    }

    /// Why not all rules are taken, if at least one is; for PartiallyInvalid.
    // SPEC: the message starts with "Dropped Rule" when rules are left out.
    pub(super) fn partially_invalid(&self) -> Option<Fault> {
        let mut parts: Vec<String> = self
            .dropped
            .iter()
            .map(|(index, fault)| format!("Dropped Rule {index}: {}", fault.message))
            .collect();
        parts.extend(
            self.spoiled
                .iter()
                .map(|message| format!("Dropped Rule backend (answers 500): {message}")),
        );
        (!parts.is_empty()).then(|| Fault::new(Reason::UnsupportedValue, parts.join("; ")))
    }

    /// Why the route as a whole is refused, if all of its rules are dropped.
    pub(super) fn refused(&self, rules: usize) -> Option<Fault> {
        if rules == 0 || self.dropped.len() < rules {
            return None;
        }
        let all_incompatible =
            self.dropped.iter().all(|(_, fault)| fault.reason == Reason::IncompatibleFilters);
        let reason =
            if all_incompatible { Reason::IncompatibleFilters } else { Reason::UnsupportedValue };
        let messages: Vec<String> = self
            .dropped
            .iter()
            .map(|(index, fault)| format!("rule {index}: {}", fault.message))
            .collect();
        Some(Fault::new(reason, format!("no rule is valid: {}", messages.join("; "))))
    }
}
