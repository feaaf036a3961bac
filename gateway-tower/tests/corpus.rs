//! The golden corpus on the dispatcher: what reaches backends and mirrors, and what clients get.
//!
//! Statuses are not the dispatcher's business. Backends answer everything with 200, and external
//! authorization lets everything pass.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use gateway_core::{
    api::Resource,
    compile::RouteTable,
    decide::Cause,
    resolve::{
        resolve,
        topology::{Bind, ListenerProtocol, Topology, Transport},
    },
    scope::ControllerScope,
    snapshot::Snapshot,
};
use gateway_testkit::{
    corpus::{
        Decision, Engine, Forward, ObjectStatus, Outcome, Request, Respond, changed_headers,
        check_corpus, header_lines,
    },
    reference::{CONTROLLER, host_of_authority},
};
use gateway_tower::{
    BoxError, GatewayBody, OwnedIngress, OwnedMatch, ProxyBody, Purpose, RouteService,
    SelectedBackend, TableHandle, UpstreamAnswer, UpstreamError, upstream_fn,
};
use http::{HeaderMap, HeaderValue, Response, header::HOST, request};
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use tokio::runtime::{self, Runtime};

#[test]
fn dispatcher() {
    check_corpus("dispatcher", false, |case| Some(Dispatcher::new(&case.resources)));
}

/// Requests that reached a backend.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Purpose, String, request::Parts)>>>);

struct Dispatcher {
    topology: Topology,
    table: RouteTable,
    resources: Vec<Resource>,
    runtime: Runtime,
}

fn topology(resources: &[Resource]) -> Topology {
    let scope = ControllerScope::of_class(CONTROLLER);
    resolve(&Snapshot::from_iter(resources.iter().cloned()), &scope).topology
}

impl Dispatcher {
    fn new(resources: &[Resource]) -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_time().build();
        let topology = topology(resources);
        Self {
            table: RouteTable::compile(&topology, 7),
            topology,
            resources: resources.to_vec(),
            runtime: runtime.expect("a runtime"),
        }
    }

    /// The socket that a request comes in by.
    fn bind(&self, request: &Request) -> Option<&Bind> {
        let is_called = |bind: &&Bind| {
            let mut gateways = bind.listeners.iter().map(|id| {
                let gateway = &self.topology.listeners[id.0 as usize].gateway;
                format!("{}/{}", gateway.namespace, gateway.name)
            });
            bind.key.port == request.port()
                && bind.key.transport == Transport::Tcp
                && request.gateway.as_ref().is_none_or(|name| gateways.any(|it| it == *name))
        };
        self.topology.binds.iter().find(is_called)
    }

    /// The entrance; none if there is no socket, or the handshake fails.
    fn ingress(&self, request: &Request) -> Option<OwnedIngress> {
        let key = &self.bind(request)?.key;
        let ingress = OwnedIngress::bind(key.clone());
        if !request.is_tls() {
            return Some(ingress);
        }
        let bind = self.table.bind(key)?;
        let listener = self.table.listener_for_sni(bind, request.sni())?;
        match &listener.protocol {
            ListenerProtocol::Https(tls) if !tls.certificates.is_empty() => {
                Some(ingress.over_tls(request.sni()))
            }
            _ => None,
        }
    }

    /// Dispatches; the answer, and what reached backends and mirrors.
    fn dispatch(&self, ingress: &OwnedIngress, head: request::Parts) -> Seen {
        let log = Log::default();
        let logged = log.clone();
        let upstream = upstream_fn(move |to: SelectedBackend, request| {
            let (head, _) = http::Request::<ProxyBody<Empty<Bytes>>>::into_parts(request);
            let mut log = logged.0.lock().expect("not poisoned");
            log.push((to.purpose, to.backend.key.to_string(), head));
            std::future::ready(Ok::<_, UpstreamError>(yes()))
        });
        let service = RouteService::new(TableHandle::new(self.table.clone()), upstream);
        let request = http::Request::from_parts(head, Empty::<Bytes>::new());
        let exchange = self.runtime.block_on(async {
            let exchange = service.dispatch(ingress, request).await;
            // Mirrors run beside the request.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            exchange
        });
        let log = std::mem::take(&mut *log.0.lock().expect("not poisoned"));
        Seen {
            log,
            answer: exchange.response.map(|_: GatewayBody<_>| ()),
            matched: exchange.matched,
            cause: exchange.cause,
        }
    }
}

struct Seen {
    log: Vec<(Purpose, String, request::Parts)>,
    answer: Response<()>,
    matched: Option<OwnedMatch>,
    cause: Option<Cause>,
}

/// An answer that also is a permission: an empty `CheckResponse`.
fn yes() -> UpstreamAnswer<UnsyncBoxBody<Bytes, BoxError>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let body = message.with_trailers(async { Some(Ok(trailers)) });
    let response = Response::new(body.map_err(BoxError::from).boxed_unsync());
    UpstreamAnswer { response, endpoint: None }
}

impl Engine for Dispatcher {
    fn status(&self) -> Vec<ObjectStatus> {
        Vec::new()
    }

    fn narrow(&self, expected: Outcome) -> Outcome {
        Outcome { status: Default::default(), ..expected }
    }

    fn decide(&mut self, request: &Request, turn: u64) -> Decision {
        // Every request of a case starts to count anew.
        if turn == 0 {
            self.topology = topology(&self.resources);
            self.table = RouteTable::compile(&self.topology, 7);
        }
        // What a server does before it asks.
        let head = request.head().ok().filter(|_| host_of_authority(request.authority()).is_some());
        let Some(head) = head else { return Decision::respond(400, "bad-request") };
        let Some(ingress) = self.ingress(request) else {
            return Decision::respond(404, "no-listener");
        };
        let seen = self.dispatch(&ingress, head.clone());
        match seen.cause {
            Some(cause) => Decision::Respond(answered(cause, &seen.answer)),
            None => Decision::Forward(forwarded(&head, seen)),
        }
    }
}

fn answered(cause: Cause, answer: &Response<()>) -> Respond {
    let by_filter = matches!(cause, Cause::Redirect | Cause::CorsPreflight | Cause::Custom);
    let headers = if by_filter { header_lines(answer.headers()) } else { Vec::new() };
    let grpc = answer.headers().get("grpc-status");
    Respond {
        status: answer.status().as_u16(),
        grpc: grpc.and_then(|code| code.to_str().ok()?.parse().ok()),
        cause: cause.to_string(),
        headers: changed_headers(&[], &headers),
    }
}

fn forwarded(original: &request::Parts, seen: Seen) -> Forward {
    let matched = seen.matched.expect("a backend answered");
    let of = |purpose| seen.log.iter().filter(move |(its, ..)| *its == purpose);
    let mirrors: BTreeSet<_> = of(Purpose::Mirror).map(|(_, name, _)| name.clone()).collect();
    let (_, backend, head) = of(Purpose::Forward).next().expect("a backend answered");
    let without_host = |head: &request::Parts| {
        let mut lines = header_lines(&head.headers);
        lines.retain(|(name, _)| name != HOST.as_str());
        lines
    };
    let target = |head: &request::Parts| head.uri.path_and_query().map(ToString::to_string);
    let host = |head: &request::Parts| {
        head.headers.get(HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned())
    };
    let changed = |of: &dyn Fn(&request::Parts) -> Option<String>| {
        of(head).filter(|new| Some(new) != of(original).as_ref())
    };
    Forward {
        route: matched.route.key.to_string(),
        rule: usize::from(matched.rule.index),
        backend: Some(backend.clone()),
        path: changed(&target),
        host: changed(&host),
        headers: changed_headers(&without_host(original), &without_host(head)),
        mirrors,
        response_headers: changed_headers(&[], &header_lines(seen.answer.headers())),
        ..Forward::default()
    }
}
