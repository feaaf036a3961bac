//! The body of an answer on its way to the client; its end is the end of the request.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway_tower::GatewayBody;
use http_body::{Body, Frame, SizeHint};

use super::place::RequestPlace;
use crate::{
    error::BoxError,
    guard::{answer::strip_trailers, body::ContinueGate},
    listen::ActiveRequest,
    telemetry::{Record, WorkerTelemetry},
    upstream::AnswerBody,
};

/// The body of every answer.
#[derive(Debug)]
pub(crate) struct ClientBody {
    body: GatewayBody<AnswerBody>,
    /// None if the request lives on as a tunnel.
    exchange: Option<Exchange>,
}

/// A request until its answer is over, however it ends.
#[derive(Debug)]
pub(crate) struct Exchange {
    // Boxed, since bodies and answers are moved a good deal.
    record: Box<Record>,
    telemetry: Arc<WorkerTelemetry>,
    gate: Option<Arc<ContinueGate>>,
    _active: ActiveRequest,
    /// None for one that is over the limit, and for tunnels.
    place: Option<RequestPlace>,
}

impl Exchange {
    pub(crate) fn new(
        record: Box<Record>,
        telemetry: Arc<WorkerTelemetry>,
        active: ActiveRequest,
        place: Option<RequestPlace>,
    ) -> Self {
        Self { record, telemetry, gate: None, _active: active, place }
    }

    /// Whether the request is within the limit of those that are answered at a time.
    pub(crate) fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// Gives the place back to other requests: there is an answer, and what goes on is a tunnel.
    pub(crate) fn leave_place(&mut self) {
        self.place = None;
    }

    /// Ends a body that waits for leave when the exchange ends.
    pub(crate) fn end_with(&mut self, gate: Arc<ContinueGate>) {
        self.gate = Some(gate);
    }

    pub(crate) fn record(&mut self) -> &mut Record {
        &mut self.record
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.telemetry.ended(&self.record);
        if let Some(gate) = &self.gate {
            gate.end();
        }
    }
}

impl ClientBody {
    pub(crate) fn new(body: GatewayBody<AnswerBody>, mut exchange: Option<Exchange>) -> Self {
        if let Some(exchange) = &mut exchange {
            exchange.record.complete = body.is_end_stream();
        }
        Self { body, exchange }
    }

    fn note(&mut self, polled: &Poll<Option<Result<Frame<Bytes>, BoxError>>>) {
        let Some(Exchange { record, .. }) = &mut self.exchange else { return };
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    record.bytes += data.len() as u64;
                }
                record.complete |= self.body.is_end_stream();
            }
            Poll::Ready(None) => record.complete = true,
            Poll::Ready(Some(Err(error))) => {
                record.detail = Some(error.to_string().into());
            }
            Poll::Pending => {}
        }
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = Pin::new(&mut self.body);
        // A panic here would take other streams of the connection with it.
        let polled = catch_unwind(AssertUnwindSafe(|| body.poll_frame(cx)));
        let mut polled = polled.unwrap_or_else(|_| Poll::Ready(Some(Err("a panic".into()))));
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            strip_trailers(trailers);
        }
        self.note(&polled);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
