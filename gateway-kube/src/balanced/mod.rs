//! Each Gateway behind a Service of its own, all of them on the same pods: this program's.
//!
//! In: Gateways, and the Services that are there. Out: for each Gateway a Service in the namespace of
//! the program, its addresses, and the ports at which the program is to listen for it. Not here:
//! sockets, and how objects are kept (`dedicated`).
//!
//! All Gateways have a port 80, the pods have one. So each port of each Gateway has another one of
//! the pods that stands for it, the `targetPort` of the Service. The Service is where it is written
//! down: every replica reads it there, now and after a restart.

mod allot;
mod balancers;
mod plan;

use std::collections::BTreeMap;

pub use allot::{Allotment, Allotted, PortRange, allot, held};
pub(crate) use balancers::{Balancers, changed};
pub use plan::service;

use crate::dedicated::ObjectKind;

/// The kinds of objects that a Gateway has in the namespace of the program.
pub const KINDS: &[ObjectKind] = &[ObjectKind::Service];

/// How Gateways are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balanced {
    /// The namespace of the program's pods; Services find pods of their own namespace alone.
    pub namespace: String,
    /// The labels of the program's pods.
    pub selector: BTreeMap<String, String>,
    /// The type of the Services unless parameters give another one.
    pub service_type: &'static str,
    /// The ports of the pods that Gateways are given.
    pub ports: PortRange,
}
