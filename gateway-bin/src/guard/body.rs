//! The body of a request on its way in: it must make progress, and waits if the client waits.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Limits, answer::strip_trailers};
use crate::listen::ConnectionState;

/// How long a client that sent `Expect: 100-continue` is left waiting for the backend's word.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// A request body that is checked while it streams.
#[derive(Debug)]
pub struct RequestBody {
    body: Incoming,
    progress: Option<Progress>,
    gate: Option<Waiting>,
    connection: Arc<ConnectionState>,
}

/// A client that waits for leave to send its body.
#[derive(Debug)]
struct Waiting {
    gate: Arc<ContinueGate>,
    patience: Option<Pin<Box<Sleep>>>,
}

/// Why a request body ended early.
#[derive(Debug)]
pub enum BodyError {
    /// The client sent too little for too long: 408.
    TooSlow,
    /// The client waited for leave to send it, and the answer came without.
    Unwanted,
    /// The client broke off or broke the framing: 400.
    Client(hyper::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooSlow => f.write_str("the client sends its body too slowly"),
            Self::Unwanted => f.write_str("the backend did not want the body"),
            Self::Client(error) => write!(f, "the client's body broke off: {error}"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::TooSlow | Self::Unwanted => None,
            Self::Client(error) => Some(error),
        }
    }
}

/// The least rate of a body, checked only while it keeps us waiting.
#[derive(Debug)]
struct Progress {
    rate: u64,
    grace: Duration,
    bytes: u64,
    started: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Opens once the backend wants the body. hyper tells the client to continue when the body is
/// first read, so a body that nobody wants must not be touched.
#[derive(Debug, Default)]
pub(crate) struct ContinueGate {
    state: AtomicU8,
    waker: AtomicWaker,
}

const WAITING: u8 = 0;
const OPEN: u8 = 1;
const HELD: u8 = 2;
const ENDED: u8 = 3;

impl ContinueGate {
    /// The backend said `100 Continue`.
    pub(crate) fn open(&self) {
        self.turn(&[WAITING], OPEN);
    }

    /// The answer came without leave for the body: there will be none.
    pub(crate) fn hold(&self) {
        self.turn(&[WAITING], HELD);
    }

    /// The answer is over, and with it the request.
    pub(crate) fn end(&self) {
        self.turn(&[WAITING, HELD], ENDED);
    }

    fn turn(&self, from: &[u8], to: u8) {
        if from.contains(&self.state.load(Relaxed)) {
            self.state.store(to, Relaxed);
            self.waker.wake();
        }
    }
}

impl RequestBody {
    /// Guards `body`. `rated` says whether it must keep the least rate: streams of HTTP/2 may rest
    /// for long between messages.
    pub(crate) fn new(
        body: Incoming,
        rated: bool,
        gate: Option<Arc<ContinueGate>>,
        connection: &Arc<ConnectionState>,
        limits: &Limits,
    ) -> Self {
        connection.set_body_open(!body.is_end_stream());
        let connection = Arc::clone(connection);
        let gate = gate.map(|gate| Waiting { gate, patience: None });
        let (rate, grace) = (limits.body_rate, limits.body_grace);
        let progress = Progress { rate, grace, bytes: 0, started: None, sleep: None };
        let progress = (rated && !body.is_end_stream()).then_some(progress);
        Self { body, progress, gate, connection }
    }

    fn poll_gate(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let Some(Waiting { gate, patience }) = &mut self.gate else { return Poll::Ready(Ok(())) };
        gate.waker.register(cx.waker());
        match gate.state.load(Relaxed) {
            HELD => return Poll::Pending,
            ENDED => return Poll::Ready(Err(BodyError::Unwanted)),
            WAITING => {
                let patience = patience.get_or_insert_with(|| {
                    Box::pin(sleep_until(Instant::now() + CONTINUE_PATIENCE))
                });
                ready!(patience.as_mut().poll(cx));
                gate.open();
            }
            _ => {}
        }
        self.gate = None;
        Poll::Ready(Ok(()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Err(error) = ready!(self.poll_gate(cx)) {
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let (Some(data), Some(progress)) = (frame.data_ref(), &mut self.progress) {
                    progress.bytes += data.len() as u64;
                }
                if let Some(trailers) = frame.trailers_mut() {
                    strip_trailers(trailers);
                }
                if self.body.is_end_stream() {
                    self.connection.set_body_open(false);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(BodyError::Client(error)))),
            Poll::Ready(None) => {
                self.connection.set_body_open(false);
                Poll::Ready(None)
            }
            Poll::Pending => match &mut self.progress {
                Some(progress) => {
                    ready!(progress.poll_too_slow(cx));
                    Poll::Ready(Some(Err(BodyError::TooSlow)))
                }
                None => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Progress {
    /// Ready once fewer bytes came than the time since the first wait allows for.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let started = *self.started.get_or_insert_with(Instant::now);
        loop {
            let paid = Duration::from_millis(self.bytes.saturating_mul(1000) / self.rate.max(1));
            let deadline = started + self.grace + paid.min(Duration::from_secs(86_400));
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
    }
}
