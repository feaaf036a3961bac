//! Routes of every kind in one shape.

use gateway_core::api::{
    BackendObjectReference, BackendRef, GrpcBackendRef, GrpcRouteFilter, GrpcRouteMatch,
    HttpBackendRef, HttpRouteFilter, HttpRouteMatch, L4RouteRule, ObjectMeta, ParentReference,
};

use super::{matching, world::World};

#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) kind: &'static str,
    pub(super) meta: ObjectMeta,
    pub(super) parents: Vec<ParentReference>,
    pub(super) hostnames: Vec<String>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) matches: Vec<Match>,
    pub(super) filters: Vec<HttpRouteFilter>,
    pub(super) backends: Vec<Backend>,
}

#[derive(Clone, Debug)]
pub(super) enum Match {
    Http(HttpRouteMatch),
    Grpc(GrpcRouteMatch),
}

#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) reference: BackendObjectReference,
    pub(super) weight: u64,
    pub(super) filters: Vec<HttpRouteFilter>,
}

impl Route {
    /// `Kind namespace/name`.
    pub(super) fn key(&self) -> String {
        format!("{} {}", self.kind, self.joined_name())
    }

    /// `namespace/name`, by which routes of one age are ordered.
    pub(super) fn joined_name(&self) -> String {
        format!("{}/{}", self.meta.namespace, self.meta.name)
    }

    /// Why no rule can be served; none if at least one can.
    // SPEC: rules with values that cannot be served are dropped; without any the route is refused.
    pub(super) fn error(&self) -> Option<&'static str> {
        let errors: Vec<_> = self.rules.iter().map(Rule::error).collect();
        errors.iter().all(Option::is_some).then(|| errors.into_iter().flatten().next()).flatten()
    }
}

impl Rule {
    /// Why the rule cannot be served, if it cannot.
    pub(super) fn error(&self) -> Option<&'static str> {
        let has = |kind: &str| self.filters.iter().filter(|it| it.kind.as_str() == kind).count();
        let once = [
            "CORS",
            "RequestHeaderModifier",
            "ResponseHeaderModifier",
            "RequestRedirect",
            "URLRewrite",
        ];
        if once.iter().any(|kind| has(kind) > 1)
            || (has("RequestRedirect") > 0 && has("URLRewrite") > 0)
        {
            return Some("IncompatibleFilters");
        }
        let known = self.filters.iter().all(|filter| filter.kind.is_known());
        let fits = known && self.matches.iter().all(matching::is_valid);
        (!fits).then_some("UnsupportedValue")
    }
}

/// All routes of all kinds.
pub(super) fn routes(world: &World) -> Vec<Route> {
    let mut all = Vec::new();
    for route in world.http_routes() {
        let spec = &route.spec;
        let rules = spec.rules.iter().map(|rule| Rule {
            matches: or_default(&rule.matches).map(Match::Http).collect(),
            filters: rule.filters.clone(),
            backends: rule.backend_refs.iter().map(http_backend).collect(),
        });
        let mut rules: Vec<_> = rules.collect();
        if rules.is_empty() {
            // SPEC: the default of `rules` is one rule with the prefix `/`.
            let matches = vec![Match::Http(HttpRouteMatch::default())];
            rules.push(Rule { matches, filters: Vec::new(), backends: Vec::new() });
        }
        let (parents, hostnames) = (spec.parent_refs.clone(), spec.hostnames.clone());
        let meta = route.metadata.clone();
        all.push(Route { kind: "HTTPRoute", meta, parents, hostnames, rules });
    }
    for route in world.grpc_routes() {
        let spec = &route.spec;
        let rules = spec.rules.iter().map(|rule| Rule {
            matches: or_default(&rule.matches).map(Match::Grpc).collect(),
            filters: rule.filters.iter().map(grpc_filter).collect(),
            backends: rule.backend_refs.iter().map(grpc_backend).collect(),
        });
        let (parents, hostnames) = (spec.parent_refs.clone(), spec.hostnames.clone());
        let (meta, rules) = (route.metadata.clone(), rules.collect());
        all.push(Route { kind: "GRPCRoute", meta, parents, hostnames, rules });
    }
    let mut layer_4 = |kind, meta: &ObjectMeta, parents: &[_], hostnames: &[_], rules: &[_]| {
        let rules = rules.iter().map(|rule: &L4RouteRule| Rule {
            matches: Vec::new(),
            filters: Vec::new(),
            backends: rule.backend_refs.iter().map(plain_backend).collect(),
        });
        let (parents, hostnames) = (parents.to_vec(), hostnames.to_vec());
        all.push(Route { kind, meta: meta.clone(), parents, hostnames, rules: rules.collect() });
    };
    for route in world.tls_routes() {
        let spec = &route.spec;
        layer_4("TLSRoute", &route.metadata, &spec.parent_refs, &spec.hostnames, &spec.rules);
    }
    for route in world.tcp_routes() {
        layer_4("TCPRoute", &route.metadata, &route.spec.parent_refs, &[], &route.spec.rules);
    }
    for route in world.udp_routes() {
        layer_4("UDPRoute", &route.metadata, &route.spec.parent_refs, &[], &route.spec.rules);
    }
    all
}

// SPEC: a rule without matches has one that takes everything.
fn or_default<M: Clone + Default>(matches: &[M]) -> impl Iterator<Item = M> + '_ {
    let default = matches.is_empty().then(M::default);
    matches.iter().cloned().chain(default)
}

fn weight(weight: i32) -> u64 {
    u64::try_from(weight).unwrap_or(0)
}

fn http_backend(backend: &HttpBackendRef) -> Backend {
    let (reference, filters) = (backend.reference.clone(), backend.filters.clone());
    Backend { reference, weight: weight(backend.weight()), filters }
}

fn grpc_backend(backend: &GrpcBackendRef) -> Backend {
    let filters = backend.filters.iter().map(grpc_filter).collect();
    Backend { reference: backend.reference.clone(), weight: weight(backend.weight()), filters }
}

fn plain_backend(backend: &BackendRef) -> Backend {
    let reference = backend.reference.clone();
    Backend { reference, weight: weight(backend.weight()), filters: Vec::new() }
}

fn grpc_filter(filter: &GrpcRouteFilter) -> HttpRouteFilter {
    HttpRouteFilter {
        kind: filter.kind.clone(),
        request_header_modifier: filter.request_header_modifier.clone(),
        response_header_modifier: filter.response_header_modifier.clone(),
        request_mirror: filter.request_mirror.clone(),
        extension_ref: filter.extension_ref.clone(),
        ..HttpRouteFilter::default()
    }
}
