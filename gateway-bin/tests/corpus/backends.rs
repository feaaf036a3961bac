//! Backends: one server for each, which notes what it gets and answers with 200.
//!
//! They speak whatever comes: HTTP/1.1, HTTP/2 with prior knowledge, and either over TLS. Questions
//! of external authorization by gRPC are answered with yes and not noted.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use gateway_core::{api::Secret, backend::BackendKey};
use gateway_testkit::corpus::header_lines;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

/// The field by which a backend says which of the received requests it answers.
pub(crate) const NUMBER: &str = "x-received-as";

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A request as a backend gets it.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// `namespace/name:port`.
    pub(crate) backend: String,
    /// What the gateway says of the client's address.
    pub(crate) client: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) host: String,
    /// The field lines, without Host.
    pub(crate) headers: Vec<(String, String)>,
}

/// What all backends got, in order.
#[derive(Debug)]
pub(crate) struct Log {
    received: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
}

impl Log {
    pub(crate) fn all(&self) -> Vec<Received> {
        self.received.lock().expect("no panic").clone()
    }

    /// Waits until what was received satisfies `condition`.
    pub(crate) async fn wait_for(&self, condition: impl Fn(&[Received]) -> bool) {
        let mut count = self.count.subscribe();
        let holds = |_: &usize| condition(&self.received.lock().expect("no panic"));
        count.wait_for(holds).await.expect("the sender is in self");
    }

    fn note(&self, received: Received) -> usize {
        let mut all = self.received.lock().expect("no panic");
        all.push(received);
        let number = all.len() - 1;
        drop(all);
        self.count.send_replace(number + 1);
        number
    }
}

/// All backends of the corpus.
pub(crate) struct Backends {
    addresses: BTreeMap<BackendKey, SocketAddr>,
    pub(crate) log: Arc<Log>,
    tls: TlsAcceptor,
}

impl Backends {
    /// No backend yet. Over TLS they show the certificate that the corpus has for it, `secret`.
    pub(crate) fn new(secret: &Secret) -> Self {
        let log = Log { received: Mutex::default(), count: watch::Sender::new(0) };
        Self { addresses: BTreeMap::new(), log: Arc::new(log), tls: acceptor(secret) }
    }

    /// Where the backend listens. It is started if it is new.
    pub(crate) async fn address(&mut self, key: &BackendKey) -> SocketAddr {
        if let Some(address) = self.addresses.get(key) {
            return *address;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        self.addresses.insert(key.clone(), address);
        let backend = Backend { name: key.to_string(), log: Arc::clone(&self.log) };
        let (backend, tls) = (Arc::new(backend), self.tls.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&backend).accept(socket, tls.clone()));
            }
        });
        address
    }
}

struct Backend {
    name: String,
    log: Arc<Log>,
}

impl Backend {
    async fn accept(self: Arc<Self>, socket: TcpStream, tls: TlsAcceptor) {
        let mut first = [0];
        match socket.peek(&mut first).await {
            // The type of a record that begins a handshake (RFC 8446 section 5.1).
            Ok(1) if first == [22] => {
                if let Ok(socket) = tls.accept(socket).await {
                    self.serve(socket).await;
                }
            }
            Ok(1) => self.serve(socket).await,
            // The gateway has changed its mind.
            _ => {}
        }
    }

    async fn serve(self: Arc<Self>, socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let service = service_fn(move |request| {
            let answer = self.answer(request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        // How connections end is the gateway's business.
        let _ = server.serve_connection(TokioIo::new(socket), service).await;
    }

    fn answer(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        if request.uri().path() == CHECK {
            return yes();
        }
        let (head, _) = request.into_parts();
        let mut headers = header_lines(&head.headers);
        let value = |name: &str| {
            let found = headers.iter().find(|(its, _)| its == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let client = value("x-forwarded-for");
        let host = match (head.version, head.uri.authority()) {
            (Version::HTTP_2, Some(authority)) => authority.to_string(),
            _ => value("host"),
        };
        headers.retain(|(name, _)| name != "host");
        let target = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
        let backend = self.name.clone();
        let number = self.log.note(Received { backend, client, target, host, headers });
        let mut answer = Response::new(Full::new(Bytes::from_static(b"ok")).boxed());
        answer.headers_mut().insert(NUMBER, HeaderValue::from(number));
        answer
    }
}

/// An empty `CheckResponse`: a message of no bytes, and the status OK.
fn yes() -> Response<BoxBody<Bytes, Infallible>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::new(Bytes::from_static(&[0; 5]));
    let mut answer = Response::new(message.with_trailers(async { Some(Ok(trailers)) }).boxed());
    let grpc = HeaderValue::from_static("application/grpc");
    answer.headers_mut().insert(header::CONTENT_TYPE, grpc);
    answer
}

fn acceptor(secret: &Secret) -> TlsAcceptor {
    let value = |key| secret.value(key).expect("base64").expect("a value");
    let chain = CertificateDer::pem_slice_iter(&value("tls.crt")).collect::<Result<Vec<_>, _>>();
    let (chain, key) = (chain.expect("PEM"), PrivateKeyDer::from_pem_slice(&value("tls.key")));
    let key = key.expect("PEM");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).expect("a certificate");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
