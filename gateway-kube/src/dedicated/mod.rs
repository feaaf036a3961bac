//! Each Gateway on pods of its own: what it needs in the cluster, and how that is kept there.
//!
//! In: Gateways and their parameters. Out: ServiceAccounts, Deployments, Services and the like; the
//! addresses and the state of each Gateway. Not here: the configuration that its pods serve
//! (`config_stream`), and any judgement of Gateways (`gateway-core`).

mod applied;
mod covers;
mod fleet;
pub(crate) mod keeper;
pub(crate) mod keeping;
mod name;
mod object;
mod objects;
mod offers;
mod parameters;
pub(crate) mod plan;
mod provision;
mod steps;
mod workload;
mod write;

pub use fleet::Fleet;
pub use name::{
    GATEWAY_CLASS_NAME, GATEWAY_NAME, GATEWAY_NAMESPACE, MANAGED_BY, controller_label,
    foreign_name, label_value, labels, object_name, selector,
};
pub use object::{Object, ObjectId, ObjectKind};
pub use objects::{AUTHORITY_FILE, Blueprint, Port, objects, ports};
pub use parameters::{Check, Parameters, Scaling, ServiceCheck};
pub use provision::Provision;
pub use workload::PROBE_PORT;
pub(crate) use {
    name::fold,
    objects::{metadata, service, service_port, service_port_to},
    plan::ours,
};

/// The kinds of objects that a Gateway with pods of its own has.
pub const KINDS: &[ObjectKind] = &[
    ObjectKind::ServiceAccount,
    ObjectKind::ConfigMap,
    ObjectKind::Deployment,
    ObjectKind::Service,
    ObjectKind::PodDisruptionBudget,
    ObjectKind::HorizontalPodAutoscaler,
];
