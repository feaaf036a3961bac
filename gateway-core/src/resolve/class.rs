//! GatewayClasses: which are ours, and their status.
//!
//! In: all classes, and the version of the CRDs if there are any. Out: [`Classes`], which says of a
//! Gateway whether it is ours. Not here: reading the CRDs.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{
        ConditionType, Gateway, GatewayClass, GatewayClassStatus, Kind, ObjectKey, Reason,
        SupportedFeature,
    },
    feature::Channel,
    scope::{ControllerScope, Ownership},
};

use super::{
    Given,
    note::Notes,
    parameters::Parameters,
    status::{Conditions, Fault, ObjectStatus, StatusReport},
};

/// The newest release whose CRDs are known, by major and minor number.
const NEWEST_BUNDLE: (u32, u32) = (1, 6);

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
            let refused = parameters_fault(class, given);
            if let Some(fault) = &refused {
                notes.fault(key, "spec.parametersRef", fault);
            }
            let written = class_status(class, refused.as_ref(), given);
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

fn parameters_fault(class: &GatewayClass, given: Given<'_>) -> Option<Fault> {
    let reference = class.spec.parameters_ref.as_ref()?;
    Parameters::of_class(reference).fault("spec.parametersRef", given)
}

// SPEC: CRDs of another version are served as well as possible, and the class tells it.
fn version_fault(version: &str) -> Option<Fault> {
    let (major, minor) = NEWEST_BUNDLE;
    let known = bundle(version).is_some_and(|(of, minor_of)| of == major && minor_of <= minor);
    let seen = match version {
        "" => "the CRDs state no version".to_owned(),
        version => format!("the CRDs are those of {version}"),
    };
    let message =
        format!("{seen}, known are those up to v{major}.{minor}; what is known of them is served");
    (!known).then(|| Fault::new(Reason::UnsupportedVersion, message))
}

/// The major and minor number of a version such as `v1.6.1` or `v1.6.0-rc.2`.
fn bundle(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.strip_prefix('v')?.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    numbers.next().filter(|patch| patch.starts_with(|first: char| first.is_ascii_digit()))?;
    Some((major, minor))
}

fn class_status(
    class: &GatewayClass,
    refused: Option<&Fault>,
    given: Given<'_>,
) -> GatewayClassStatus {
    let mut conditions = Conditions::new(class.metadata.generation).verdict(
        ConditionType::Accepted,
        refused,
        Reason::Accepted,
        "the class is ours",
    );
    let bundle = given.snapshot.observed.bundle.as_ref();
    if let Some(version) = bundle.map(|bundle| &bundle.version) {
        conditions = conditions.verdict(
            ConditionType::SupportedVersion,
            version_fault(version).as_ref(),
            Reason::SupportedVersion,
            &format!("the CRDs are those of {version}"),
        );
    }
    let conditions = conditions.finish();
    // SPEC: supportedFeatures is in ascending order.
    let mut names = given.scope.supported_features.to_vec();
    let channel = Channel::of_crds(bundle.map_or("", |bundle| &bundle.channel));
    names.retain(|name| channel.has(name));
    names.sort_unstable();
    let feature = |name: &str| SupportedFeature { name: name.to_owned() };
    GatewayClassStatus { conditions, supported_features: names.into_iter().map(feature).collect() }
}

#[cfg(test)]
mod tests {
    use super::version_fault;

    #[track_caller]
    fn check(version: &str, supported: bool) {
        assert_eq!(version_fault(version).is_none(), supported, "{version:?}");
    }

    #[test]
    fn releases_up_to_the_newest_known_one_are_supported() {
        for version in ["v1.6.1", "v1.6.0-rc.2", "v1.0.0", "v1.5.3"] {
            check(version, true);
        }
        for version in ["", "v1", "v1.6", "v1.7.0", "v2.0.0", "v0.8.1", "1.6.1", "v1.x.0", "v1.6.x"]
        {
            check(version, false);
        }
    }
}
