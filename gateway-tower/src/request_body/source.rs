//! The client's body with a part that was read already, and taps that copy what passes.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::{copy, data_length, tap::TapSender};
use crate::BoxError;

/// A body that can be read ahead and copied while it streams.
pub(crate) struct Source<B> {
    body: Pin<Box<B>>,
    /// Frames that were read ahead and go out first.
    ahead: VecDeque<Frame<Bytes>>,
    ahead_bytes: usize,
    /// They have seen what was read ahead.
    taps: Vec<TapSender>,
    /// Whether `body` has no more frames.
    ended: bool,
}

/// The body has more bytes than it may have.
#[derive(Debug)]
pub(crate) struct TooLarge;

impl<B> Source<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(body: B) -> Self {
        let body = Box::pin(body);
        Self { body, ahead: VecDeque::new(), ahead_bytes: 0, taps: Vec::new(), ended: false }
    }

    /// Copies every frame from the first on to `tap`.
    pub(crate) fn add_tap(&mut self, tap: TapSender) {
        self.ahead.iter().for_each(|frame| feed(&tap, frame));
        if self.ended {
            tap.finish();
        }
        self.taps.push(tap);
    }

    /// Reads the whole body, which stays to be sent. Outer error: the client's; inner: more than
    /// `limit` bytes.
    pub(crate) async fn read_ahead(
        &mut self,
        limit: usize,
    ) -> Result<Result<Bytes, TooLarge>, BoxError> {
        if self.size_hint().lower() > limit as u64 {
            return Ok(Err(TooLarge));
        }
        // Joined, so that a client cannot blow it up by sending its body in tiny frames.
        let mut data = BytesMut::new();
        let mut trailers = None;
        while self.ahead_bytes + data.len() <= limit {
            let Some(frame) = poll_fn(|cx| self.poll_body(cx)).await else { break };
            match frame?.into_data() {
                Ok(more) => data.extend_from_slice(&more),
                Err(other) => trailers = Some(other),
            }
        }
        self.ahead_bytes += data.len();
        let data = Some(data.freeze()).filter(|data| !data.is_empty());
        self.ahead.extend(data.map(Frame::data).into_iter().chain(trailers));
        if self.ahead_bytes > limit {
            return Ok(Err(TooLarge));
        }
        Ok(Ok(self.ahead.front().and_then(Frame::data_ref).cloned().unwrap_or_default()))
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.ahead.pop_front() {
            self.ahead_bytes -= data_length(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        self.poll_body(cx)
    }

    /// Reads on behind what was read ahead, and feeds the taps.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let frame = loop {
            let frame = ready!(self.body.as_mut().poll_frame(cx));
            // Empty frames say nothing, and must not be kept without end.
            if !matches!(&frame, Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty)) {
                break frame;
            }
        };
        match &frame {
            Some(Ok(frame)) => self.taps.iter().for_each(|tap| feed(tap, frame)),
            // Dropped unfinished, a tap tells its mirror that the body broke off.
            Some(Err(_)) => self.taps.clear(),
            None => {}
        }
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.ended = true;
            self.taps.iter().for_each(TapSender::finish);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && (self.ended || self.body.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead_bytes as u64;
        let rest = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + ahead);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + ahead);
        }
        hint
    }
}

fn feed(tap: &TapSender, frame: &Frame<Bytes>) {
    if let Some(frame) = copy(frame) {
        tap.push(frame);
    }
}
