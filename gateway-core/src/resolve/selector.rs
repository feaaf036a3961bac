//! Which namespaces a listener or a Gateway lets in.
//!
//! In: `namespaces` of `allowedRoutes` and `allowedListeners`. Out: [`AllowedNamespaces::allows`].
//! Not here: what is let in.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{
        FromNamespaces, LabelSelector, LabelSelectorOperator, LabelSelectorRequirement, Namespace,
        Reason,
    },
    snapshot::Snapshot,
};

use super::status::Fault;

/// The label that every namespace has by itself.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A set of namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AllowedNamespaces {
    None,
    All,
    /// This one.
    Same(Box<str>),
    /// Those whose labels match.
    Selector(Arc<LabelSelector>),
}

impl AllowedNamespaces {
    /// Reads `from` and `selector` of an object in the namespace `own`.
    ///
    /// # Errors
    ///
    /// If `from` or an operator of the selector is unknown.
    pub(super) fn new(
        from: &FromNamespaces,
        selector: Option<&LabelSelector>,
        own: &str,
    ) -> Result<Self, Fault> {
        Ok(match (from, selector) {
            (FromNamespaces::All, _) => Self::All,
            (FromNamespaces::Same, _) => Self::Same(own.into()),
            // SPEC: an empty selector matches all namespaces, an absent one none.
            (FromNamespaces::None, _) | (FromNamespaces::Selector, None) => Self::None,
            (FromNamespaces::Selector, Some(selector)) => {
                check_operators(selector)?;
                Self::Selector(Arc::new(selector.clone()))
            }
            (FromNamespaces::Unknown(value), _) => {
                let message = format!(
                    "namespaces.from is {value:?}, expected one of {}",
                    FromNamespaces::KNOWN.join(", ")
                );
                return Err(Fault::new(Reason::UnsupportedValue, message));
            }
        })
    }

    /// Whether the namespace called `name` is in the set.
    ///
    /// A namespace without object has only the label that each has by itself.
    pub(super) fn allows(&self, name: &str, snapshot: &Snapshot) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Same(own) => **own == *name,
            Self::Selector(selector) => {
                let labels = snapshot.namespace("", name).map(|namespace| &**namespace);
                selects(selector, labels, name)
            }
        }
    }
}

fn check_operators(selector: &LabelSelector) -> Result<(), Fault> {
    for requirement in &selector.match_expressions {
        if let LabelSelectorOperator::Unknown(value) = &requirement.operator {
            let message = format!(
                "operator {value:?} of label {:?} is not known, expected one of {}",
                requirement.key,
                LabelSelectorOperator::KNOWN.join(", ")
            );
            return Err(Fault::new(Reason::UnsupportedValue, message));
        }
    }
    Ok(())
}

fn selects(selector: &LabelSelector, namespace: Option<&Namespace>, name: &str) -> bool {
    static NO_LABELS: BTreeMap<String, String> = BTreeMap::new();
    let labels = namespace.map_or(&NO_LABELS, |namespace| &namespace.metadata.labels);
    let label = |key: &str| match key {
        NAME_LABEL => Some(name),
        _ => labels.get(key).map(String::as_str),
    };
    selector.match_labels.iter().all(|(key, value)| label(key) == Some(value))
        && selector.match_expressions.iter().all(|requirement| holds(requirement, label))
}

fn holds<'a>(
    requirement: &LabelSelectorRequirement,
    label: impl Fn(&str) -> Option<&'a str>,
) -> bool {
    let value = label(&requirement.key);
    let listed = || value.is_some_and(|value| requirement.values.iter().any(|v| v == value));
    match requirement.operator {
        LabelSelectorOperator::In => listed(),
        LabelSelectorOperator::NotIn => !listed(),
        LabelSelectorOperator::Exists => value.is_some(),
        LabelSelectorOperator::DoesNotExist => value.is_none(),
        LabelSelectorOperator::Unknown(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::AllowedNamespaces;
    use crate::{
        api::{FromNamespaces, LabelSelector, LabelSelectorRequirement, Namespace},
        snapshot::Snapshot,
    };

    #[track_caller]
    fn check(labels: &[(&str, &str)], expressions: &[(&str, &str, &[&str])], expect: &[&str]) {
        let namespaces = [("web", "team", "a"), ("app", "team", "b"), ("bare", "x", "y")];
        let snapshot = Snapshot::from_iter(
            namespaces.map(|(name, key, value)| Namespace::new(name).label(key, value).into()),
        );
        let owned = |text: &&str| (*text).to_owned();
        let selector = LabelSelector {
            match_labels: labels.iter().map(|(k, v)| (owned(k), owned(v))).collect(),
            match_expressions: expressions
                .iter()
                .map(|(key, operator, values)| LabelSelectorRequirement {
                    key: owned(key),
                    operator: (*operator).into(),
                    values: values.iter().map(owned).collect(),
                })
                .collect(),
        };
        let allowed =
            AllowedNamespaces::new(&FromNamespaces::Selector, Some(&selector), "infra").unwrap();
        let names: Vec<&str> = ["web", "app", "bare", "unknown"]
            .into_iter()
            .filter(|name| allowed.allows(name, &snapshot))
            .collect();
        assert_eq!(names, expect);
    }

    #[test]
    fn selectors() {
        check(&[], &[], &["web", "app", "bare", "unknown"]);
        check(&[("team", "a")], &[], &["web"]);
        check(&[("kubernetes.io/metadata.name", "unknown")], &[], &["unknown"]);
        check(&[], &[("team", "In", &["a", "b"])], &["web", "app"]);
        check(&[], &[("team", "NotIn", &["a"])], &["app", "bare", "unknown"]);
        check(&[], &[("team", "Exists", &[])], &["web", "app"]);
        check(&[], &[("team", "DoesNotExist", &[])], &["bare", "unknown"]);
        check(&[("team", "a")], &[("team", "NotIn", &["a"])], &[]);
    }
}
