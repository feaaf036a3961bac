//! A body that can be sent again, as long as it is short.
//!
//! Frames are kept while they are sent for the first time. The next try gets what was kept, then
//! goes on reading from the client where the try before it stopped. Only one try reads at a time:
//! starting the next one takes the body away from the one before.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{Kind, MOST_FRAMES, ProxyBody, Source, copy, data_length};
use crate::BoxError;

/// The client's body, kept up to a limit.
pub(crate) struct Replay<B>(Arc<Mutex<Shared<B>>>);

struct Shared<B> {
    source: Source<B>,
    kept: Vec<Frame<Bytes>>,
    kept_bytes: usize,
    limit: usize,
    /// Whether everything that was read from the source is still in `kept`.
    is_whole: bool,
    /// The number of the try that may read.
    current_try: u32,
    /// The size of the whole body.
    hint: SizeHint,
}

impl<B> Replay<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Keeps at most `limit` bytes of `source`.
    pub(crate) fn new(source: Source<B>, limit: usize) -> Self {
        let hint = source.size_hint();
        // What is known to be too long is not kept at all.
        let is_whole = hint.lower() <= limit as u64;
        let (kept, kept_bytes, current_try) = (Vec::new(), 0, 0);
        let shared = Shared { source, kept, kept_bytes, limit, is_whole, current_try, hint };
        Self(Arc::new(Mutex::new(shared)))
    }

    /// Whether another try could send the whole body.
    pub(crate) fn can_restart(&self) -> bool {
        lock(&self.0).is_whole
    }

    /// The body for the next try, from its start.
    pub(crate) fn next_try(&self) -> ProxyBody<B> {
        let mut shared = lock(&self.0);
        shared.current_try += 1;
        let (shared_by, number) = (Arc::clone(&self.0), shared.current_try);
        let body = ReplayBody { shared: shared_by, number, sent: 0, sent_bytes: 0 };
        ProxyBody { kind: Kind::Replay { body } }
    }
}

/// The body of one try.
pub(super) struct ReplayBody<B> {
    shared: Arc<Mutex<Shared<B>>>,
    number: u32,
    /// How many of the kept frames were sent.
    sent: usize,
    sent_bytes: u64,
}

/// Another try reads the body now.
#[derive(Debug, thiserror::Error)]
#[error("this try was given up for another one")]
struct Superseded;

impl<B> ReplayBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut shared = lock(&self.shared);
        if shared.current_try != self.number {
            return Poll::Ready(Some(Err(Superseded.into())));
        }
        let frame = match shared.kept.get(self.sent).and_then(copy) {
            Some(frame) => frame,
            None => match ready!(shared.source.poll_frame(cx)) {
                Some(Ok(frame)) => {
                    shared.keep(&frame);
                    frame
                }
                end => return Poll::Ready(end),
            },
        };
        self.sent += 1;
        self.sent_bytes += data_length(&frame) as u64;
        Poll::Ready(Some(Ok(frame)))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let shared = lock(&self.shared);
        shared.current_try == self.number
            && self.sent >= shared.kept.len()
            && shared.source.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let whole = &lock(&self.shared).hint;
        let mut rest = SizeHint::new();
        if let Some(upper) = whole.upper() {
            rest.set_upper(upper.saturating_sub(self.sent_bytes));
        }
        rest.set_lower(whole.lower().saturating_sub(self.sent_bytes));
        rest
    }
}

impl<B> Shared<B> {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.is_whole {
            return;
        }
        self.kept_bytes += data_length(frame);
        match copy(frame) {
            Some(frame) if self.kept_bytes <= self.limit && self.kept.len() < MOST_FRAMES => {
                self.kept.push(frame);
            }
            _ => {
                self.is_whole = false;
                // INVARIANT: the try that reads now has sent all of them.
                self.kept = Vec::new();
            }
        }
    }
}

fn lock<B>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
