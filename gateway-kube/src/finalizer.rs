//! Keeps a GatewayClass from being deleted while Gateways use it.
//!
//! In: a class's finalizers, and whether Gateways are of the class. Out: the finalizers that it
//! should have. Not here: writing them.

use gateway_core::snapshot::Snapshot;

/// Stands for the Gateways of a class.
// SPEC: the name is given by the API.
const GATEWAY_EXISTS: &str = "gateway-exists-finalizer.gateway.networking.k8s.io";

/// Whether any Gateway is of this class.
pub(crate) fn is_in_use(snapshot: &Snapshot, class: &str) -> bool {
    snapshot.gateways().values().any(|gateway| gateway.spec.gateway_class_name == class)
}

/// The finalizers that a class should have; none if it has them.
pub(crate) fn patch(finalizers: &[String], in_use: bool) -> Option<Vec<String>> {
    let ours = |finalizer: &&String| *finalizer == GATEWAY_EXISTS;
    match (finalizers.iter().any(|finalizer| ours(&finalizer)), in_use) {
        (false, true) => {
            let others = finalizers.iter().cloned();
            Some(others.chain([GATEWAY_EXISTS.to_owned()]).collect())
        }
        (true, false) => {
            Some(finalizers.iter().filter(|finalizer| !ours(finalizer)).cloned().collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{GATEWAY_EXISTS, patch};

    #[track_caller]
    fn check(finalizers: &[&str], in_use: bool, expect: Option<&[&str]>) {
        let finalizers: Vec<String> = finalizers.iter().map(|&name| name.to_owned()).collect();
        let expect = expect.map(|expect| expect.iter().map(|&name| name.to_owned()).collect());
        assert_eq!(patch(&finalizers, in_use), expect, "{finalizers:?} {in_use}");
    }

    #[test]
    fn the_finalizer_is_there_while_the_class_is_used() {
        check(&[], true, Some(&[GATEWAY_EXISTS]));
        check(&["other"], true, Some(&["other", GATEWAY_EXISTS]));
        check(&[GATEWAY_EXISTS, "other"], false, Some(&["other"]));
        check(&[GATEWAY_EXISTS], true, None);
        check(&["other"], false, None);
        check(&[GATEWAY_EXISTS], false, Some(&[]));
    }
}
