//! An API server that says nothing any more is noticed, even if its connections stay open.
//!
//! In: a service that sends requests. Out: the same one, whose answers fail once they are silent for
//! too long. Not here: trying again.
//!
//! A watch may be silent for hours because nothing happens; but then the API server sends a bookmark
//! each minute. Lists and all else begin soon, or the API server gives up by itself.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};
use tower_service::Service;

/// How long an answer may take to begin: a little longer than the API server gives itself.
const ANSWER: Duration = Duration::from_secs(65);

/// How long an answer may pause: a bookmark and a half.
const PAUSE: Duration = Duration::from_secs(90);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A service whose answers have to go on.
#[derive(Clone, Debug)]
pub(crate) struct Audible<S>(pub(crate) S);

impl<S, R, B> Service<Request<R>> for Audible<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<AudibleBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let answer = self.0.call(request);
        Box::pin(async move {
            match timeout(ANSWER, answer).await {
                Ok(answer) => Ok(answer.map_err(Into::into)?.map(AudibleBody::new)),
                Err(_) => Err(silent(io::ErrorKind::TimedOut, ANSWER)),
            }
        })
    }
}

/// A body that fails if nothing of it comes for too long.
#[derive(Debug)]
pub(crate) struct AudibleBody<B> {
    body: Pin<Box<B>>,
    end: Pin<Box<Sleep>>,
}

impl<B> AudibleBody<B> {
    fn new(body: B) -> Self {
        Self { body: Box::pin(body), end: Box::pin(sleep(PAUSE)) }
    }
}

impl<B> Body for AudibleBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) {
            self.end.as_mut().reset(Instant::now() + PAUSE);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(self.end.as_mut().poll(cx));
        // A watch takes this kind for its end, and goes on where it was.
        Poll::Ready(Some(Err(silent(io::ErrorKind::UnexpectedEof, PAUSE))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn silent(kind: io::ErrorKind, time: Duration) -> BoxError {
    let text = format!("nothing was heard of the API server for {} seconds", time.as_secs());
    io::Error::new(kind, text).into()
}
