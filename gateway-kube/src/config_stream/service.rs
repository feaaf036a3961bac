//! The gRPC service: one stream for each data plane.
//!
//! In: requests with tokens, a [`Publisher`]. Out: revisions, as fast as the data plane takes them;
//! what came while it was busy is sent as one. Not here: TLS and sockets (`server`).

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt};
use gateway_core::{resolve::topology::Transport, snapshot::Snapshot};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, StreamingService},
};
use tonic_prost::ProstCodec;

use crate::notice::{Notice, Notices};

use super::{
    arrival::Arrival,
    message::{Chunk, LARGEST_MESSAGE, ReportMessage, chunks},
    publisher::{Account, BindReport, Member, Published, Publisher, Report},
    reviewed::Reviewed,
};

/// The path of the only method.
pub(super) const PATH: &str = "/gateway.config.v1.Configuration/Follow";

/// Bytes of a report.
const LARGEST_REPORT: usize = 256 << 10;

/// Chunks that a data plane may be behind before it is waited for.
const AHEAD: usize = 4;

/// A data plane that takes nothing for so long is cut off.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a stream may last: then the data plane shows a fresh token.
const LONGEST: Duration = Duration::from_secs(3600);

/// How long one may take to show who it is.
const AUTHENTICATION: Duration = Duration::from_secs(10);

/// Finds out who shows a token.
pub trait Authenticate: Send + Sync + 'static {
    /// Whose token it is.
    fn authenticate(&self, token: &str) -> impl Future<Output = Result<Identity, Refusal>> + Send;
}

/// Who a data plane is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The service account.
    pub account: Account,
    /// The name of the pod; empty if it is not known.
    pub pod: Box<str>,
}

/// Why a token does not tell who shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not valid, or not for us.
    Invalid(String),
    /// Nobody can say just now.
    Unavailable(String),
}

/// The service.
pub(super) struct Configuration<A> {
    publisher: Publisher,
    authenticate: Arc<Reviewed<A>>,
    notices: Notices,
}

impl<A> Clone for Configuration<A> {
    fn clone(&self) -> Self {
        Self {
            publisher: self.publisher.clone(),
            authenticate: Arc::clone(&self.authenticate),
            notices: Arc::clone(&self.notices),
        }
    }
}

impl<A: Authenticate> Configuration<A> {
    pub(super) fn new(publisher: Publisher, authenticate: A, notices: Notices) -> Self {
        Self { publisher, authenticate: Arc::new(Reviewed::new(authenticate)), notices }
    }

    async fn follow(self, request: Request<Streaming<ReportMessage>>) -> Result<Revisions, Status> {
        let mut open = self.publisher.is_open();
        if !*open.borrow_and_update() {
            return Err(Status::unavailable("another replica hands out configurations"));
        }
        let arrival = request.extensions().get::<Arrival>().cloned();
        let arrival = arrival.ok_or_else(|| Status::internal("the connection is not known"))?;
        let token = bearer(&request)?;
        let review = self.authenticate.authenticate(arrival.peer(), &token);
        let found = timeout(AUTHENTICATION, review).await;
        let identity = match found {
            Ok(Ok(identity)) => identity,
            Ok(Err(Refusal::Invalid(error))) => return Err(Status::unauthenticated(error)),
            Ok(Err(Refusal::Unavailable(error))) => return Err(Status::unavailable(error)),
            Err(_) => return Err(Status::unavailable("the token could not be checked in time")),
        };
        let account = &identity.account;
        let Some(channel) = self.publisher.channel(account) else {
            // Maybe not yet: the Gateway may be newer than what this replica has seen.
            let message = format!("no Gateway has the service account {account}");
            return Err(Status::unavailable(message));
        };
        let member = self.publisher.join(&channel, &identity.pod).map_err(|most| {
            Status::resource_exhausted(format!(
                "the service account {account} has {most} streams already, more than the pods of its Gateway need"
            ))
        })?;
        // Others have nothing to stay for, whosever their token is.
        arrival.welcome();
        let (chunks, revisions) = mpsc::channel(AHEAD);
        let sender = Sender {
            published: channel.subscribe(),
            open,
            chunks,
            member,
            pod: identity.pod,
            notices: self.notices,
        };
        // Else it would keep the channel of a Gateway that is gone.
        drop(channel);
        tokio::spawn(sender.run(request.into_inner()));
        Ok(Revisions(revisions))
    }
}

fn bearer(request: &Request<Streaming<ReportMessage>>) -> Result<String, Status> {
    let header = request.metadata().get("authorization");
    let token = header.and_then(|header| header.to_str().ok()?.strip_prefix("Bearer "));
    let token = token.ok_or_else(|| Status::unauthenticated("a bearer token is needed"))?;
    Ok(token.trim().to_owned())
}

/// Serves one stream.
struct Sender {
    published: watch::Receiver<Published>,
    open: watch::Receiver<bool>,
    chunks: mpsc::Sender<Result<Chunk, Status>>,
    member: Member,
    pod: Box<str>,
    notices: Notices,
}

impl Sender {
    async fn run(mut self, mut reports: Streaming<ReportMessage>) {
        let end = Instant::now() + LONGEST;
        self.member.tell(0, Report::default());
        let mut sent = Arc::<Snapshot>::default();
        let mut whole = true;
        self.published.mark_changed();
        let last = loop {
            tokio::select! {
                changed = self.published.changed() => {
                    if changed.is_err() {
                        break Status::unavailable("the Gateway is gone");
                    }
                    let published = self.published.borrow_and_update().clone();
                    let changes = published.snapshot.changes_since(&sent);
                    let (chunks, errors) = chunks(published.number, whole, changes);
                    errors.iter().for_each(|error| (self.notices)(Notice::Unsent(error.to_string())));
                    if !send(&self.chunks, chunks).await {
                        return;
                    }
                    (sent, whole) = (published.snapshot, false);
                }
                report = reports.next() => match report {
                    Some(Ok(report)) => self.member.tell(report.revision, read(report, &self.pod)),
                    _ => return,
                },
                open = self.open.changed() => {
                    if open.is_err() || !*self.open.borrow_and_update() {
                        break Status::unavailable("another replica hands out configurations");
                    }
                }
                () = sleep_until(end) => break Status::unavailable("time for a fresh token"),
            }
        };
        // A data plane that does not listen will notice by itself.
        let _ = self.chunks.try_send(Err(last));
    }
}

/// Whether all chunks were taken.
async fn send(sender: &mpsc::Sender<Result<Chunk, Status>>, chunks: Vec<Chunk>) -> bool {
    for chunk in chunks {
        if !matches!(timeout(PATIENCE, sender.send(Ok(chunk))).await, Ok(Ok(()))) {
            return false;
        }
    }
    true
}

fn read(message: ReportMessage, pod: &str) -> Report {
    let bind = |bind: super::message::BindMessage| {
        Some(BindReport {
            port: u16::try_from(bind.port).ok()?,
            transport: if bind.udp { Transport::Udp } else { Transport::Tcp },
            error: (!bind.error.is_empty()).then_some(bind.error),
        })
    };
    let binds = message.binds.into_iter().filter_map(bind).collect();
    Report { pod: pod.into(), binds, earlier: message.earlier }
}

/// The answer's stream.
pub(super) struct Revisions(mpsc::Receiver<Result<Chunk, Status>>);

impl Stream for Revisions {
    type Item = Result<Chunk, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

// === tonic ===

type Answer<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

impl<A: Authenticate> StreamingService<ReportMessage> for Configuration<A> {
    type Response = Chunk;
    type ResponseStream = Revisions;
    type Future = Answer<Response<Revisions>, Status>;

    fn call(&mut self, request: Request<Streaming<ReportMessage>>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { service.follow(request).await.map(Response::new) })
    }
}

impl<A> NamedService for Configuration<A> {
    const NAME: &'static str = "gateway.config.v1.Configuration";
}

impl<A: Authenticate> tower_service::Service<http::Request<Body>> for Configuration<A> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer<Self::Response, Infallible>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("there is no such method").into_http());
            }
            let mut grpc = Grpc::new(ProstCodec::<Chunk, ReportMessage>::default())
                .max_decoding_message_size(LARGEST_REPORT)
                .max_encoding_message_size(LARGEST_MESSAGE);
            Ok(grpc.streaming(service, request).await)
        })
    }
}
