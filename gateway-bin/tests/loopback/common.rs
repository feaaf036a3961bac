//! A gateway in process, backends that do as they are told, and clients of raw bytes.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gateway_bin::{
    Addresses, Update,
    run::{Config, Gateway},
};
use gateway_core::{
    api::{Kind, ObjectKey},
    backend::{
        Backend, BackendKey, BackendProtocol, BackendTls, Turns, WeightedBackend, WeightedBackends,
    },
    build::Build,
    compile::RouteTable,
    endpoints::Endpoints,
    filter::Filter,
    matcher::{HostPattern, PathPattern, RouteMatch},
    resolve::{
        StatusReport,
        topology::{
            Attachment, Bind, BindAddress, BindKey, Listener, ListenerId, ListenerProtocol, Route,
            Rule, Timeouts, Topology, Transport,
        },
    },
    snapshot::BindState,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

/// Longer than anything here takes, also on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A path prefix and what it leads to.
#[derive(Clone)]
pub(crate) struct Path {
    pub(crate) prefix: &'static str,
    pub(crate) backend: SocketAddr,
    pub(crate) protocol: BackendProtocol,
    pub(crate) tls: Option<Arc<BackendTls>>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) timeouts: Timeouts,
    /// A DNS name in the place of endpoints.
    pub(crate) external: Option<&'static str>,
}

impl Path {
    pub(crate) fn new(prefix: &'static str, backend: SocketAddr) -> Self {
        let (protocol, tls) = (BackendProtocol::Http1, None);
        Self {
            prefix,
            backend,
            protocol,
            tls,
            filters: Vec::new(),
            timeouts: Timeouts::default(),
            external: None,
        }
    }

    pub(crate) fn http2(mut self) -> Self {
        self.protocol = BackendProtocol::Http2;
        self
    }
}

/// A configuration of one socket.
pub(crate) struct Setup {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) paths: Vec<Path>,
}

pub(crate) const PORT: u16 = 80;

pub(crate) fn bind_key() -> BindKey {
    BindKey { address: BindAddress::Default, port: PORT, transport: Transport::Tcp }
}

pub(crate) fn listener(name: &str, hostname: &str, protocol: ListenerProtocol) -> Listener {
    let gateway = ObjectKey::new(Kind::Gateway, "default", "public");
    Listener {
        gateway: gateway.clone(),
        owner: gateway,
        name: name.into(),
        hostname: HostPattern::new(hostname),
        port: PORT,
        protocol,
    }
}

impl Setup {
    /// One HTTP listener.
    pub(crate) fn http(paths: Vec<Path>) -> Self {
        Self { listeners: vec![listener("web", "", ListenerProtocol::Http)], paths }
    }

    pub(crate) fn update(&self) -> Update {
        let ids =
            || (0..self.listeners.len()).map(|id| ListenerId(u32::try_from(id).expect("few")));
        let attachment = |listener: ListenerId| Attachment {
            hostnames: [self.listeners[listener.0 as usize].hostname.clone()].into_iter().collect(),
            listener,
        };
        let key = ObjectKey::new(Kind::HttpRoute, "default", "routes");
        let route = Route {
            key: key.clone(),
            created: None,
            attachments: ids().map(attachment).collect(),
            rules: (0..)
                .zip(&self.paths)
                .map(|(index, path)| Arc::new(rule(index, path)))
                .collect(),
        };
        let mut endpoints = Endpoints::default();
        for path in &self.paths {
            endpoints.insert(backend_key(path), vec![path.backend]);
        }
        let topology = Topology {
            binds: vec![Bind { key: bind_key(), listeners: ids().collect() }],
            listeners: self.listeners.iter().cloned().map(Arc::new).collect(),
            routes: [(key, Arc::new(route))].into(),
        };
        let table = RouteTable::compile(&topology, 7);
        let (status, diagnostics) = (StatusReport::default(), Vec::new());
        Update { build: Build { table, topology, status, diagnostics }, endpoints }
    }
}

pub(crate) fn backend_key(path: &Path) -> BackendKey {
    BackendKey {
        kind: Kind::Service,
        namespace: "default".into(),
        name: format!("backend-{}", path.backend.port()).into(),
        port: if path.external.is_some() { path.backend.port() } else { 80 },
    }
}

fn rule(index: u16, path: &Path) -> Rule {
    let backend = Backend {
        key: backend_key(path),
        protocol: path.protocol,
        tls: path.tls.clone(),
        external_hostname: path.external.map(Into::into),
        retry_budget: None,
        proxy_protocol: None,
        session_persistence: None,
    };
    let weighted = WeightedBackend { weight: 1, target: Ok(Arc::new(backend)), filters: vec![] };
    Rule {
        name: None,
        index,
        matches: vec![RouteMatch { path: PathPattern::prefix(path.prefix), ..RouteMatch::any() }],
        filters: path.filters.clone(),
        backends: WeightedBackends::new(vec![weighted]),
        timeouts: path.timeouts,
        retry: None,
        session_persistence: None,
        turns: Turns::default(),
    }
}

/// A gateway that listens on loopback.
pub(crate) struct Running {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
}

pub(crate) fn config() -> Config {
    Config {
        addresses: Addresses {
            default: [127, 0, 0, 1].into(),
            port_offset: 0,
            ports: BTreeMap::from([(PORT, 0)]),
            own: BTreeMap::new(),
            ..Addresses::default()
        },
        workers: 2,
        drain: Duration::from_secs(10),
        ..Config::default()
    }
}

pub(crate) async fn start(setup: &Setup) -> Running {
    start_with(setup, &config()).await
}

pub(crate) async fn start_with(setup: &Setup, config: &Config) -> Running {
    let mut gateway = Gateway::start(config).expect("a gateway");
    let observed = gateway.apply(&setup.update()).await;
    assert_eq!(observed.binds, [(bind_key(), BindState::Bound)].into());
    let address = gateway.addresses()[&bind_key()][0];
    Running { gateway, address }
}

/// Runs a test on a runtime of its own, with an end.
pub(crate) fn run<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    runtime.block_on(async { timeout(PATIENCE * 3, test).await.expect("the test must end") })
}

/// A backend of raw bytes: `answer` is sent to each request head and body of known length.
pub(crate) struct RawBackend {
    pub(crate) address: SocketAddr,
    /// The requests as they came, in order.
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Connections that the gateway has closed.
    pub(crate) closed: Arc<AtomicUsize>,
}

impl RawBackend {
    pub(crate) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |_| Reply::Keep(answer.clone())).await
    }

    pub(crate) async fn new(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let backend = Self {
            address,
            requests: Arc::default(),
            connections: Arc::default(),
            closed: Arc::default(),
        };
        let (requests, connections) =
            (Arc::clone(&backend.requests), Arc::clone(&backend.connections));
        let (closed, reply) = (Arc::clone(&backend.closed), Arc::new(reply));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                let (requests, closed) = (Arc::clone(&requests), Arc::clone(&closed));
                let reply = Arc::clone(&reply);
                tokio::spawn(async move {
                    let _ = serve_raw(socket, &requests, &*reply).await;
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        backend
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.requests.lock().expect("no panic").clone()
    }

    /// Waits until the gateway has closed `count` connections.
    pub(crate) async fn wait_closed(&self, count: usize) {
        wait_until(|| self.closed.load(Ordering::SeqCst) >= count).await;
    }
}

/// An address that refuses connections for as long as this lives. A port that is merely free may at
/// any time become that of another test, whose backend then gets requests that are not for it.
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _bound: TcpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let bound = TcpSocket::new_v4().expect("a socket");
        bound.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        Self { address: bound.local_addr().expect("an address"), _bound: bound }
    }
}

pub(crate) enum Reply {
    /// Send and go on.
    Keep(Vec<u8>),
    /// Send and close.
    Close(Vec<u8>),
    /// Send, then nothing until the other side ends.
    Hang(Vec<u8>),
}

async fn serve_raw(
    mut socket: TcpStream,
    requests: &Mutex<Vec<String>>,
    reply: &(impl Fn(&str) -> Reply + ?Sized),
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read_message(&mut socket, &mut buffer).await? else { return Ok(()) };
        requests.lock().expect("no panic").push(request.clone());
        match reply(&request) {
            Reply::Keep(bytes) => socket.write_all(&bytes).await?,
            Reply::Close(bytes) => return socket.write_all(&bytes).await,
            Reply::Hang(bytes) => {
                socket.write_all(&bytes).await?;
                let mut rest = [0; 1024];
                while socket.read(&mut rest).await? > 0 {}
                return Ok(());
            }
        }
    }
}

/// Reads one message: head, and a body of known length or in chunks. None at the end.
pub(crate) async fn read_message(
    socket: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> io::Result<Option<String>> {
    loop {
        if let Some(length) = message_length(buffer) {
            let message = buffer.drain(..length).collect::<Vec<u8>>();
            return Ok(Some(String::from_utf8_lossy(&message).into_owned()));
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

fn message_length(bytes: &[u8]) -> Option<usize> {
    let find = |from: usize, what: &[u8]| {
        bytes[from..].windows(what.len()).position(|part| part == what).map(|at| from + at)
    };
    let head = find(0, b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        let end =
            if bytes[head..].starts_with(b"0\r\n") { head } else { find(head, b"\r\n0\r\n")? + 2 };
        return Some(find(end, b"\r\n\r\n")? + 4);
    }
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let whole = head + length.unwrap_or(0);
    (bytes.len() >= whole).then_some(whole)
}

/// Waits for what other tasks do.
pub(crate) async fn wait_until(condition: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("it must come to be");
}

/// A client of raw bytes.
pub(crate) struct RawClient {
    pub(crate) socket: TcpStream,
    buffer: Vec<u8>,
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("a connection")
    }

    pub(crate) async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: TcpStream::connect(address).await?, buffer: Vec::new() })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.expect("sent");
    }

    /// Whether the other side still takes bytes.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Whatever comes next.
    pub(crate) async fn some(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.buffer);
        let read = timeout(PATIENCE, self.socket.read_buf(&mut bytes)).await;
        read.expect("something in time").expect("something");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Reads exactly these bytes.
    pub(crate) async fn expect(&mut self, expect: &str) {
        while self.buffer.len() < expect.len() {
            let read = timeout(PATIENCE, self.socket.read_buf(&mut self.buffer)).await;
            assert!(read.expect("bytes in time").expect("bytes") > 0, "the connection ended");
        }
        let got: Vec<u8> = self.buffer.drain(..expect.len()).collect();
        assert!(got == expect.as_bytes(), "{}", String::from_utf8_lossy(&got));
    }

    /// The next answer; none at the end of the connection.
    pub(crate) async fn answer(&mut self) -> Option<String> {
        let message = timeout(PATIENCE, read_message(&mut self.socket, &mut self.buffer));
        message.await.expect("an answer in time").unwrap_or(None)
    }

    /// All that comes until the connection ends.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.buffer);
        let read = timeout(PATIENCE, async {
            // A reset ends a connection as well.
            while let Ok(1..) = self.socket.read_buf(&mut bytes).await {}
        });
        read.await.expect("the connection must end");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Sends one request on a connection of its own and reads until it is closed.
pub(crate) async fn exchange(address: SocketAddr, request: impl AsRef<[u8]>) -> String {
    let mut client = RawClient::connect(address).await;
    client.send(request).await;
    client.rest().await
}

/// The status of an answer; 0 if there is none.
pub(crate) fn status(answer: &str) -> u16 {
    let status = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
    status.and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
