//! The Kubernetes Gateway API for [tower](https://docs.rs/tower): routes in front of a service, and
//! routes as a service.
//!
//! | you have | you take |
//! |---|---|
//! | an axum router, a tonic or hyper service, and want routes in front of it | [`GatewayLayer`] |
//! | several services in one process, and want routes to choose among them | [`RouteService`] with [`LocalBackends`] |
//! | connections to real backends, and want to build a proxy | [`RouteService`] with your own [`Upstream`] |
//!
//! All of them read the routes from a [`TableHandle`], to which a new table can be published at any
//! time; a request sees one table from its start to its end.
//!
//! # Life of a request in [`RouteService`]
//!
//! 1. `gateway_core` decides: listener, route, rule, backend; or an answer.
//! 2. The rule's filters run in order. `RequestMirror` starts a copy and goes on, `ExternalAuth`
//!    asks and waits.
//! 3. A session that the client is in overrides the choice of the backend; the filters of the
//!    backend run.
//! 4. [`Upstream::send`] is called, once for each try, with the [`SelectedBackend`]: what it is,
//!    the endpoint of the session, endpoints that failed before. Retries follow the rule and the
//!    budget of the backend; the request's body is kept up to a limit to be sent again.
//! 5. The answer passes the filters back. Its body streams, until `timeouts` break it off.
//!
//! What became of the request is told beside the answer: an [`Exchange`] from
//! [`RouteService::dispatch`], or extensions of the response (`OwnedMatch`, `Cause`) from the tower
//! service.
//!
//! # A proxy of your own
//!
//! Implement [`Upstream`] over your connections. One [`RouteService`] serves all; for each
//! connection of a client make an [`OwnedIngress`] and call [`RouteService::dispatch`] with it for
//! every request:
//!
//! ```
//! use gateway_core::{compile::RouteTable, resolve::topology::Topology};
//! use gateway_tower::{NoUpstream, OwnedIngress, RouteService, TableHandle};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let table = TableHandle::new(RouteTable::compile(&Topology::default(), 0));
//! let service = RouteService::new(table.clone(), NoUpstream);
//! let ingress = OwnedIngress::port(80).from_peer("192.0.2.1:50000".parse()?);
//! let request = http::Request::get("http://shop.example/").body(String::new())?;
//! let exchange = service.dispatch(&ingress, request).await;
//! assert_eq!(exchange.response.status(), 404);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Left to the server and to the `Upstream`: reading requests safely, fields that belong to one
//! connection (RFC 9110 section 7.6.1), `X-Forwarded-*`, upgrades (the extensions of requests and
//! answers pass through), the choice among endpoints, TLS.

mod answer;
mod body;
mod dispatch;
mod effects;
mod filters;
mod forward;
mod future;
mod handle;
mod ingress;
mod layer;
mod local;
mod matched;
mod request_body;
mod retry;
mod retry_budget;
mod route_service;
mod service;
mod session;
mod settings;
#[cfg(test)]
mod test_support;
mod timeout;
mod upstream;

pub use answer::answer;
pub use body::{BodyTimeout, GatewayBody};
pub use future::GatewayFuture;
pub use handle::{TableHandle, TableReader};
pub use ingress::OwnedIngress;
pub use layer::{GatewayLayer, NoBackend, NoMatch};
pub use local::{InvalidBackendName, LocalBackends, NoUpstream};
pub use matched::OwnedMatch;
pub use request_body::ProxyBody;
pub use route_service::{Exchange, RouteService};
pub use service::GatewayService;
pub use session::{SessionHint, SessionKey};
pub use settings::{Clock, Dice, RouteSettings};
pub use upstream::{
    Purpose, SelectedBackend, Upstream, UpstreamAnswer, UpstreamError, UpstreamErrorKind,
    UpstreamFn, upstream_fn,
};

/// Any error, as bodies and services report it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
