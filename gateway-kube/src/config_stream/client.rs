//! A data plane's end of the stream.
//!
//! In: where the controller is, and reports of what became of revisions. Out: revisions, for as long
//! as somebody takes them; who is slow gets several as one. Not here: serving them.
//!
//! A stream that breaks is begun anew after a pause that doubles and is shortened by chance, so that
//! the pods of a large cluster do not come all at once. What was received stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::RandomState,
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream};
use gateway_core::{api::ObjectKey, resolve::topology::Transport, snapshot::Change};
use http::{Uri, uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{Request, Status, client::Grpc, metadata::MetadataValue, transport::Endpoint};
use tonic_prost::ProstCodec;

use crate::watch::Pauses;

use super::{
    message::{Assembled, Assembler, BindMessage, Chunk, LARGEST_MESSAGE, ReportMessage},
    publisher::{BindReport, lock},
    revisions::{Received, RevisionSender},
    service::PATH,
};

/// How long it may take until a connection stands. The controller's Service may still lead to a pod
/// that is gone.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a silent controller is asked whether it is still there, and how long it may take. One
/// that is gone without a word is noticed before another takes over, which takes 10 s and more.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(4));

/// From this failure on, tries are no further apart: the next controller that leads is to be found
/// within seconds.
const SLOWEST: u32 = 5;

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct Following {
    /// Address of the controller: `https://HOST:PORT`.
    pub from: Uri,
    /// The file with the token that says who we are; read for each connection.
    pub token_file: PathBuf,
    /// The file with the authority that vouches for the controller; read for each connection.
    pub ca_file: PathBuf,
}

/// What became of a revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// The number of what is served; 0 for nothing yet.
    pub served: u64,
    /// The sockets.
    pub binds: Vec<BindReport>,
}

/// What happened to the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first revision of a stream is there.
    Following,
    /// The stream cannot be had or broke.
    Lost(String),
    /// An object was sent that this version cannot read. It is left out.
    Unreadable(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Following => f.write_str("following the controller's configuration"),
            Self::Lost(error) => write!(
                f,
                "the configuration cannot be followed, what is known of it stays, trying again: \
                 {error}"
            ),
            Self::Unreadable(error) => {
                write!(f, "a part of the configuration is left out: {error}")
            }
        }
    }
}

/// For the revisions of one stream: our number of it, and the controller's.
type Numbers = Arc<Mutex<BTreeMap<u64, u64>>>;

/// Follows the configuration until nobody takes revisions any more.
pub async fn follow(
    following: Following,
    revisions: RevisionSender,
    replies: watch::Receiver<Reply>,
    tell: impl Fn(Event) + Send,
) {
    let known = BTreeSet::new();
    let mut follower = Follower { following, revisions, replies, tell, known, number: 0 };
    let seed = RandomState::new();
    let (mut failures, mut told) = (0, None);
    while !follower.revisions.is_closed() {
        let mut received = 0;
        let error = match follower.stream(&mut received).await {
            Ok(()) => return,
            Err(error) => error,
        };
        if received > 0 {
            (failures, told) = (0, None);
        }
        if told.as_ref() != Some(&error) {
            (follower.tell)(Event::Lost(error.clone()));
            told = Some(error);
        }
        sleep(Pauses::after(failures, &seed)).await;
        failures = SLOWEST.min(failures + 1);
    }
}

struct Follower<T> {
    following: Following,
    revisions: RevisionSender,
    replies: watch::Receiver<Reply>,
    tell: T,
    /// The objects that were received and not removed.
    known: BTreeSet<ObjectKey>,
    /// Counts revisions over all streams.
    number: u64,
}

impl<T: Fn(Event)> Follower<T> {
    /// Follows one stream until it breaks, which is the error, or nobody listens any more.
    async fn stream(&mut self, received: &mut u64) -> Result<(), String> {
        let mut grpc = Grpc::new(self.connect().await?).max_decoding_message_size(LARGEST_MESSAGE);
        grpc.ready().await.map_err(|error| chain(&error))?;
        let numbers = Numbers::default();
        let token_file = &self.following.token_file;
        let request = request(token_file, self.replies.clone(), Arc::clone(&numbers))?;
        let codec = ProstCodec::<ReportMessage, Chunk>::default();
        let path = PathAndQuery::from_static(PATH);
        let answer = grpc.streaming(request, path, codec).await.map_err(|status| said(&status))?;
        let mut chunks = answer.into_inner();
        let mut assembler = Assembler::default();
        loop {
            let chunk = tokio::select! {
                chunk = chunks.next() => chunk,
                () = self.revisions.closed() => return Ok(()),
            };
            let chunk = chunk.ok_or("the controller ended the stream")?;
            let chunk = chunk.map_err(|status| said(&status))?;
            if let Some(revision) = assembler.take(&chunk).map_err(|error| error.to_string())? {
                if *received == 0 {
                    (self.tell)(Event::Following);
                }
                *received += 1;
                self.take(revision, &numbers);
            }
        }
    }

    /// Hands a revision on.
    fn take(&mut self, revision: Assembled, numbers: &Numbers) {
        for error in revision.unreadable {
            (self.tell)(Event::Unreadable(error.to_string()));
        }
        let mut changes = revision.changes;
        let before = if revision.whole { std::mem::take(&mut self.known) } else { BTreeSet::new() };
        for change in &changes {
            match change {
                Change::Upsert(resource) => _ = self.known.insert(resource.key()),
                Change::Remove(key) => _ = self.known.remove(key),
                Change::Observed(_) => {}
            }
        }
        let gone = before.into_iter().filter(|key| !self.known.contains(key));
        changes.extend(gone.map(Change::Remove));
        self.number += 1;
        lock(numbers).insert(self.number, revision.revision);
        if let Some(skipped) = self.revisions.put(Received { number: self.number, changes }) {
            // Nobody will ever reply to it.
            lock(numbers).remove(&skipped);
        }
    }

    async fn connect(&self) -> Result<tonic::transport::Channel, String> {
        let from = &self.following.from;
        let host = from.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = from.port_u16().unwrap_or(443);
        let connector = Connector {
            host: host.clone(),
            port,
            name: ServerName::try_from(host)
                .map_err(|_| format!("{from} has no host that a certificate could name"))?,
            tls: TlsConnector::from(self.tls()?),
        };
        // TLS is the connector's business; the endpoint only names the authority.
        let authority = from.authority().map_or("controller", |authority| authority.as_str());
        let endpoint = Endpoint::from_shared(format!("http://{authority}"))
            .map_err(|error| chain(&error))?
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true);
        endpoint.connect_with_connector(connector).await.map_err(|error| chain(&error))
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let path = &self.following.ca_file;
        let unusable = |error: &dyn fmt::Display| {
            format!("cannot use the authority {}: {error}", path.display())
        };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The request for a stream. Replies are sent as they come, if they are about this stream; first of
/// all the one about an earlier stream, if there was one.
fn request(
    token_file: &Path,
    replies: watch::Receiver<Reply>,
    numbers: Numbers,
) -> Result<Request<impl Stream<Item = ReportMessage> + use<>>, String> {
    let token = std::fs::read_to_string(token_file)
        .map_err(|error| format!("cannot read the token {}: {error}", token_file.display()))?;
    let mut bearer: MetadataValue<_> = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| format!("the token in {} is none", token_file.display()))?;
    bearer.set_sensitive(true);
    let last = replies.borrow().clone();
    let first = (last.served > 0).then(|| message(last, None));
    let messages = stream::unfold((replies, numbers), |(mut replies, numbers)| async move {
        loop {
            replies.changed().await.ok()?;
            let reply = replies.borrow_and_update().clone();
            let served = lock(&numbers).get(&reply.served).copied();
            if let Some(served) = served {
                // Older ones are never told again.
                lock(&numbers).retain(|number, _| *number >= reply.served);
                return Some((message(reply, Some(served)), (replies, numbers)));
            }
        }
    });
    let mut request = Request::new(stream::iter(first).chain(messages));
    request.metadata_mut().insert("authorization", bearer);
    Ok(request)
}

/// `revision`: what the controller calls what is served; none if that is of an earlier stream.
fn message(reply: Reply, revision: Option<u64>) -> ReportMessage {
    let bind = |bind: BindReport| BindMessage {
        port: u32::from(bind.port),
        udp: bind.transport == Transport::Udp,
        error: bind.error.unwrap_or_default(),
    };
    ReportMessage {
        revision: revision.unwrap_or_default(),
        binds: reply.binds.into_iter().map(bind).collect(),
        earlier: revision.is_none(),
    }
}

fn said(status: &Status) -> String {
    format!("{}: {}", status.code(), status.message())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Opens TLS connections to the controller.
#[derive(Clone)]
struct Connector {
    host: String,
    port: u16,
    name: ServerName<'static>,
    tls: TlsConnector,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TokioIo<TlsStream<TcpStream>>>> + Send>>;

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Connecting;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Connecting {
        let connector = self.clone();
        Box::pin(async move {
            let connected = async {
                let socket = TcpStream::connect((&*connector.host, connector.port)).await?;
                socket.set_nodelay(true)?;
                connector.tls.connect(connector.name, socket).await
            };
            let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
            timeout(CONNECT, connected).await.map_err(timed_out)?.map(TokioIo::new)
        })
    }
}
