//! `gateway echo`: a backend that answers with what it received.
//!
//! In: HTTP/1.1 and HTTP/2 requests without TLS. Out: JSON that names path, host, method, protocol
//! and headers as the backend saw them, in the form of the Gateway API's conformance backend; an
//! empty message with status 0 for any gRPC call. Not here: WebSocket, TLS.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version,
    header::{CONTENT_TYPE, HOST},
    request::Parts,
};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::args::{EchoArgs, parse_duration};

const DELAY: &str = "x-echo-delay";
const STATUS: &str = "x-echo-status";
const SET_HEADER: &str = "x-echo-set-header";
const SERVED_BY: HeaderName = HeaderName::from_static("x-echo-service");

/// The longest delay that a request may ask for.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The body of an answer.
type EchoBody = UnsyncBoxBody<Bytes, Infallible>;

/// Who answers: the names that a Pod would have on a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The namespace of the Service.
    pub namespace: String,
    /// The name of the Service.
    pub service: String,
    /// The name of the one among its endpoints.
    pub pod: String,
    /// Answers the first of each two requests with 503, to show what retries are good for.
    pub is_flaky: bool,
}

/// What a backend saw of a request.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Echo {
    /// The path with the query.
    pub path: String,
    /// The authority: of HTTP/2, or of the `Host` header.
    pub host: String,
    /// The method.
    pub method: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub proto: String,
    /// Names in lower case with their values in order.
    pub headers: BTreeMap<String, Vec<String>>,
    /// [`Identity::namespace`].
    pub namespace: String,
    /// [`Identity::service`].
    pub service: String,
    /// [`Identity::pod`].
    pub pod: String,
    /// Length of the request's body.
    pub body_bytes: u64,
}

/// Runs until Ctrl-C.
pub fn run(args: &EchoArgs) -> ExitCode {
    let served = tokio::runtime::Runtime::new().and_then(|runtime| {
        runtime.block_on(async {
            let listener = TcpListener::bind(SocketAddr::new(args.bind, args.port)).await?;
            eprintln!("{} listens on http://{}", args.name, listener.local_addr()?);
            let identity = Identity {
                namespace: "default".to_owned(),
                service: args.name.clone(),
                pod: args.name.clone(),
                is_flaky: false,
            };
            tokio::select! {
                () = serve(listener, identity) => Ok(()),
                stopped = tokio::signal::ctrl_c() => stopped,
            }
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}:{}: {error}", args.bind, args.port);
            ExitCode::FAILURE
        }
    }
}

/// Answers all connections of a listener. Ends only by being dropped, and its connections with it.
pub async fn serve(listener: TcpListener, identity: Identity) {
    serve_over(listener, identity, None).await;
}

/// As [`serve`], over TLS if there is an acceptor.
pub(super) async fn serve_over(
    listener: TcpListener,
    identity: Identity,
    tls: Option<TlsAcceptor>,
) {
    let backend = Arc::new(Backend { identity, requests: AtomicU64::new(0) });
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(accepted_by(stream, tls.clone(), backend.clone()));
                }
                // Out of file descriptors, most likely: let some connections end first.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

struct Backend {
    identity: Identity,
    requests: AtomicU64,
}

async fn accepted_by(stream: TcpStream, tls: Option<TlsAcceptor>, backend: Arc<Backend>) {
    if let Err(_no_small_packets) = stream.set_nodelay(true) {
        return;
    }
    match tls {
        None => connection(stream, backend).await,
        Some(tls) => {
            // A handshake that fails is the client's affair.
            if let Ok(stream) = tls.accept(stream).await {
                connection(stream, backend).await;
            }
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    backend: Arc<Backend>,
) {
    let service = hyper::service::service_fn(move |request| {
        let backend = backend.clone();
        async move { answer(request, &backend).await }
    });
    let serving = auto::Builder::new(TokioExecutor::new());
    // A connection that breaks is the client's affair.
    serving.serve_connection(TokioIo::new(stream), service).await.ok();
}

/// The answer to a request, once its body has been read to the end.
async fn answer(request: Request<Incoming>, backend: &Backend) -> io::Result<Response<EchoBody>> {
    let identity = &backend.identity;
    let (head, body) = request.into_parts();
    let body_bytes = length(body).await.map_err(io::Error::other)?;
    let wish = match Wish::read(&head) {
        Ok(wish) => wish,
        Err(message) => return Ok(plain(StatusCode::BAD_REQUEST, message)),
    };
    tokio::time::sleep(wish.delay).await;
    let mut response = if is_grpc(&head.headers) {
        empty_grpc_message()
    } else {
        json(&Echo::new(&head, body_bytes, identity))?
    };
    *response.status_mut() = wish.status;
    if identity.is_flaky && backend.requests.fetch_add(1, Relaxed).is_multiple_of(2) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    if let Ok(name) = HeaderValue::try_from(&identity.service) {
        response.headers_mut().insert(SERVED_BY, name);
    }
    response.headers_mut().extend(wish.headers);
    Ok(response)
}

async fn length(mut body: Incoming) -> Result<u64, hyper::Error> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(bytes)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn plain(status: StatusCode, message: String) -> Response<EchoBody> {
    let mut response = Response::new(Full::from(message).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn json(echo: &Echo) -> io::Result<Response<EchoBody>> {
    let mut text = serde_json::to_vec_pretty(echo)?;
    text.push(b'\n');
    let mut response = Response::new(Full::from(text).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// One message of length 0, then the trailers.
fn empty_grpc_message() -> Response<EchoBody> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Full::from(&[0; 5][..]);
    let body = message.with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

// === impl Echo ===

impl Echo {
    fn new(head: &Parts, body_bytes: u64, identity: &Identity) -> Self {
        let mut headers = BTreeMap::<String, Vec<String>>::new();
        for (name, value) in &head.headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.as_str().to_owned()).or_default().push(value);
        }
        let host = head.uri.authority().map(|authority| authority.as_str().to_owned());
        let host = host.or_else(|| headers.get(HOST.as_str()).map(|hosts| hosts.join(", ")));
        Self {
            path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            host: host.unwrap_or_default(),
            method: head.method.to_string(),
            proto: if head.version == Version::HTTP_2 { "HTTP/2.0" } else { "HTTP/1.1" }.to_owned(),
            headers,
            namespace: identity.namespace.clone(),
            service: identity.service.clone(),
            pod: identity.pod.clone(),
            body_bytes,
        }
    }
}

/// What a request asks of the answer.
#[derive(Debug)]
struct Wish {
    delay: Duration,
    status: StatusCode,
    headers: HeaderMap,
}

impl Wish {
    fn read(head: &Parts) -> Result<Self, String> {
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let delay = query(head, "delay").or_else(|| header(DELAY));
        let status = query(head, "status").or_else(|| header(STATUS));
        Ok(Self {
            delay: delay.map_or(Ok(Duration::ZERO), parse_duration)?.min(MAX_DELAY),
            status: status.map_or(Ok(StatusCode::OK), |status| {
                let code = status.parse::<u16>().ok().filter(|code| *code >= 200);
                code.and_then(|code| StatusCode::from_u16(code).ok())
                    .ok_or_else(|| format!("{status:?} is no status from 200 to 999"))
            })?,
            headers: header(SET_HEADER).map_or_else(|| Ok(HeaderMap::new()), header_list)?,
        })
    }
}

fn query<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    let mut pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|pair| pair.0 == name).map(|pair| pair.1)
}

/// `name:value, other:value`.
fn header_list(list: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for header in list.split(',') {
        let (name, value) = header.split_once(':').ok_or("X-Echo-Set-Header takes name:value")?;
        let name = HeaderName::try_from(name.trim()).map_err(|error| error.to_string())?;
        let value = HeaderValue::try_from(value.trim()).map_err(|error| error.to_string())?;
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use std::{future::Future, net::Ipv4Addr};

    use bytes::Bytes;
    use http::{Request, Version};

    use super::{Echo, Identity, serve};
    use crate::cli::client::{Reply, send};

    /// The answer of a backend to a request.
    async fn ask(request: Request<Bytes>) -> Reply {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let identity = Identity {
            namespace: "shop".into(),
            service: "cart".into(),
            pod: "cart-0".into(),
            is_flaky: false,
        };
        tokio::select! {
            () = serve(listener, identity) => panic!("the backend ended"),
            reply = send(address, request) => reply.unwrap(),
        }
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test)
    }

    #[track_caller]
    fn check(version: Version, expect_proto: &str) {
        let request = Request::post("http://shop.example.com/cart?x=1").version(version);
        let request = request.header("X-A", "1").header("x-a", "2").body("four".into()).unwrap();
        let reply = run(ask(request));
        assert_eq!((reply.status.as_u16(), reply.field("x-echo-service")), (200, Some("cart")));
        let echo: Echo = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(echo.path, "/cart?x=1");
        assert_eq!(echo.host, "shop.example.com");
        assert_eq!((&*echo.method, &*echo.proto), ("POST", expect_proto));
        assert_eq!(echo.headers["x-a"], ["1", "2"]);
        assert_eq!((&*echo.namespace, &*echo.pod, echo.body_bytes), ("shop", "cart-0", 4));
    }

    #[test]
    fn tells_what_it_received() {
        check(Version::HTTP_11, "HTTP/1.1");
        check(Version::HTTP_2, "HTTP/2.0");
    }

    #[test]
    fn answers_as_it_is_told() {
        let request = Request::get("http://a/?status=503&delay=1ms");
        let request = request.header("X-Echo-Set-Header", "a:1, b: 2");
        let reply = run(ask(request.body(Bytes::new()).unwrap()));
        assert_eq!(reply.status.as_u16(), 503);
        assert_eq!((reply.field("a"), reply.field("b")), (Some("1"), Some("2")));

        for wrong in ["/?status=1000", "/?status=101", "/?delay=soon"] {
            let request = Request::get(format!("http://a{wrong}"));
            let reply = run(ask(request.body(Bytes::new()).unwrap()));
            assert_eq!(reply.status.as_u16(), 400, "{wrong}");
        }
    }

    #[test]
    fn any_grpc_call_succeeds_with_an_empty_message() {
        let request = Request::post("http://a/shop.Cart/Get").version(Version::HTTP_2);
        let request = request.header("content-type", "application/grpc");
        let reply = run(ask(request.body(Bytes::from_static(&[0; 5])).unwrap()));
        assert_eq!((reply.status.as_u16(), &*reply.body), (200, &[0; 5][..]));
        assert_eq!(reply.trailers["grpc-status"], "0");
        assert_eq!(reply.field("content-type"), Some("application/grpc"));
    }
}
