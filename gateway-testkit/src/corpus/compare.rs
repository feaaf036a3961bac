//! What came of a case beside what should have.

use std::fmt;

use super::{Case, Conditions, ListenerOutcome, ObjectOutcome, Outcome};

/// One place where an outcome is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `area/name` of the case.
    pub case: String,
    /// The request or the part of a status.
    pub place: String,
    /// What the outcome file says.
    pub expected: String,
    /// What came of it.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { case, place, expected, got } = self;
        write!(f, "{case}: {place}:\n  expected {expected}\n  got      {got}")
    }
}

/// All places where `got` is not `expected`.
pub(super) fn differences(case: &Case, expected: &Outcome, got: &Outcome) -> Vec<Difference> {
    let mut found = Found { case: &case.name, differences: Vec::new() };
    // No status is the same as an empty one.
    let empty = ObjectOutcome::default();
    for (name, object) in &expected.status {
        found.object(name, object, got.status.get(name).unwrap_or(&empty));
    }
    for (place, request) in case.requests.iter().enumerate() {
        let name = format!("request {place} ({} {})", request.method(), request.url);
        match (expected.decisions.get(place), got.decisions.get(place)) {
            (Some(expected), Some(got)) => {
                found.compare(&name, &expected.clone().normal(), &got.clone().normal());
            }
            (None, Some(got)) => found.add(&name, "(no decision in the outcome file)", got),
            (expected, None) => found.add(&name, format!("{expected:?}"), "nothing"),
        }
    }
    if expected.decisions.len() > case.requests.len() {
        let (wanted, sent) = (expected.decisions.len(), case.requests.len());
        found.add("decisions", format!("{wanted} requests"), sent);
    }
    found.differences
}

struct Found<'c> {
    case: &'c str,
    differences: Vec<Difference>,
}

impl Found<'_> {
    fn add(&mut self, place: &str, expected: impl fmt::Display, got: impl fmt::Display) {
        self.differences.push(Difference {
            case: self.case.to_owned(),
            place: place.to_owned(),
            expected: expected.to_string(),
            got: got.to_string(),
        });
    }

    fn compare<T: PartialEq + fmt::Display>(&mut self, place: &str, expected: &T, got: &T) {
        if expected != got {
            self.add(place, expected, got);
        }
    }

    /// Compares what `expected` says; none means that it says nothing.
    fn compare_known<T: PartialEq + fmt::Debug>(
        &mut self,
        place: &str,
        expected: Option<&T>,
        got: Option<&T>,
    ) {
        if expected.is_some() && expected != got {
            self.add(place, format!("{expected:?}"), format!("{got:?}"));
        }
    }

    fn object(&mut self, name: &str, expected: &ObjectOutcome, got: &ObjectOutcome) {
        self.conditions(name, &expected.conditions, &got.conditions);
        let sets = (&expected.attached_listener_sets, &got.attached_listener_sets);
        self.compare_known(
            &format!("{name} attachedListenerSets"),
            sets.0.as_ref(),
            sets.1.as_ref(),
        );
        let addresses = (&expected.addresses, &got.addresses);
        self.compare_known(
            &format!("{name} addresses"),
            addresses.0.as_ref(),
            addresses.1.as_ref(),
        );
        self.listeners(name, &expected.listeners, &got.listeners);
        let entries = [
            ("parent", &expected.parents, &got.parents),
            ("ancestor", &expected.ancestors, &got.ancestors),
        ];
        for (kind, expected, got) in entries {
            let names: std::collections::BTreeSet<_> = expected.keys().chain(got.keys()).collect();
            for entry in names {
                let place = format!("{name} {kind} {entry}");
                match (expected.get(entry), got.get(entry)) {
                    (Some(expected), Some(got)) => self.conditions(&place, expected, got),
                    (Some(_), None) => self.add(&place, "an entry", "none"),
                    (None, _) => self.add(&place, "no entry", "one"),
                }
            }
        }
    }

    fn listeners(
        &mut self,
        name: &str,
        expected: &[(String, ListenerOutcome)],
        got: &[(String, ListenerOutcome)],
    ) {
        let names = |listeners: &[(String, ListenerOutcome)]| {
            listeners.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(", ")
        };
        if names(expected) != names(got) {
            self.add(&format!("{name} listeners"), names(expected), names(got));
            return;
        }
        for ((listener, expected), (_, got)) in expected.iter().zip(got) {
            let place = format!("{name} listener {listener}");
            let routes = (&expected.attached_routes, &got.attached_routes);
            self.compare_known(
                &format!("{place} attachedRoutes"),
                routes.0.as_ref(),
                routes.1.as_ref(),
            );
            let kinds = (&expected.supported_kinds, &got.supported_kinds);
            self.compare_known(
                &format!("{place} supportedKinds"),
                kinds.0.as_ref(),
                kinds.1.as_ref(),
            );
            self.conditions(&place, &expected.conditions, &got.conditions);
        }
    }

    fn conditions(&mut self, place: &str, expected: &Conditions, got: &Conditions) {
        let names: std::collections::BTreeSet<_> = expected.keys().chain(got.keys()).collect();
        for name in names {
            let (expected, got) = (expected.get(name), got.get(name));
            if expected != got {
                let text = |value: Option<&String>| value.cloned().unwrap_or_else(|| "none".into());
                self.add(&format!("{place} {name}"), text(expected), text(got));
            }
        }
    }
}
