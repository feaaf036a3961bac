//! From a snapshot to the topology and the status of every object.
//!
//! In: a [`Snapshot`] and the [`ControllerScope`]. Out: [`Resolved`]. It never fails: each mistake
//! of a user becomes a condition, a [`Diagnostic`] and, where requests would be led astray, a rule
//! that answers 500. Not here: how requests find their rule (`compile`).

mod address;
mod ancestor;
mod attach;
mod backend;
mod bind;
mod class;
mod cors;
mod distinct;
mod external;
mod filters;
mod gateway;
mod grant;
mod grpc_route;
mod http_route;
mod l4_route;
mod listener;
mod listener_set;
mod note;
mod overlap;
mod parameters;
mod parents;
mod pem;
mod policy;
mod resolution;
mod route;
mod rule;
mod selector;
mod session;
mod status;
mod tls;
mod tls_options;
pub mod topology;
mod traffic;

pub use grant::permits;
pub use status::{ObjectStatus, StatusReport};

use crate::{diagnostic::Diagnostic, scope::ControllerScope, snapshot::Snapshot};

use grant::Grants;
pub(crate) use grant::{Referent, Referrer, grant_permits};
pub(crate) use resolution::Resolution;
use topology::Topology;

/// What a snapshot comes to.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    /// What is served.
    pub topology: Topology,
    /// What is to be written back.
    pub status: StatusReport,
    /// What is wrong, object by object, with the field and what would be right.
    pub diagnostics: Vec<Diagnostic>,
}

/// Resolves every reference of a snapshot.
///
/// The outcome depends on the arguments alone, not on the order in which resources arrived.
///
/// ```
/// use gateway_core::{
///     api::{Gateway, HttpRoute, HttpRouteRule, Listener, Service},
///     resolve::resolve,
///     scope::ControllerScope,
///     snapshot::Snapshot,
/// };
/// let snapshot = Snapshot::from_iter([
///     Gateway::new("shop", "public").listener(Listener::http("web", 80)).into(),
///     HttpRoute::new("shop", "cart")
///         .parent("public")
///         .rule(HttpRouteRule::new().backend("cart", 8080))
///         .into(),
///     Service::new("shop", "cart").port(8080).into(),
/// ]);
/// let resolved = resolve(&snapshot, &ControllerScope::all());
/// assert_eq!(resolved.topology.routes.len(), 1);
/// assert!(resolved.diagnostics.is_empty());
/// ```
#[must_use]
pub fn resolve(snapshot: &Snapshot, scope: &ControllerScope) -> Resolved {
    Resolution::new(snapshot, scope).into_resolved()
}

/// What every pass may look at.
#[derive(Clone, Copy, Debug)]
struct Given<'a> {
    snapshot: &'a Snapshot,
    scope: &'a ControllerScope,
    grants: &'a Grants,
}
