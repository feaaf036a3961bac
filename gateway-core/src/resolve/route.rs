//! One route of any kind: attachment, rules, status.
//!
//! In: a route and the [`Ground`] that it stands on. Out: a [`RouteOutcome`], which depends on
//! nothing else, so that a changed route can be resolved alone. Not here: what counts over routes.

use std::{collections::BTreeSet, sync::Arc};

use smallvec::SmallVec;

use crate::{
    api::{
        ConditionType, GatewayDefaultScope, GrpcRoute, HttpRoute, Kind, ObjectKey, ObjectMeta,
        Reason, RouteParentStatus, RouteStatus, TcpRoute, Timestamp, TlsRoute, UdpRoute,
    },
    backend::BackendKey,
    diagnostic::Code,
    snapshot::Snapshot,
};

use super::{
    Given,
    attach::{Attached, Candidate, ParentOutcome, attach},
    backend::{Backends, Interned, RANKED, Speaks},
    grpc_route, http_route, l4_route,
    listener::Protocol,
    note::Notes,
    parents::Parents,
    policy::Policies,
    rule::Lowering,
    status::{Conditions, Fault},
    topology::{Attachment, Route, Rule},
};

/// A route of any kind.
#[derive(Clone, Copy, Debug)]
pub(super) enum AnyRoute<'s> {
    Http(&'s HttpRoute),
    Grpc(&'s GrpcRoute),
    Tls(&'s TlsRoute),
    Tcp(&'s TcpRoute),
    Udp(&'s UdpRoute),
}

/// What routes are resolved against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ground<'a> {
    pub(super) given: Given<'a>,
    pub(super) parents: &'a Parents,
    pub(super) policies: &'a Policies,
}

/// What becomes of a route.
#[derive(Debug)]
pub(super) struct RouteOutcome {
    pub(super) status: RouteStatus,
    /// None if it is attached to no listener that is served.
    pub(super) route: Option<Route>,
    pub(super) trace: Trace,
}

/// What a route adds to the counts of others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trace {
    /// Places in [`Parents::listeners`] where it is attached.
    pub(super) listeners: SmallVec<[usize; 2]>,
    /// Gateways of these listeners.
    pub(super) gateways: SmallVec<[usize; 1]>,
    /// Ports of Services with policies that it reaches.
    pub(super) reached: Vec<BackendKey>,
}

impl<'s> AnyRoute<'s> {
    pub(super) fn find(snapshot: &'s Snapshot, key: &ObjectKey) -> Option<Self> {
        Some(match key.kind {
            Kind::HttpRoute => Self::Http(snapshot.http_routes().get(key)?),
            Kind::GrpcRoute => Self::Grpc(snapshot.grpc_routes().get(key)?),
            Kind::TlsRoute => Self::Tls(snapshot.tls_routes().get(key)?),
            Kind::TcpRoute => Self::Tcp(snapshot.tcp_routes().get(key)?),
            Kind::UdpRoute => Self::Udp(snapshot.udp_routes().get(key)?),
            _ => return None,
        })
    }

    fn metadata(self) -> &'s ObjectMeta {
        match self {
            Self::Http(route) => &route.metadata,
            Self::Grpc(route) => &route.metadata,
            Self::Tls(route) => &route.metadata,
            Self::Tcp(route) => &route.metadata,
            Self::Udp(route) => &route.metadata,
        }
    }

    fn candidate<'r>(self, key: &'r ObjectKey) -> Candidate<'r>
    where
        's: 'r,
    {
        let (parent_refs, defaults, hostnames) = match self {
            Self::Http(HttpRoute { spec, .. }) => {
                (&spec.parent_refs, &spec.use_default_gateways, &*spec.hostnames)
            }
            Self::Grpc(GrpcRoute { spec, .. }) => {
                (&spec.parent_refs, &spec.use_default_gateways, &*spec.hostnames)
            }
            Self::Tls(TlsRoute { spec, .. }) => {
                (&spec.parent_refs, &spec.use_default_gateways, &*spec.hostnames)
            }
            Self::Tcp(TcpRoute { spec, .. }) | Self::Udp(UdpRoute { spec, .. }) => {
                (&spec.parent_refs, &spec.use_default_gateways, &[][..])
            }
        };
        let use_default_gateways = *defaults == Some(GatewayDefaultScope::All);
        Candidate { key, parent_refs, use_default_gateways, hostnames }
    }

    fn speaks(self, attached: &Attached, parents: &Parents) -> Speaks {
        let terminates =
            |at: &usize| parents.listeners[*at].protocol == Some(Protocol::TlsTerminate);
        match self {
            Self::Http(_) => Speaks::Http,
            Self::Grpc(_) => Speaks::Grpc,
            Self::Tls(_)
                if !attached.listeners.is_empty() && attached.listeners.keys().all(terminates) =>
            {
                Speaks::TerminatedTls
            }
            Self::Tls(_) | Self::Tcp(_) => Speaks::Tcp,
            Self::Udp(_) => Speaks::Udp,
        }
    }

    fn rules(self, lowering: &mut Lowering<'_>) -> (Vec<Arc<Rule>>, usize) {
        match self {
            Self::Http(route) => http_route::rules(route, lowering),
            Self::Grpc(route) => grpc_route::rules(route, lowering),
            Self::Tls(route) => l4_route::rules(&route.spec.rules, lowering),
            Self::Tcp(TcpRoute { spec, .. }) | Self::Udp(UdpRoute { spec, .. }) => {
                l4_route::rules(&spec.rules, lowering)
            }
        }
    }
}

/// Resolves one route.
pub(super) fn resolve_route(
    key: &ObjectKey,
    route: AnyRoute<'_>,
    ground: Ground<'_>,
    interned: &mut Interned,
    notes: &mut Notes,
) -> RouteOutcome {
    let Ground { given, parents, policies } = ground;
    let mut attached = attach(route.candidate(key), parents, given.snapshot, notes);
    if attached.outcomes.is_empty() {
        let (status, trace) = (RouteStatus::default(), Trace::default());
        return RouteOutcome { status, route: None, trace };
    }
    let gateways: BTreeSet<usize> =
        attached.listeners.keys().map(|at| parents.listeners[*at].gateway).collect();
    let backends = Backends {
        given,
        policies,
        parents,
        interned,
        route: key,
        speaks: route.speaks(&attached, parents),
        client: client(key, &gateways, parents, notes),
        reached: BTreeSet::new(),
    };
    let mut lowering = Lowering::new(backends, notes);
    let (rules, written) = route.rules(&mut lowering);
    let refused = attached.invalid.take().or_else(|| lowering.refused(written));
    let verdicts = Verdicts {
        unresolved: Fault::gather(&lowering.faults, RANKED),
        partially_invalid: lowering.partially_invalid().filter(|_| refused.is_none()),
        refused,
    };
    let metadata = route.metadata();
    let status = status(metadata, &attached.outcomes, &verdicts, parents);
    if verdicts.refused.is_some() {
        return RouteOutcome { status, route: None, trace: Trace::default() };
    }
    let trace = Trace {
        listeners: attached.listeners.keys().copied().collect(),
        gateways: gateways.into_iter().collect(),
        reached: lowering.backends.reached.into_iter().collect(),
    };
    let attachments = attachments(attached, parents);
    let route = (!attachments.is_empty()).then(|| Route {
        key: key.clone(),
        created: metadata.creation_timestamp.as_ref().and_then(Timestamp::seconds),
        attachments,
        rules,
    });
    RouteOutcome { status, route, trace }
}

fn attachments(attached: Attached, parents: &Parents) -> Vec<Attachment> {
    let listeners = attached.listeners.into_iter();
    listeners
        .filter_map(|(at, hostnames)| {
            Some(Attachment { listener: parents.listeners[at].id?, hostnames })
        })
        .collect()
}

/// The Gateway whose client certificate is shown to backends: of several the oldest that has one.
fn client(
    route: &ObjectKey,
    gateways: &BTreeSet<usize>,
    parents: &Parents,
    notes: &mut Notes,
) -> Option<usize> {
    let certificate = |at: &usize| &parents.gateways[*at].client_certificate;
    let chosen = gateways.iter().find(|at| certificate(at).is_some())?;
    if let Some(other) = gateways.iter().find(|at| certificate(at) != certificate(chosen)) {
        let message = format!(
            "{} and {} have different client certificates for backends; the route shows that of \
             the first",
            parents.gateways[*chosen].key, parents.gateways[*other].key
        );
        notes.warn(route, "spec.parentRefs", Code::Ignored, message);
    }
    Some(*chosen)
}

/// What holds for all parents of a route alike.
struct Verdicts {
    refused: Option<Fault>,
    unresolved: Option<Fault>,
    partially_invalid: Option<Fault>,
}

// SPEC: Accepted and ResolvedRefs are written together, also for a parent that refuses the route.
fn status(
    metadata: &ObjectMeta,
    outcomes: &[ParentOutcome],
    verdicts: &Verdicts,
    parents: &Parents,
) -> RouteStatus {
    let entry = |outcome: &ParentOutcome| {
        let refused = outcome.refused.as_ref().or(verdicts.refused.as_ref());
        RouteParentStatus {
            parent_ref: outcome.parent_ref.clone(),
            controller_name: parents.gateways[outcome.gateway].controller_name.to_string(),
            conditions: Conditions::new(metadata.generation)
                .verdict(
                    ConditionType::Accepted,
                    refused,
                    Reason::Accepted,
                    "the route is attached",
                )
                .verdict(
                    ConditionType::ResolvedRefs,
                    verdicts.unresolved.as_ref(),
                    Reason::ResolvedRefs,
                    "all references are resolved",
                )
                .warns(ConditionType::PartiallyInvalid, verdicts.partially_invalid.as_ref())
                .finish(),
        }
    };
    RouteStatus { parents: outcomes.iter().map(entry).collect() }
}
