//! One connection of a client, from the first byte to the last.

use std::{
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use gateway_core::matcher::Scheme;
use gateway_tower::OwnedIngress;
use hyper::{
    Request,
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    BindKind, BindState, ConnectionState, PREFACE, Server,
    drain::{Drain, Member, Place},
    identity::client_certificate,
    io::{GuardedIo, Socket},
    stream::{self, Shaken},
};
use crate::{
    guard::{Limits, Peer},
    proxy::{ClientSide, Proxy},
    stream::Client,
    upstream::HYPER_HEADERS,
};

/// How long a client that has said nothing yet may still begin once it is time to end.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Serves a connection until it ends.
pub(super) async fn serve(
    socket: TcpStream,
    peer: SocketAddr,
    bind: Arc<BindState>,
    server: Arc<Server>,
    member: Member,
    place: Place,
) {
    // A socket that refuses this is about to fail anyway.
    let _ = socket.set_nodelay(true);
    let mut client = Client::new(socket, peer);
    if server.proxies.announce(peer.ip(), bind.key.port) {
        let limit = server.proxy.limits().head_time;
        if client.read_proxy_header(limit).await.is_err() {
            server.proxy.telemetry().proxy_header_failed(&bind.label);
            return;
        }
    }
    let peer = client.source();
    // A stream's future is larger than that of a connection of HTTP, and is apart from it.
    match bind.kind {
        BindKind::Http => Opening { peer, bind, server, member, place }.serve_plain(client).await,
        BindKind::Tls => Opening { peer, bind, server, member, place }.serve_tls(client).await,
        BindKind::Tcp => Box::pin(stream::serve_tcp(client, bind, server, member)).await,
        // INVARIANT: sockets of datagrams have no connections.
        BindKind::Udp => {}
    }
}

struct Opening {
    peer: SocketAddr,
    bind: Arc<BindState>,
    server: Arc<Server>,
    member: Member,
    place: Place,
}

impl Opening {
    async fn serve_tls(mut self, client: Client) {
        let shaken = if self.bind.tls.load().has_streams() {
            let until = &mut self.member;
            Box::pin(stream::serve_tls(client, &self.bind, &self.server, until)).await
        } else {
            let limit = self.server.proxy.limits().handshake_time;
            let shaken = timeout(limit, self.shake_hands(client)).await.unwrap_or(None);
            if shaken.is_none() {
                self.server.proxy.telemetry().handshake_failed(&self.bind.label);
            }
            shaken
        };
        let Some(Shaken { stream, sni, setup }) = shaken else { return };
        self.member.join_also(&setup.drain);
        let session = stream.get_ref().1;
        let http2 = session.alpn_protocol() == Some(b"h2");
        let mut peer = Peer::new(self.peer.ip(), Scheme::Https);
        if self.server.proxy.limits().client_certificates
            && let Some(certificate) = client_certificate(session, setup.lenient.as_ref())
        {
            peer = peer.with_certificate(certificate);
        }
        let terms = Some(setup.drain);
        let client = self.client(peer, terms, |ingress| ingress.over_tls(sni.as_deref()));
        let socket = Socket::Tls(Box::new(stream));
        self.serve_http(socket, Bytes::new(), http2, client).await;
    }

    async fn shake_hands(&self, client: Client) -> Option<Shaken> {
        let hello = LazyConfigAcceptor::new(Default::default(), client).await.ok()?;
        let sni: Option<Box<str>> = hello.client_hello().server_name().map(Into::into);
        // SPEC: a name that no listener serves is closed without an answer.
        let setup = self.bind.tls.load().choose(sni.as_deref()).cloned()?;
        let stream = hello.into_stream(Arc::clone(&setup.config)).await.ok()?;
        Some(Shaken { stream, sni, setup })
    }

    async fn serve_plain(mut self, client: Client) {
        let (mut socket, ahead) = client.into_parts();
        let mut first = BytesMut::with_capacity(1024.max(ahead.len()));
        first.extend_from_slice(&ahead);
        if first.is_empty() && !self.has_first_word(&mut socket, &mut first).await {
            return;
        }
        let limit = self.server.proxy.limits().head_time;
        let Ok(Ok(http2)) = timeout(limit, sniff(&mut socket, &mut first)).await else { return };
        let first = first.freeze();
        let peer = Peer::new(self.peer.ip(), Scheme::Http);
        let client = self.client(peer, None, |ingress| ingress);
        self.serve_http(Socket::Plain(socket), first, http2, client).await;
    }

    /// Waits for the first bytes; false if none come in time, or it is time to end.
    async fn has_first_word(&mut self, socket: &mut TcpStream, first: &mut BytesMut) -> bool {
        let limit = self.server.proxy.limits().idle_time;
        let ending = async {
            self.member.told().await;
            // The request of a client that has just connected may be under way.
            sleep(LAST_WORD).await;
        };
        tokio::select! {
            biased;
            read = timeout(limit, socket.read_buf(first)) => matches!(read, Ok(Ok(1..))),
            () = ending => false,
        }
    }

    fn client(
        &self,
        peer: Peer,
        terms: Option<Arc<Drain>>,
        way: impl FnOnce(OwnedIngress) -> OwnedIngress,
    ) -> Arc<ClientSide> {
        Arc::new(ClientSide {
            peer,
            ingress: way(self.bind.ingress.clone().from_peer(self.peer)),
            state: Arc::new(ConnectionState::default()),
            bind: Arc::clone(&self.bind),
            terms,
            place: Arc::clone(&self.place),
        })
    }

    async fn serve_http(self, socket: Socket, first: Bytes, http2: bool, client: Arc<ClientSide>) {
        let Self { server, mut member, .. } = self;
        let proxy = Arc::clone(&server.proxy);
        let state = Arc::clone(&client.state);
        let limits = proxy.limits().clone();
        let service = service_fn(move |request: Request<Incoming>| {
            Proxy::serve(Arc::clone(&proxy), Arc::clone(&client), request)
        });
        if http2 {
            let io = GuardedIo::http2(socket, first, Arc::clone(&state), &limits);
            let connection = http2_builder(&limits).serve_connection(TokioIo::new(io), service);
            let mut idle = IdleStreams::new(limits.idle_time);
            let ended = |cx: &mut Context<'_>| idle.poll(&state, cx);
            drive(connection, &mut member, ended, (&state, limits.write_stall)).await;
        } else {
            let io = GuardedIo::http1(socket, first, Arc::clone(&state), &limits);
            let connection = http1_builder(&limits).serve_connection(TokioIo::new(io), service);
            let ended = |_: &mut Context<'_>| Poll::Pending;
            let grace = (&*state, limits.write_stall);
            drive(connection.with_upgrades(), &mut member, ended, grace).await;
        }
    }
}

fn http1_builder(limits: &Limits) -> http1::Builder {
    let head = limits.head_bytes + limits.target_bytes;
    let mut builder = http1::Builder::new();
    if limits.headers != HYPER_HEADERS {
        builder.max_headers(limits.headers);
    }
    builder
        .max_header_size(head)
        .max_buf_size(head.max(64 * 1024))
        // The clocks of `GuardedIo` do it, without a timer for each request.
        .header_read_timeout(None);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .keep_alive_interval(Duration::from_secs(60))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Reads on after `first` until it is clear whether the client begins with the preface of HTTP/2.
async fn sniff(socket: &mut TcpStream, first: &mut BytesMut) -> io::Result<bool> {
    loop {
        let length = first.len().min(PREFACE.len());
        if first[..length] != PREFACE[..length] {
            if speaks_no_http(first) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            return Ok(false);
        }
        if length == PREFACE.len() {
            return Ok(true);
        }
        if socket.read_buf(first).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Whether the first line names another protocol than HTTP in the place of the version. An answer
/// would be no answer to its sender; a broken preface of HTTP/2 is to be closed (RFC 9113 section
/// 3.4).
fn speaks_no_http(first: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b'\r', first) else { return false };
    let mut words = first[..end].split(|byte| *byte == b' ');
    let (version, rest) = (words.nth(2), words.next());
    rest.is_none() && version.is_some_and(|version| !version.starts_with(b"HTTP/"))
}

/// A connection that can be asked to end after what it is at.
trait Graceful: Future {
    fn end_soon(self: Pin<&mut Self>);
}

impl<S, E> Graceful for http1::UpgradeableConnection<TokioIo<GuardedIo>, S>
where
    S: hyper::service::HttpService<Incoming, Error = E>,
    Self: Future,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: http_body::Body + 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end_soon(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Graceful for http2::Connection<TokioIo<GuardedIo>, S, TokioExecutor>
where
    S: hyper::service::HttpService<Incoming>,
    Self: Future,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: http_body::Body + 'static,
    <S::ResBody as http_body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn end_soon(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// Runs a connection to its end; asks it to end once its group is drained or `idle` is ready. A
/// client may keep it from ending by not saying a word, so it is dropped when it was asked, has
/// nothing at work, and the grace is over. An answer may have no end at all, so it is dropped too
/// when the drain's time is over.
async fn drive<C: Graceful>(
    connection: C,
    member: &mut Member,
    mut idle: impl FnMut(&mut Context<'_>) -> Poll<()>,
    (state, grace): (&ConnectionState, Duration),
) {
    let mut connection = pin!(connection);
    let mut asked: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if asked.is_none() && (member.should_end(cx.waker()) || idle(cx).is_ready()) {
            asked = Some(Box::pin(sleep(grace)));
            connection.as_mut().end_soon();
        }
        // How a client's connection ends concerns nobody: its requests have been accounted for.
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let Some(grace_over) = &mut asked else { return Poll::Pending };
        if member.poll_over(cx).is_ready() {
            return Poll::Ready(());
        }
        while grace_over.as_mut().poll(cx).is_ready() {
            let (_, at_work) = state.load();
            if at_work == 0 {
                return Poll::Ready(());
            }
            grace_over.as_mut().reset(Instant::now() + grace);
        }
        Poll::Pending
    })
    .await;
}

/// Ready once an HTTP/2 connection had no stream for the whole idle time.
struct IdleStreams {
    time: Duration,
    seen: u32,
    quiet_since: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl IdleStreams {
    fn new(time: Duration) -> Self {
        let step = time / 4;
        Self { time, seen: 0, quiet_since: Instant::now(), sleep: Box::pin(sleep(step)) }
    }

    fn poll(&mut self, state: &ConnectionState, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            let now = Instant::now();
            let (requests, active) = state.load();
            if requests != self.seen || active > 0 {
                (self.seen, self.quiet_since) = (requests, now);
            } else if now.saturating_duration_since(self.quiet_since) >= self.time {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(now + self.time / 4);
        }
    }
}
