//! A copy of a body for a mirror: frames pass through a short queue that never makes the original
//! wait.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{MOST_FRAMES, ProxyBody, data_length};
use crate::BoxError;

/// A queue of at most `limit` bytes: what feeds it, and the body that it feeds.
///
/// A mirror that falls further behind than that is given up: its body ends with an error.
pub(crate) fn tap<B>(hint: SizeHint, limit: usize) -> (TapSender, ProxyBody<B>) {
    let queue = Arc::new(Mutex::new(Queue { limit, ..Queue::default() }));
    let body = TapBody { queue: Arc::clone(&queue), hint };
    (TapSender(queue), ProxyBody::tap(body))
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    limit: usize,
    end: Option<End>,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Complete,
    /// The mirror was too slow, or the original broke off.
    GivenUp,
    /// The mirror wants no more.
    Unread,
}

/// The feeding side. Dropping it before [`TapSender::finish`] breaks the copy off.
pub(crate) struct TapSender(Arc<Mutex<Queue>>);

impl TapSender {
    pub(super) fn push(&self, frame: Frame<Bytes>) {
        let mut queue = lock(&self.0);
        if queue.end.is_some() {
            return;
        }
        queue.bytes += data_length(&frame);
        if queue.bytes > queue.limit || queue.frames.len() == MOST_FRAMES {
            queue.close(End::GivenUp);
        } else {
            queue.frames.push_back(frame);
            queue.wake();
        }
    }

    pub(super) fn finish(&self) {
        lock(&self.0).close(End::Complete);
    }
}

impl Drop for TapSender {
    fn drop(&mut self) {
        lock(&self.0).close(End::GivenUp);
    }
}

impl Queue {
    /// The first end counts.
    fn close(&mut self, end: End) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(end);
        if end != End::Complete {
            self.frames.clear();
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The copy had to be given up.
#[derive(Debug, thiserror::Error)]
#[error("the copied body broke off")]
struct GivenUp;

/// The body of the copy.
pub(super) struct TapBody {
    queue: Arc<Mutex<Queue>>,
    hint: SizeHint,
}

impl TapBody {
    pub(super) fn poll_frame(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut queue = lock(&self.queue);
        if let Some(frame) = queue.frames.pop_front() {
            queue.bytes -= data_length(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        match queue.end {
            Some(End::GivenUp) => Poll::Ready(Some(Err(GivenUp.into()))),
            Some(End::Complete | End::Unread) => Poll::Ready(None),
            None => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.hint
    }
}

impl Drop for TapBody {
    fn drop(&mut self) {
        lock(&self.queue).close(End::Unread);
    }
}
