//! Bodies of requests on their way to backends.
//!
//! In: the client's body. Out: a [`ProxyBody`] that streams it, and where the route asks for it
//! copies it for mirrors, hands a part to an authorization service, or keeps it for another try.
//! Not here: when to do so.

mod replay;
mod source;
mod tap;

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pub(crate) use replay::Replay;
pub(crate) use source::{Source, TooLarge};
pub(crate) use tap::tap;

use crate::BoxError;
use replay::ReplayBody;
use tap::TapBody;

pin_project! {
    /// The body of a request to a backend: that of the client, or a copy of it.
    ///
    /// The client's body passes through frame by frame, with its size hint and trailers.
    pub struct ProxyBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Empty,
        Whole { bytes: Option<Bytes> },
        // What most requests use: no allocation, no indirection.
        Client { #[pin] body: B },
        Source { source: Source<B> },
        Replay { body: ReplayBody<B> },
        Tap { body: TapBody },
    }
}

impl<B> ProxyBody<B> {
    /// No body at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self { kind: Kind::Empty }
    }

    /// A body that is known as a whole.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        let bytes = Some(bytes).filter(|bytes| !bytes.is_empty());
        Self { kind: Kind::Whole { bytes } }
    }

    /// The client's body as it is.
    #[must_use]
    pub const fn client(body: B) -> Self {
        Self { kind: Kind::Client { body } }
    }

    const fn tap(body: TapBody) -> Self {
        Self { kind: Kind::Tap { body } }
    }
}

impl<B> Body for ProxyBody<B>
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
        match self.project().kind.project() {
            KindProjection::Empty => Poll::Ready(None),
            KindProjection::Whole { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
            KindProjection::Client { body } => {
                body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            KindProjection::Source { source } => source.poll_frame(cx),
            KindProjection::Replay { body } => body.poll_frame(cx),
            KindProjection::Tap { body } => body.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Whole { bytes } => bytes.is_none(),
            Kind::Client { body } => body.is_end_stream(),
            Kind::Source { source } => source.is_end_stream(),
            Kind::Replay { body } => body.is_end_stream(),
            Kind::Tap { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Kind::Client { body } => body.size_hint(),
            Kind::Source { source } => source.size_hint(),
            Kind::Replay { body } => body.size_hint(),
            Kind::Tap { body } => body.size_hint(),
        }
    }
}

impl<B> fmt::Debug for ProxyBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "empty",
            Kind::Whole { .. } => "whole",
            Kind::Client { .. } => "client",
            Kind::Source { .. } => "source",
            Kind::Replay { .. } => "replay",
            Kind::Tap { .. } => "tap",
        };
        f.debug_struct("ProxyBody").field("kind", &kind).finish_non_exhaustive()
    }
}

/// The client's body while the filters of a rule run.
pub(crate) enum Incoming<B> {
    /// Nobody but the backend wants it.
    Plain(B),
    /// Mirrors or an authorization service want it too.
    Shared(Source<B>),
}

impl<B> Incoming<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Makes it possible to read the body before, or besides, sending it.
    pub(crate) fn into_source(self) -> Source<B> {
        match self {
            Self::Plain(body) => Source::new(body),
            Self::Shared(source) => source,
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            Self::Shared(source) => source.is_end_stream(),
        }
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Shared(source) => source.size_hint(),
        }
    }
}

impl<B> From<Incoming<B>> for ProxyBody<B> {
    fn from(incoming: Incoming<B>) -> Self {
        let kind = match incoming {
            Incoming::Plain(body) => Kind::Client { body },
            Incoming::Shared(source) => Kind::Source { source },
        };
        Self { kind }
    }
}

/// Frames that are kept at most, whatever their size: a frame of one byte costs as much as a
/// hundred.
const MOST_FRAMES: usize = 1024;

/// A copy of a frame: bytes are shared, trailers are cloned.
fn copy(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    match (frame.data_ref(), frame.trailers_ref()) {
        (Some(data), _) => Some(Frame::data(data.clone())),
        (None, Some(trailers)) => Some(Frame::trailers(trailers.clone())),
        (None, None) => None,
    }
}

fn data_length(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests;
