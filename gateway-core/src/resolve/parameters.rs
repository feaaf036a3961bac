//! Parameters of Gateways and GatewayClasses: whether what a `parametersRef` names can be used.
//!
//! In: a reference, the ConfigMaps of the snapshot. Out: a [`Fault`]. Not here: what parameters mean,
//! which is the business of the program.

use crate::api::{CORE_GROUP, Kind, LocalObjectReference, ParametersReference, Reason};

use super::{Given, status::Fault};

/// Where the parameters are.
pub(super) struct Parameters<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
}

impl<'a> Parameters<'a> {
    pub(super) fn of_class(reference: &'a ParametersReference) -> Self {
        Self {
            group: reference.group(),
            kind: &reference.kind,
            namespace: reference.namespace.as_deref(),
            name: &reference.name,
        }
    }

    pub(super) fn of_gateway(reference: &'a LocalObjectReference, namespace: &'a str) -> Self {
        Self {
            group: reference.group(),
            kind: &reference.kind,
            namespace: Some(namespace),
            name: &reference.name,
        }
    }

    /// Why they cannot be used. `field` is that of the reference.
    pub(super) fn fault(&self, field: &str, given: Given<'_>) -> Option<Fault> {
        let message = self.message(given)?;
        Some(Fault::new(Reason::InvalidParameters, format!("{field} {message}")))
    }

    fn message(&self, given: Given<'_>) -> Option<String> {
        let Self { group, kind, name, .. } = self;
        let Some(check) = &given.scope.parameters_check else {
            return Some(format!(
                "names {group}/{kind} {name}, but no kind of parameters is supported; remove it"
            ));
        };
        if (*group, *kind) != (CORE_GROUP, Kind::ConfigMap.as_str()) {
            return Some(format!(
                "names {group}/{kind} {name}, expected a ConfigMap of group \"\""
            ));
        }
        let Some(namespace) = self.namespace.filter(|namespace| !namespace.is_empty()) else {
            return Some(format!("names the ConfigMap {name} without its namespace"));
        };
        match given.snapshot.config_map(namespace, name) {
            None => Some(format!("names the ConfigMap {namespace}/{name}, which does not exist")),
            Some(parameters) => check
                .check(parameters)
                .err()
                .map(|error| format!("names the ConfigMap {namespace}/{name}: {error}")),
        }
    }
}
