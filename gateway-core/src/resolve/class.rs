//! GatewayClasses: which are ours, and their status.
//!
//! In: all classes. Out: [`Classes`], which says of a Gateway whether it is ours. Not here: the
//! condition SupportedVersion, for which one has to look at the CRDs of a cluster.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{
        ConditionType, Gateway, GatewayClass, GatewayClassStatus, Kind, ObjectKey, Reason,
        SupportedFeature,
    },
    scope::{ControllerScope, Ownership},
};

use super::{
    Given,
    note::Notes,
    status::{Conditions, Fault, ObjectStatus, StatusReport},
};

/// The classes that are ours, by name.
#[derive(Debug, Default)]
pub(super) struct Classes {
    by_name: BTreeMap<Box<str>, Class>,
    /// Whether Gateways without a class of ours are ours as well.
    all: bool,
}

#[derive(Debug)]
struct Class {
    controller_name: Arc<str>,
    refused: Option<Fault>,
}

/// What a Gateway gets from its class.
#[derive(Clone, Debug)]
pub(super) struct Membership {
    /// The controller that is named in status entries.
    pub(super) controller_name: Arc<str>,
    /// Why no Gateway of the class can be accepted.
    pub(super) refused: Option<Fault>,
}

impl Classes {
    pub(super) fn new(given: Given<'_>, status: &mut StatusReport, notes: &mut Notes) -> Self {
        let all = given.scope.ownership == Ownership::All;
        let mut classes = Self { by_name: BTreeMap::new(), all };
        for (key, class) in given.snapshot.gateway_classes() {
            if !given.scope.owns_class(&class.spec.controller_name) {
                continue;
            }
            let refused = parameters_fault(class);
            if let Some(fault) = &refused {
                notes.fault(key, "spec.parametersRef", fault);
            }
            let written = class_status(class, refused.as_ref(), given.scope);
            status.set(key, ObjectStatus::GatewayClass(written));
            let controller_name = class.spec.controller_name.as_str().into();
            classes.by_name.insert(key.name.clone(), Class { controller_name, refused });
        }
        classes
    }

    /// What the Gateway gets from its class; none if it is not ours.
    pub(super) fn of(&self, gateway: &Gateway) -> Option<Membership> {
        match self.by_name.get(gateway.spec.gateway_class_name.as_str()) {
            Some(class) => Some(Membership {
                controller_name: Arc::clone(&class.controller_name),
                refused: class.refused.as_ref().map(|fault| {
                    let name =
                        ObjectKey::cluster(Kind::GatewayClass, &gateway.spec.gateway_class_name);
                    Fault::new(fault.reason.clone(), format!("{name}: {}", fault.message))
                }),
            }),
            None if self.all => Some(Membership {
                controller_name: ControllerScope::DEFAULT_CONTROLLER.into(),
                refused: None,
            }),
            None => None,
        }
    }
}

fn parameters_fault(class: &GatewayClass) -> Option<Fault> {
    let reference = class.spec.parameters_ref.as_ref()?;
    let message = format!(
        "spec.parametersRef names {}/{} {}, but no kind of parameters is supported; remove it",
        reference.group(),
        reference.kind,
        reference.name
    );
    Some(Fault::new(Reason::InvalidParameters, message))
}

fn class_status(
    class: &GatewayClass,
    refused: Option<&Fault>,
    scope: &ControllerScope,
) -> GatewayClassStatus {
    let conditions = Conditions::new(class.metadata.generation)
        .verdict(ConditionType::Accepted, refused, Reason::Accepted, "the class is ours")
        .finish();
    // SPEC: supportedFeatures is in ascending order.
    let mut names = scope.supported_features.to_vec();
    names.sort_unstable();
    let feature = |name: &str| SupportedFeature { name: name.to_owned() };
    GatewayClassStatus { conditions, supported_features: names.into_iter().map(feature).collect() }
}
