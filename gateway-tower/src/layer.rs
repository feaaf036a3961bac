//! The routes as a layer around a service that answers by itself.

use std::time::Duration;

use tower_layer::Layer;

use crate::{GatewayService, OwnedIngress, TableHandle};

/// Puts routes in front of a service: an axum router, a tonic service, any tower service.
///
/// The inner service takes the place of every backend. It finds an [`crate::OwnedMatch`] in the
/// extensions of its requests, and gets them as the filters of the rule have made them. Requests
/// that the routes refuse or redirect never reach it.
///
/// Filters that would send requests of their own have nowhere to send them: a mirror makes no
/// copies, and a rule with an external authorization refuses every request. [`crate::RouteService`]
/// does both.
#[derive(Clone, Debug)]
pub struct GatewayLayer {
    pub(crate) table: TableHandle,
    pub(crate) ingress: Option<OwnedIngress>,
    pub(crate) on_no_match: NoMatch,
    pub(crate) on_no_backend: NoBackend,
    pub(crate) request_timeout: Option<Duration>,
}

/// What becomes of a request that no rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoMatch {
    /// It is answered with 404, for gRPC with UNIMPLEMENTED.
    #[default]
    NotFound,
    /// It goes to the inner service as it is, without an [`crate::OwnedMatch`].
    Forward,
}

/// What becomes of a request whose rule names no backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoBackend {
    /// It is answered with 500, as the specification asks.
    #[default]
    Respond,
    /// It goes to the inner service: for applications whose routes need no backends, since the
    /// application is the only one.
    Forward,
}

impl GatewayLayer {
    /// A layer that serves the tables of `table`.
    #[must_use]
    pub const fn new(table: TableHandle) -> Self {
        Self {
            table,
            ingress: None,
            on_no_match: NoMatch::NotFound,
            on_no_backend: NoBackend::Respond,
            request_timeout: None,
        }
    }

    /// All requests come in here, unless their extensions hold another [`OwnedIngress`]. Without
    /// this, requests without one are answered with 404.
    #[must_use]
    pub fn ingress(mut self, ingress: OwnedIngress) -> Self {
        self.ingress = Some(ingress);
        self
    }

    /// What becomes of requests that no rule matches. Default: [`NoMatch::NotFound`].
    #[must_use]
    pub const fn on_no_match(mut self, what: NoMatch) -> Self {
        self.on_no_match = what;
        self
    }

    /// What becomes of requests whose rule has no `backendRefs`. Default: [`NoBackend::Respond`].
    #[must_use]
    pub const fn on_no_backend(mut self, what: NoBackend) -> Self {
        self.on_no_backend = what;
        self
    }

    /// The limit for the whole exchange where a rule has none. Default: none.
    #[must_use]
    pub const fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = Some(limit);
        self
    }
}

impl<S> Layer<S> for GatewayLayer {
    type Service = GatewayService<S>;

    fn layer(&self, inner: S) -> GatewayService<S> {
        GatewayService { layer: self.clone(), inner }
    }
}
