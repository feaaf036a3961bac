//! What the tests of this crate share.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

/// A body of unknown length, one frame for each text.
pub(crate) struct Frames(VecDeque<Frame<Bytes>>);

pub(crate) fn frames(data: &[&'static str]) -> Frames {
    Frames(data.iter().map(|text| Frame::data(Bytes::from_static(text.as_bytes()))).collect())
}

impl Frames {
    pub(crate) fn with_trailers(mut self, trailers: http::HeaderMap) -> Self {
        self.0.push_back(Frame::trailers(trailers));
        self
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
