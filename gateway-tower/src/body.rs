//! Bodies of answers: those of the inner service or backend, and the gateway's own.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::BoxError;

pin_project! {
    /// The body of an answer. Streams what it wraps, without buffering.
    pub struct GatewayBody<B> {
        #[pin]
        kind: Kind<B>,
        // Boxed so that bodies without a time limit stay small.
        deadline: Option<Pin<Box<Sleep>>>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Own { bytes: Option<Bytes> },
        Forwarded { #[pin] body: B },
    }
}

/// The time for the whole exchange ran out while the body was on its way. The answer breaks off, so
/// that the client cannot take it for complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time for the request ran out before the end of the answer")]
pub struct BodyTimeout;

impl<B> GatewayBody<B> {
    /// A body of the gateway's own.
    #[must_use]
    pub fn own(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { kind: Kind::Own { bytes }, deadline: None }
    }

    /// The body of an inner service or a backend.
    #[must_use]
    pub const fn forwarded(body: B) -> Self {
        Self { kind: Kind::Forwarded { body }, deadline: None }
    }
}

impl<B: Body> GatewayBody<B> {
    /// Breaks the body off at `deadline`.
    #[must_use]
    pub(crate) fn until(mut self, deadline: Option<Instant>) -> Self {
        if let Some(deadline) = deadline
            && let Kind::Forwarded { body } = &self.kind
            && !body.is_end_stream()
        {
            self.deadline = Some(Box::pin(sleep_until(deadline)));
        }
        self
    }
}

impl<B> Body for GatewayBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        let body = match this.kind.project() {
            KindProjection::Own { bytes } => {
                return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))));
            }
            KindProjection::Forwarded { body } => body,
        };
        if let Poll::Ready(frame) = body.poll_frame(cx) {
            if frame.is_none() {
                *this.deadline = None;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if let Some(deadline) = this.deadline {
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(BodyTimeout.into())));
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Own { bytes } => bytes.is_none(),
            Kind::Forwarded { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Forwarded { body } => body.size_hint(),
        }
    }
}

impl<B> Default for GatewayBody<B> {
    fn default() -> Self {
        Self::own(Bytes::new())
    }
}

impl<B> fmt::Debug for GatewayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Own { .. } => "own",
            Kind::Forwarded { .. } => "forwarded",
        };
        f.debug_struct("GatewayBody").field("kind", &kind).finish_non_exhaustive()
    }
}
