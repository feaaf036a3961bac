//! The library as an engine of the corpus: resolve, compile, decide, and the filters that need no
//! IO.
//!
//! In: resources and requests. Out: statuses, and what a data plane would see. What only a data
//! plane does is done here in the shortest way: malformed hosts are refused, mirrors are counted as
//! sent, and external authorization, where it can be asked, lets everything pass.

use gateway_core::{
    api::Resource,
    compile::{BindId, Ingress, RouteTable},
    decide::{Cause, Decision as Decided, Respond as Answer, decide},
    filter::{Effect, Filter, FilterCause, Flow, RequestFacts},
    matcher::{RequestHead, is_grpc_content_type},
    resolve::{
        StatusReport, resolve,
        topology::{ListenerId, ListenerProtocol, Topology, Transport},
    },
    scope::ControllerScope,
    snapshot::Snapshot,
};
use http::{header, request, response};

use crate::{
    corpus::{
        Decision, Engine, Forward, ObjectStatus, Request, Respond, changed_headers, header_lines,
    },
    reference::{CONTROLLER, host_of_authority},
};

/// What the library makes of a set of resources.
#[derive(Debug)]
pub struct Library {
    topology: Topology,
    table: RouteTable,
    status: StatusReport,
}

impl Library {
    /// Resolves and compiles `resources`, for a controller that gives each Gateway an address.
    #[must_use]
    pub fn new(resources: &[Resource]) -> Self {
        let scope = ControllerScope::of_class(CONTROLLER);
        let resolved = resolve(&Snapshot::from_iter(resources.iter().cloned()), &scope);
        let table = RouteTable::compile(&resolved.topology, 7);
        Self { topology: resolved.topology, table, status: resolved.status }
    }

    /// The compiled table.
    #[must_use]
    pub fn table(&self) -> &RouteTable {
        &self.table
    }

    /// The socket that a request comes in by.
    fn bind(&self, request: &Request) -> Option<BindId> {
        let gateway_of = |id: &ListenerId| {
            let gateway = &self.topology.listeners.get(id.0 as usize)?.gateway;
            Some(format!("{}/{}", gateway.namespace, gateway.name))
        };
        let mut binds = self.topology.binds.iter().filter(|bind| {
            let mut gateways = bind.listeners.iter().filter_map(gateway_of);
            bind.key.port == request.port()
                && bind.key.transport == Transport::Tcp
                && request.gateway.as_ref().is_none_or(|name| gateways.any(|it| it == *name))
        });
        self.table.bind(&binds.next()?.key)
    }

    /// Whether the handshake of a request succeeds, and leads to HTTP.
    fn speaks_https(&self, bind: BindId, request: &Request) -> bool {
        let listener = self.table.listener_for_sni(bind, request.sni());
        listener.is_some_and(|listener| match &listener.protocol {
            ListenerProtocol::Https(tls) => !tls.certificates.is_empty(),
            _ => false,
        })
    }
}

impl Engine for Library {
    fn status(&self) -> Vec<ObjectStatus> {
        let status = |(key, status): (&gateway_core::api::ObjectKey, _)| ObjectStatus {
            object: key.to_string(),
            status: serde_json::to_value(status).unwrap_or_default(),
        };
        self.status.iter().map(status).collect()
    }

    fn decide(&mut self, request: &Request, turn: u64) -> Decision {
        // What a data plane does before it asks the library.
        if host_of_authority(request.authority()).is_none() {
            return respond(Answer::new(Cause::BadRequest, false));
        }
        let Ok(original) = request.head() else {
            return respond(Answer::new(Cause::BadRequest, false));
        };
        let Some(bind) = self.bind(request) else {
            return respond(Answer::new(Cause::NoListener, false));
        };
        let ingress = match request.is_tls() {
            true => Ingress::tls(bind, request.sni()),
            false => Ingress::plain(bind),
        };
        if request.is_tls() && !self.speaks_https(bind, request) {
            return respond(Answer::new(Cause::NoListener, false));
        }
        let found = match decide(&self.table, &ingress, &RequestHead::of(&original), |_| turn) {
            Decided::Respond(answer) => return respond(answer),
            Decided::Forward(forward) => forward,
        };
        let rule = &found.found.rule;
        let mut sent = Sent::new(&original);
        let facts = found.found.facts();
        if let Some(answer) = sent.apply(&rule.filters, &facts) {
            return answer;
        }
        let backend = match found.backend {
            Ok(backend) => backend,
            Err(cause) => return respond(Answer::new(cause, sent.is_grpc())),
        };
        if let Some(answer) = sent.apply(&backend.filters, &facts) {
            return answer;
        }
        let Ok(target) = &backend.target else {
            return respond(Answer::new(Cause::InvalidBackend, sent.is_grpc()));
        };
        Decision::Forward(Forward {
            route: found.found.route.key.to_string(),
            rule: usize::from(rule.index),
            backend: Some(target.key.to_string()),
            ..sent.forward(backend.filters.iter().chain(&rule.filters))
        })
    }
}

/// A request on its way through filters.
struct Sent<'r> {
    original: &'r request::Parts,
    head: request::Parts,
    mirrors: std::collections::BTreeSet<String>,
}

impl<'r> Sent<'r> {
    fn new(original: &'r request::Parts) -> Self {
        Self { original, head: original.clone(), mirrors: Default::default() }
    }

    fn is_grpc(&self) -> bool {
        is_grpc_content_type(&self.original.headers)
    }

    fn apply(&mut self, filters: &[Filter], facts: &RequestFacts) -> Option<Decision> {
        for filter in filters {
            match filter.apply_request(&mut self.head, facts) {
                Flow::Respond(_, FilterCause::InvalidFilter) => {
                    return Some(respond(Answer::new(Cause::InvalidFilter, self.is_grpc())));
                }
                Flow::Respond(answer, cause) => {
                    let headers = header_lines(answer.headers());
                    return Some(Decision::Respond(Respond {
                        status: answer.status().as_u16(),
                        grpc: None,
                        cause: Cause::from(cause).to_string(),
                        headers: changed_headers(&[], &headers),
                    }));
                }
                Flow::Effect(Effect::Mirror(mirror)) if mirror.takes_next() => {
                    self.mirrors.insert(mirror.backend.key.to_string());
                }
                Flow::Continue | Flow::Effect(_) => {}
            }
        }
        None
    }

    /// What the backend sees of the request, and the client of a plain answer.
    fn forward<'f>(self, response_filters: impl Iterator<Item = &'f Filter>) -> Forward {
        let (mut answer, ()) = http::Response::new(()).into_parts();
        let origin = self.original.headers.get(header::ORIGIN);
        response_filters.for_each(|filter| filter.apply_response(&mut answer, origin));
        let response::Parts { headers, .. } = answer;
        let without_host = |head: &request::Parts| {
            let mut lines = header_lines(&head.headers);
            lines.retain(|(name, _)| name != "host");
            lines
        };
        let target = |head: &request::Parts| head.uri.path_and_query().map(ToString::to_string);
        let host = |head: &request::Parts| {
            let host = head.headers.get(header::HOST);
            host.map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
        };
        let changed = |of: &dyn Fn(&request::Parts) -> Option<String>| {
            of(&self.head).filter(|new| Some(new) != of(self.original).as_ref())
        };
        Forward {
            path: changed(&target),
            host: changed(&host),
            headers: changed_headers(&without_host(self.original), &without_host(&self.head)),
            mirrors: self.mirrors.clone(),
            response_headers: changed_headers(&[], &header_lines(&headers)),
            ..Forward::default()
        }
    }
}

fn respond(answer: Answer) -> Decision {
    let Answer { status, grpc_status: grpc, cause } = answer;
    let cause = cause.to_string();
    Decision::Respond(Respond { status, grpc, cause, ..Respond::default() })
}
