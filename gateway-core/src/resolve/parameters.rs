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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        api::{ConfigMap, Kind, Resource},
        build::build,
        resolve::ObjectStatus,
        scope::{ControllerScope, ParametersCheck},
        snapshot::Snapshot,
    };
    use serde_json::{Value, json};

    /// Wants the key `size` and nothing else.
    #[derive(Debug)]
    struct Size;

    impl ParametersCheck for Size {
        fn check(&self, parameters: &ConfigMap) -> Result<(), String> {
            match parameters.data.keys().find(|key| *key != "size") {
                None => Ok(()),
                Some(key) => Err(format!("{key} is unknown")),
            }
        }
    }

    #[track_caller]
    fn check(class: &Value, own: &Value, key: &str, expect: Result<(), &str>) {
        let read =
            |kind, value| Resource::deserialize(kind, value).expect("the object can be read");
        let map = json!({"metadata": {"namespace": "infra", "name": "map"}, "data": {key: "1"}});
        let snapshot = Snapshot::from_iter([
            read(Kind::ConfigMap, map),
            read(
                Kind::GatewayClass,
                json!({"metadata": {"name": "c"}, "spec": {"controllerName": "a/b", "parametersRef": class}}),
            ),
            read(
                Kind::Gateway,
                json!({"metadata": {"namespace": "infra", "name": "gw"}, "spec": {
                    "gatewayClassName": "c",
                    "listeners": [{"name": "l", "port": 80, "protocol": "HTTP"}],
                    "infrastructure": {"parametersRef": own},
                }}),
            ),
        ]);
        let scope = ControllerScope::of_class("a/b").parameters_check(Arc::new(Size));
        let build = build(&snapshot, &scope);
        let statuses = build.status.iter().map(|(_, status)| status);
        let mut gateways = statuses.filter_map(|status| match status {
            ObjectStatus::Gateway(gateway) => Some(gateway),
            _ => None,
        });
        let accepted = &gateways.next().expect("the Gateway has a status").conditions[0];
        match expect {
            Ok(()) => assert_eq!(accepted.reason.to_string(), "Accepted", "{}", accepted.message),
            Err(part) => {
                assert_eq!(accepted.reason.to_string(), "InvalidParameters");
                assert!(accepted.message.contains(part), "{}", accepted.message);
            }
        }
    }

    #[test]
    fn parameters_are_config_maps_that_the_program_takes() {
        let own = |name: &str| json!({"group": "", "kind": "ConfigMap", "name": name});
        let class = |name: &str| json!({"group": "", "kind": "ConfigMap", "name": name, "namespace": "infra"});
        let none = Value::Null;
        check(&none, &own("map"), "size", Ok(()));
        check(&class("map"), &none, "size", Ok(()));
        check(&none, &own("map"), "colour", Err("infra/map: colour is unknown"));
        check(&class("map"), &none, "colour", Err("GatewayClass c: spec.parametersRef names"));
        check(&none, &own("other"), "size", Err("infra/other, which does not exist"));
        let crd = json!({"group": "example.net", "kind": "Parameters", "name": "map"});
        check(&none, &crd, "size", Err("expected a ConfigMap"));
        check(&own("map"), &none, "size", Err("without its namespace"));
    }
}
