//! The front door: from resources to a route table and the status of every object.
//!
//! In: a [`Snapshot`], or one [`Change`] after the other. Out: [`Build`], or [`Applied`] by a
//! [`Builder`], which gives the same at the price of what changed. Not here: publishing the table,
//! writing the status.

use std::collections::BTreeSet;

use crate::{
    api::{Kind, ObjectKey},
    compile::RouteTable,
    diagnostic::Diagnostic,
    resolve::{Resolution, StatusReport, topology::Topology},
    scope::ControllerScope,
    snapshot::{Change, Snapshot, placed_key},
};

/// What a snapshot comes to.
#[derive(Clone, Debug)]
pub struct Build {
    /// Finds the rule of a request.
    pub table: RouteTable,
    /// What is served.
    pub topology: Topology,
    /// What is to be written back.
    pub status: StatusReport,
    /// What is wrong with the resources.
    pub diagnostics: Vec<Diagnostic>,
}

/// Resolves and compiles a snapshot.
///
/// ```
/// use gateway_core::{
///     api::{Gateway, HttpRoute, HttpRouteRule, Listener, Service},
///     build::build,
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
/// let build = build(&snapshot, &ControllerScope::all());
/// assert!(build.table.bind_on_port(80).is_some());
/// assert!(build.diagnostics.is_empty());
/// ```
#[must_use]
pub fn build(snapshot: &Snapshot, scope: &ControllerScope) -> Build {
    let resolution = Resolution::new(snapshot, scope);
    let table = RouteTable::compile(resolution.topology(), scope.hash_seed);
    let resolved = resolution.into_resolved();
    Build {
        table,
        topology: resolved.topology,
        status: resolved.status,
        diagnostics: resolved.diagnostics,
    }
}

/// Follows changes of resources.
///
/// After any changes table and status are those that [`build`] gives for [`Builder::snapshot`].
/// Changes of HTTPRoutes and GRPCRoutes alone cost as much as these routes, whatever the number of
/// others; any other change that matters costs a whole build.
///
/// ```
/// use gateway_core::{
///     api::{Gateway, HttpRoute, HttpRouteRule, Listener, Resource, Service},
///     build::Builder,
///     scope::ControllerScope,
///     snapshot::Change,
/// };
/// let mut builder = Builder::new(ControllerScope::all());
/// builder.apply([
///     Change::from(Gateway::new("shop", "public").listener(Listener::http("web", 80))),
///     Change::from(Service::new("shop", "cart").port(8080)),
/// ]);
/// let route = HttpRoute::new("shop", "cart")
///     .parent("public")
///     .rule(HttpRouteRule::new().backend("cart", 8080));
/// let applied = builder.apply([Change::from(route)]);
/// assert_eq!(applied.table.routes().count(), 1);
/// // The route has a status, and the Gateway counts it.
/// assert_eq!(applied.changed.len(), 2);
/// ```
#[derive(Debug)]
pub struct Builder {
    scope: ControllerScope,
    snapshot: Snapshot,
    resolution: Resolution,
    table: RouteTable,
}

/// What came of some changes.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The table with the changes; it shares all that is the same with the one before.
    pub table: RouteTable,
    /// Objects whose status is new, differs, or is gone.
    pub changed: Vec<ObjectKey>,
    /// Whether listeners and sockets were worked out anew.
    pub rebuilt: bool,
    /// Whether the table may differ from the one before.
    pub retabled: bool,
}

impl Builder {
    /// Begins with nothing.
    #[must_use]
    pub fn new(scope: ControllerScope) -> Self {
        Self::of(Snapshot::default(), scope)
    }

    /// Begins with a snapshot.
    #[must_use]
    pub fn of(snapshot: Snapshot, scope: ControllerScope) -> Self {
        let resolution = Resolution::new(&snapshot, &scope);
        let table = RouteTable::compile(resolution.topology(), scope.hash_seed);
        Self { scope, snapshot, resolution, table }
    }

    /// Takes changes, in order.
    // PERF: bench resolve/change-one-route.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> Applied {
        let mut routes = BTreeSet::new();
        let mut rebuild = false;
        for change in changes {
            match self.take(change) {
                Effect::None => {}
                Effect::Route(key) => {
                    routes.insert(key);
                }
                Effect::All => rebuild = true,
            }
        }
        let changed = match rebuild {
            true => self.rebuild(),
            false => self.update(&routes),
        };
        let retabled = rebuild || !routes.is_empty();
        Applied { table: self.table.clone(), changed, rebuilt: rebuild, retabled }
    }

    /// The table as of the last changes.
    #[must_use]
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// What is served as of the last changes.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        self.resolution.topology()
    }

    /// The status of all objects as of the last changes.
    #[must_use]
    pub fn status(&self) -> &StatusReport {
        self.resolution.status()
    }

    /// What is wrong with the resources as of the last changes.
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.resolution.diagnostics()
    }

    /// The resources as of the last changes.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What the resources are judged by.
    #[must_use]
    pub fn scope(&self) -> &ControllerScope {
        &self.scope
    }

    fn take(&mut self, change: Change) -> Effect {
        let (key, changed) = match change {
            Change::Upsert(mut resource) => {
                let key = placed_key(&mut resource);
                let same = self.snapshot.says(&resource);
                self.snapshot.insert(resource);
                (key, !same)
            }
            Change::Remove(key) => {
                let removed = self.snapshot.remove(&key);
                (key, removed)
            }
            Change::Observed(_) => {
                return if self.snapshot.apply(change) { Effect::All } else { Effect::None };
            }
        };
        match key.kind {
            // Endpoints live in the fast lane, meshes are not ours.
            Kind::EndpointSlice | Kind::XMesh => Effect::None,
            _ if !changed => Effect::None,
            Kind::HttpRoute | Kind::GrpcRoute => Effect::Route(key),
            _ => Effect::All,
        }
    }

    fn rebuild(&mut self) -> Vec<ObjectKey> {
        let resolution = Resolution::new(&self.snapshot, &self.scope);
        let before = std::mem::replace(&mut self.resolution, resolution);
        self.table = RouteTable::compile(self.resolution.topology(), self.scope.hash_seed);
        self.resolution.status().changed_since(before.status())
    }

    fn update(&mut self, keys: &BTreeSet<ObjectKey>) -> Vec<ObjectKey> {
        if keys.is_empty() {
            return Vec::new();
        }
        let changed = self.resolution.update(&self.snapshot, &self.scope, keys.iter());
        let mut edit = self.table.edit();
        for key in keys {
            match self.resolution.topology().routes.get(key) {
                Some(route) => edit.upsert(route.clone()),
                None => edit.remove(key),
            };
        }
        self.table = edit.finish();
        changed.into_iter().collect()
    }
}

/// What a change calls for.
enum Effect {
    None,
    Route(ObjectKey),
    All,
}
