//! A small topology and a backend that does as it is told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway_core::{
    api::{Kind, ObjectKey},
    backend::{Backend, BackendKey, BackendProtocol, Turns, WeightedBackend, WeightedBackends},
    compile::RouteTable,
    filter::{Filter, Mirror},
    matcher::{HostPattern, PathPattern, RouteMatch},
    resolve::topology::{
        Attachment, Bind, BindAddress, BindKey, Listener, ListenerId, ListenerProtocol, Route,
        Rule, Timeouts, Topology, Transport,
    },
};
use gateway_tower::{
    BoxError, Exchange, OwnedIngress, RouteService, RouteSettings, TableHandle, Upstream,
    UpstreamAnswer, UpstreamError, UpstreamErrorKind,
};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use tower_service::Service;

/// The port of the one listener.
pub(crate) const PORT: u16 = 80;

/// Compiles one route with `rules` on a listener for every host.
pub(crate) fn table(rules: Vec<Rule>) -> TableHandle {
    TableHandle::new(RouteTable::compile(&topology(rules), 7))
}

pub(crate) fn topology(rules: Vec<Rule>) -> Topology {
    let gateway = ObjectKey::new(Kind::Gateway, "default", "gateway");
    let key = ObjectKey::new(Kind::HttpRoute, "default", "route");
    let listener = ListenerId(0);
    let attachments =
        vec![Attachment { listener, hostnames: [HostPattern::Any].into_iter().collect() }];
    let rules = rules.into_iter().map(Arc::new).collect();
    let route = Route { key: key.clone(), created: None, attachments, rules };
    Topology {
        binds: vec![Bind { key: bind_key(), listeners: vec![listener] }],
        listeners: vec![Arc::new(Listener {
            gateway: gateway.clone(),
            owner: gateway,
            name: "http".into(),
            hostname: HostPattern::Any,
            port: PORT,
            protocol: ListenerProtocol::Http,
        })],
        routes: BTreeMap::from([(key, Arc::new(route))]),
    }
}

pub(crate) fn bind_key() -> BindKey {
    BindKey { address: BindAddress::Default, port: PORT, transport: Transport::Tcp }
}

/// A rule for every path with one backend, `default/a:80`.
pub(crate) fn rule() -> Rule {
    rule_to(vec![to("a")])
}

pub(crate) fn rule_to(backends: Vec<WeightedBackend>) -> Rule {
    Rule {
        name: None,
        index: 0,
        matches: vec![RouteMatch::any()],
        filters: Vec::new(),
        backends: WeightedBackends::new(backends),
        timeouts: Timeouts::default(),
        retry: None,
        session_persistence: None,
        turns: Turns::default(),
    }
}

pub(crate) fn prefix(path: &str) -> Vec<RouteMatch> {
    vec![RouteMatch { path: PathPattern::prefix(path), ..RouteMatch::any() }]
}

pub(crate) fn to(name: &str) -> WeightedBackend {
    WeightedBackend { weight: 1, target: Ok(Arc::new(backend(name))), filters: Vec::new() }
}

pub(crate) fn backend(name: &str) -> Backend {
    let (namespace, name, port) = ("default".into(), name.into(), 80);
    Backend {
        key: BackendKey { kind: Kind::Service, namespace, name, port },
        protocol: BackendProtocol::Http1,
        tls: None,
        external_hostname: None,
        retry_budget: None,
        proxy_protocol: None,
        session_persistence: None,
    }
}

pub(crate) fn mirror(name: &str, fraction: (u32, u32)) -> Filter {
    let turns = Turns::default();
    Filter::RequestMirror(Arc::new(Mirror { backend: Arc::new(backend(name)), fraction, turns }))
}

pub(crate) fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// A request body of several frames whose length is not known beforehand.
pub(crate) struct Chunks(std::collections::VecDeque<Result<Bytes, BoxError>>);

impl Chunks {
    pub(crate) fn new(chunks: &[&'static str]) -> Self {
        Self(chunks.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))).collect())
    }

    pub(crate) fn then_fail(mut self) -> Self {
        self.0.push_back(Err("the client went away".into()));
        self
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front().map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

pub(crate) fn get(uri: &str) -> Request<Chunks> {
    Request::get(uri).header("host", "h.example").body(Chunks::new(&[])).expect("a request")
}

pub(crate) fn post(uri: &str, chunks: &[&'static str]) -> Request<Chunks> {
    let request = Request::post(uri).header("host", "h.example");
    request.body(Chunks::new(chunks)).expect("a request")
}

pub(crate) fn endpoint(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 8080))
}

pub(crate) fn ok(text: &'static str) -> Result<UpstreamAnswer<Full<Bytes>>, UpstreamError> {
    status(200, text)
}

pub(crate) fn status(
    code: u16,
    text: &'static str,
) -> Result<UpstreamAnswer<Full<Bytes>>, UpstreamError> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = code.try_into().expect("a status");
    Ok(UpstreamAnswer { response, endpoint: None })
}

pub(crate) fn failed(
    kind: UpstreamErrorKind,
) -> Result<UpstreamAnswer<Full<Bytes>>, UpstreamError> {
    Err(UpstreamError::new(kind))
}

/// Counts calls.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<AtomicUsize>);

impl Calls {
    /// The number of this call, from 0.
    pub(crate) fn next(&self) -> usize {
        self.0.fetch_add(1, Relaxed)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

/// Texts, noted in any order.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn add(&self, note: impl Into<String>) {
        self.0.lock().expect("not poisoned").push(note.into());
    }

    pub(crate) fn sorted(&self) -> Vec<String> {
        let mut notes = self.0.lock().expect("not poisoned").clone();
        notes.sort();
        notes
    }
}

pub(crate) fn service<U>(rules: Vec<Rule>, upstream: U) -> RouteService<U> {
    RouteService::new(table(rules), upstream)
}

pub(crate) fn service_with<U>(
    rules: Vec<Rule>,
    upstream: U,
    settings: RouteSettings,
) -> RouteService<U> {
    RouteService::with_settings(table(rules), upstream, settings)
}

pub(crate) async fn dispatch<U, B>(
    service: &RouteService<U>,
    request: Request<B>,
) -> Exchange<U::Body>
where
    U: Upstream<B>,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    service.dispatch(&OwnedIngress::port(PORT), request).await
}

pub(crate) async fn text<B>(body: B) -> String
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let bytes = body.collect().await.expect("a whole body").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Runs what was spawned as far as it gets without time passing.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A service from a function.
#[derive(Clone)]
pub(crate) struct TowerFn<F>(F);

pub(crate) const fn tower_fn<F>(call: F) -> TowerFn<F> {
    TowerFn(call)
}

impl<F, R, Called, A, E> Service<R> for TowerFn<F>
where
    F: Fn(R) -> Called,
    Called: Future<Output = Result<A, E>>,
{
    type Response = A;
    type Error = E;
    type Future = Called;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Called {
        (self.0)(request)
    }
}
