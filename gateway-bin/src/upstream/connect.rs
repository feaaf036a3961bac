//! New connections to endpoints: TCP, TLS if the backend asks for it, and the HTTP handshake.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    UpstreamError, UpstreamLimits,
    body::UpstreamBody,
    endpoint::{Http1, Http2},
};

/// The most header fields that hyper takes by itself.
pub(crate) const HYPER_HEADERS: usize = 100;

/// How long an idle connection goes without a sign of life before one is asked for.
const SILENCE: Duration = Duration::from_secs(20);

/// How long a request may stay without acknowledgement, or an endpoint refuse to read. By itself the
/// system waits 15 minutes for a machine that is gone without a word, and every request on the
/// connection with it.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(120);

/// How TLS with a backend goes: the configuration and the name that is sent and verified.
pub(super) type ClientTls = (Arc<rustls::ClientConfig>, ServerName<'static>);

/// Opens an HTTP/1.1 connection.
pub(super) async fn http1(
    address: SocketAddr,
    tls: Option<ClientTls>,
    limits: &UpstreamLimits,
) -> Result<Http1, UpstreamError> {
    match open_http(address, tls, limits.connect).await? {
        Opened::Plain(socket) => handshake1(address, socket, limits).await,
        Opened::Tls(socket) => handshake1(address, socket, limits).await,
    }
}

/// Opens an HTTP/2 connection with prior knowledge. Beside it, how many streams the endpoint allows
/// at a time.
pub(super) async fn http2(
    address: SocketAddr,
    tls: Option<ClientTls>,
    limits: &UpstreamLimits,
) -> Result<(Http2, Arc<AtomicUsize>), UpstreamError> {
    match open_http(address, tls, limits.connect).await? {
        Opened::Plain(socket) => handshake2(address, socket, limits).await,
        Opened::Tls(socket) => handshake2(address, socket, limits).await,
    }
}

/// A connection to an endpoint before anything is said over it.
#[derive(Debug)]
pub(crate) enum Opened {
    /// In plain text.
    Plain(TcpStream),
    /// After the handshake.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Opened {
    #[cfg(target_os = "linux")]
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(socket) => socket.get_ref().0,
        }
    }
}

/// Connects to an endpoint within `limit`.
pub(super) async fn open(
    address: SocketAddr,
    tls: Option<ClientTls>,
    limit: Duration,
) -> Result<Opened, UpstreamError> {
    let opened = timeout(limit, async {
        let failed = |error| UpstreamError::Connect(address, error);
        let socket = TcpStream::connect(address).await.map_err(failed)?;
        socket.set_nodelay(true).map_err(failed)?;
        ask_when_silent(&socket).map_err(failed)?;
        let Some((config, name)) = tls else { return Ok(Opened::Plain(socket)) };
        let secured = TlsConnector::from(config).connect(name, socket).await;
        let secured = secured.map_err(|error| UpstreamError::Tls(error.to_string().into()))?;
        Ok(Opened::Tls(Box::new(secured)))
    });
    opened.await.unwrap_or(Err(UpstreamError::ConnectTimeout(address)))
}

/// Has the system ask idle connections for a sign of life.
fn ask_when_silent(socket: &TcpStream) -> io::Result<()> {
    let probes = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 4);
    SockRef::from(socket).set_tcp_keepalive(&probes)
}

/// Connects for HTTP, which somebody waits for. Other streams may rest for as long as both ends like.
async fn open_http(
    address: SocketAddr,
    tls: Option<ClientTls>,
    limit: Duration,
) -> Result<Opened, UpstreamError> {
    let opened = open(address, tls, limit).await?;
    #[cfg(target_os = "linux")]
    SockRef::from(opened.socket())
        .set_tcp_user_timeout(Some(UNACKNOWLEDGED))
        .map_err(|error| UpstreamError::Connect(address, error))?;
    Ok(opened)
}

async fn handshake1<S>(
    address: SocketAddr,
    socket: S,
    limits: &UpstreamLimits,
) -> Result<Http1, UpstreamError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = http1::Builder::new();
    // Hyper keeps its own default on the stack, any other number costs two allocations for
    // each answer.
    if limits.answer_headers != HYPER_HEADERS {
        builder.max_headers(limits.answer_headers);
    }
    let (sender, connection) = builder
        .max_header_size(limits.answer_head_bytes)
        .max_buf_size(limits.answer_head_bytes.max(64 * 1024))
        .handshake::<_, UpstreamBody>(TokioIo::new(socket))
        .await
        .map_err(|error| UpstreamError::Broken(address, error))?;
    // The outcome of the connection reaches the request that uses it; an idle one may end.
    tokio::spawn(async move { drop(connection.with_upgrades().await) });
    Ok(sender)
}

async fn handshake2<S>(
    address: SocketAddr,
    socket: S,
    limits: &UpstreamLimits,
) -> Result<(Http2, Arc<AtomicUsize>), UpstreamError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, mut connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_header_list_size(u32::try_from(limits.answer_head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20))
        .handshake::<_, UpstreamBody>(TokioIo::new(socket))
        .await
        .map_err(|error| UpstreamError::Broken(address, error))?;
    let room = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    let allowed = Arc::clone(&room);
    tokio::spawn(poll_fn(move |cx| {
        let polled = Pin::new(&mut connection).poll(cx);
        allowed.store(connection.current_max_send_streams(), Relaxed);
        polled.map(drop)
    }));
    Ok((sender, room))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::net::TcpListener;

    use super::{SILENCE, UNACKNOWLEDGED, open, open_http};

    #[track_caller]
    fn check(socket: &SockRef<'_>, unacknowledged: Option<Duration>) {
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), SILENCE);
        let limit = socket.tcp_user_timeout().expect("an option");
        assert_eq!(limit.filter(|limit| !limit.is_zero()), unacknowledged);
    }

    #[tokio::test]
    async fn endpoints_that_are_gone_without_a_word_are_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stream = open(address, None, SILENCE).await.expect("it connects");
        check(&SockRef::from(stream.socket()), None);
        let http = open_http(address, None, SILENCE).await.expect("it connects");
        check(&SockRef::from(http.socket()), Some(UNACKNOWLEDGED));
    }
}
