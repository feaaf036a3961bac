//! Connections below HTTP: TCP listeners, and ports with TLS listeners.
//!
//! In: accepted connections. Out: their end in metrics and the access log; or, where a server name
//! leads to an HTTPS listener, a TLS connection for `connection`. Not here: the bytes (`stream`).

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use gateway_core::resolve::topology::Listener;
use gateway_tower::OwnedMatch;
use rustls::ServerConfig;
use tokio::time::{Instant, timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{BindState, Server, drain::Member, tls::TlsSetup};
use crate::{
    stream::{Cause, Client, Ended, HttpsClient, TlsConfigs, TlsOutcome, choose},
    telemetry::{StreamProtocol, StreamRecord},
    upstream::lock,
};

/// Serves a connection of a TCP listener to its end.
pub(super) async fn serve_tcp(
    client: Client,
    bind: Arc<BindState>,
    server: Arc<Server>,
    mut member: Member,
) {
    let begun = Begun::new(&client, StreamProtocol::Tcp);
    let (matched, backend) = {
        let table = server.table.load();
        let found = table.bind(&bind.key).and_then(|bind| table.find_stream(bind, None));
        let backend = choose(found.as_ref());
        (found.map(|found| OwnedMatch::of(&found, backend.as_ref().ok())), backend)
    };
    let mut ended = server.streams.tcp(client, backend, member.time_over()).await;
    ended.matched = matched;
    begun.end(&bind, &server, ended);
}

/// A connection of HTTPS after its handshake.
pub(super) struct Shaken {
    pub(super) stream: TlsStream<Client>,
    pub(super) sni: Option<Box<str>>,
    pub(super) setup: TlsSetup,
}

/// Serves a connection of a port that TLS listeners share with HTTPS ones; one of HTTPS comes back.
pub(super) async fn serve_tls(
    client: Client,
    bind: &Arc<BindState>,
    server: &Server,
    member: &mut Member,
) -> Option<Shaken> {
    let begun = Begun::new(&client, StreamProtocol::Tls);
    let terms = Terms { bind, member: Mutex::new(member) };
    let until = poll_fn(|cx| lock(&terms.member).poll_over(cx));
    let outcome = server.streams.tls(client, &bind.key, &server.table, &terms, until).await;
    match outcome {
        TlsOutcome::Https(https) => shake_hands(*https, bind, server).await,
        TlsOutcome::Ended(ended) => {
            if matches!(ended.cause, Cause::BadHello | Cause::NoListener | Cause::Handshake) {
                server.proxy.telemetry().handshake_failed(&bind.label);
            }
            begun.end(bind, server, ended);
            None
        }
    }
}

async fn shake_hands(https: HttpsClient, bind: &BindState, server: &Server) -> Option<Shaken> {
    let HttpsClient { client, listener, sni } = https;
    let limit = server.proxy.limits().handshake_time;
    let shaken = async {
        let setup = bind.tls.load().of(&listener)?;
        let accepting = TlsAcceptor::from(Arc::clone(&setup.config)).accept(client);
        let stream = timeout(limit, accepting).await.ok()?.ok()?;
        Some(Shaken { stream, sni, setup })
    };
    let shaken = shaken.await;
    if shaken.is_none() {
        server.proxy.telemetry().handshake_failed(&bind.label);
    }
    shaken
}

/// How a connection is let in, and that it ends when this changes.
struct Terms<'c> {
    bind: &'c BindState,
    /// Nobody else has it; the future that holds it has to be `Send`.
    member: Mutex<&'c mut Member>,
}

impl TlsConfigs for Terms<'_> {
    fn server_config(&self, listener: &Listener) -> Option<Arc<ServerConfig>> {
        let setup = self.bind.tls.load().of(listener)?;
        lock(&self.member).join_also(&setup.drain);
        Some(setup.config)
    }
}

/// What is known of a connection at its begin.
struct Begun {
    at: Instant,
    protocol: StreamProtocol,
    peer: SocketAddr,
}

impl Begun {
    fn new(client: &Client, protocol: StreamProtocol) -> Self {
        Self { at: Instant::now(), protocol, peer: client.source() }
    }

    fn end(self, bind: &BindState, server: &Server, ended: Ended) {
        let Self { at: begun, protocol, peer } = self;
        let record = StreamRecord { begun, protocol, peer, bind: Arc::clone(&bind.label), ended };
        server.proxy.telemetry().stream_ended(&record);
    }
}
