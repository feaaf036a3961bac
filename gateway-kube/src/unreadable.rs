//! What is said of a route or policy that cannot be read.
//!
//! In: its stored status, and why it cannot be read. Out: the status that it should have. Not here:
//! objects that can be read, however wrong they are; `gateway-core` judges those.
//!
//! Its parents cannot be read either, so only entries that we wrote before are renewed.

use gateway_core::{
    api::{
        Condition, ConditionStatus, ConditionType, Kind, PolicyAncestorStatus, PolicyStatus,
        Reason, RouteParentStatus, RouteStatus,
    },
    resolve::ObjectStatus,
};
use serde::Deserialize;
use serde_json::Value;

use crate::object::Version;

/// The status of an object that cannot be read; none if we said nothing about it so far.
pub(crate) fn status(
    kind: Kind,
    version: &Version,
    controller: &str,
    error: &str,
) -> Option<ObjectStatus> {
    let stored = version.status();
    let refused = Condition {
        kind: ConditionType::Accepted,
        status: ConditionStatus::False,
        observed_generation: version.generation,
        last_transition_time: None,
        reason: Reason::UnsupportedValue,
        message: format!("the object cannot be read: {error}"),
    };
    match kind {
        Kind::BackendTlsPolicy | Kind::XBackendTrafficPolicy => {
            let mut ancestors: Vec<PolicyAncestorStatus> = ours(&stored["ancestors"], controller);
            ancestors.iter_mut().for_each(|entry| entry.conditions = vec![refused.clone()]);
            (!ancestors.is_empty()).then_some(ObjectStatus::Policy(PolicyStatus { ancestors }))
        }
        Kind::HttpRoute | Kind::GrpcRoute | Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => {
            let mut parents: Vec<RouteParentStatus> = ours(&stored["parents"], controller);
            parents.iter_mut().for_each(|entry| entry.conditions = vec![refused.clone()]);
            (!parents.is_empty()).then_some(ObjectStatus::Route(RouteStatus { parents }))
        }
        _ => None,
    }
}

fn ours<T: for<'de> Deserialize<'de>>(entries: &Value, controller: &str) -> Vec<T> {
    let entries = entries.as_array().into_iter().flatten();
    let ours = entries.filter(|entry| entry["controllerName"] == controller);
    ours.filter_map(|entry| T::deserialize(entry).ok()).collect()
}
