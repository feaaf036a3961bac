//! Sockets and TLS of the stream's server.
//!
//! In: a listener, a [`Publisher`]. Out: gRPC over TLS 1.3 with a certificate that is replaced while
//! the server runs. Not here: who may have what (`service`).

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures_util::stream;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::transport::Server;

use crate::notice::Notices;

use super::{
    arrival::{Arrival, Connection},
    publisher::Publisher,
    service::{Authenticate, Configuration},
    share::{Peer, Share, Shares},
    strangers::Strangers,
};

/// Connections at a time; more wait. One for each pod of all Gateways.
const CONNECTIONS: usize = 16_384;

/// Connections of one peer. A pod has one; many pods may come by the address of their node.
const OF_PEER: usize = 512;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How often a silent data plane is asked whether it is still there, and how long it may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// A connection with its places among all and among those of its peer.
type Accepted = Connection<TlsStream<TcpStream>, (OwnedSemaphorePermit, Share)>;

/// The certificate that the server shows. Clones are the same.
#[derive(Clone, Debug)]
pub struct Resolver {
    shown: Arc<RwLock<Arc<CertifiedKey>>>,
}

impl Resolver {
    /// Begins with a certificate.
    #[must_use]
    pub fn new(certificate: CertifiedKey) -> Self {
        Self { shown: Arc::new(RwLock::new(Arc::new(certificate))) }
    }

    /// Shows another one from now on.
    pub fn show(&self, certificate: CertifiedKey) {
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.shown.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Serves until the task is dropped.
///
/// # Errors
/// If TLS cannot be set up, or the server ends by itself.
pub async fn serve(
    listener: TcpListener,
    certificate: Resolver,
    publisher: Publisher,
    authenticate: impl Authenticate,
    notices: Notices,
) -> io::Result<()> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (accepted, connections) = mpsc::channel(1);
    let accepting = tokio::spawn(accept(listener, acceptor, accepted));
    let connections = stream::unfold(connections, |mut connections| async move {
        let connection: Option<Accepted> = connections.recv().await;
        connection.map(|connection| (Ok::<_, io::Error>(connection), connections))
    });
    let service = Configuration::new(publisher, authenticate, notices);
    let served = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .concurrency_limit_per_connection(4)
        .max_concurrent_streams(Some(4))
        .add_service(service)
        .serve_with_incoming(connections)
        .await;
    accepting.abort();
    served.map_err(io::Error::other)
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, accepted: mpsc::Sender<Accepted>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let (strangers, shares) = (Strangers::default(), Shares::new(OF_PEER));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((socket, peer)) = listener.accept().await else {
            // Out of files, most likely: others must end first.
            sleep(Duration::from_millis(200)).await;
            continue;
        };
        let peer = Peer::of(peer.ip());
        // Who has too many is hung up on, and pods come again.
        let Some(share) = shares.take(peer) else { continue };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        let (stranger, mut fate) = strangers.admit(peer);
        let arrival = Arrival::new(peer, stranger);
        tokio::spawn(async move {
            let _ = socket.set_nodelay(true);
            let stream = tokio::select! {
                stream = timeout(HANDSHAKE, acceptor.accept(socket)) => stream,
                _ = &mut fate => return,
            };
            if let Ok(Ok(stream)) = stream {
                let connection = Connection::new(stream, arrival, fate, (place, share));
                // The server is gone: so is the connection.
                let _ = accepted.send(connection).await;
            }
        });
    }
}
