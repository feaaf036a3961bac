//! Time limits, on a clock that moves only when everybody waits.

use std::time::Duration;

use bytes::Bytes;
use gateway_core::{
    decide::Cause,
    resolve::topology::{Rule, Timeouts},
};
use gateway_tower::{
    BodyTimeout, BoxError, ProxyBody, RouteSettings, SelectedBackend, UpstreamAnswer,
    UpstreamError, upstream_fn,
};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time::{Instant, sleep};

use crate::support::{Calls, Chunks, dispatch, get, ok, rule, service, service_with};

const MS: fn(u64) -> Duration = Duration::from_millis;

fn limits(request: Option<u64>, backend_request: Option<u64>) -> Timeouts {
    Timeouts { request: request.map(MS), backend_request: backend_request.map(MS) }
}

/// Sends to a backend that thinks for a second.
async fn slow(
    timeouts: Timeouts,
    settings: RouteSettings,
    grpc_timeout: Option<&'static str>,
) -> (u16, Option<Cause>, u128) {
    let upstream = upstream_fn(|_, _: Request<ProxyBody<Chunks>>| async {
        sleep(MS(1000)).await;
        ok("late")
    });
    let service = service_with(vec![Rule { timeouts, ..rule() }], upstream, settings);
    let mut request = get("/");
    if let Some(value) = grpc_timeout {
        let headers = request.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-timeout", HeaderValue::from_static(value));
    }
    let start = Instant::now();
    let exchange = dispatch(&service, request).await;
    let status = exchange.response.headers().get("grpc-status").map_or_else(
        || exchange.response.status().as_u16(),
        |status| status.to_str().expect("digits").parse().expect("digits"),
    );
    (status, exchange.cause, start.elapsed().as_millis())
}

#[tokio::test(start_paused = true)]
async fn the_head_must_come_in_time() {
    let settings = RouteSettings::default;
    let with_default =
        || RouteSettings { request_timeout: Some(MS(300)), ..RouteSettings::default() };
    let request = Some(Cause::RequestTimeout);
    let upstream = Some(Cause::UpstreamTimeout);
    for (timeouts, settings, expect) in [
        (limits(None, None), settings(), (200, None, 1000)),
        (limits(Some(500), None), settings(), (504, request, 500)),
        (limits(None, Some(500)), settings(), (504, upstream, 500)),
        (limits(Some(700), Some(500)), settings(), (504, upstream, 500)),
        (limits(Some(0), Some(0)), settings(), (200, None, 1000)),
        (limits(Some(0), Some(500)), settings(), (504, upstream, 500)),
        (limits(None, None), with_default(), (504, request, 300)),
        (limits(Some(500), None), with_default(), (504, request, 500)),
        (limits(Some(0), None), with_default(), (200, None, 1000)),
    ] {
        assert_eq!(slow(timeouts, settings, None).await, expect, "{timeouts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_clients_say_how_long_they_wait() {
    let settings = RouteSettings::default;
    let request = Some(Cause::RequestTimeout);
    for (timeouts, value, expect) in [
        (limits(None, None), "200m", (4, request, 200)),
        (limits(Some(100), None), "200m", (4, request, 100)),
        (limits(Some(0), None), "200m", (4, request, 200)),
        (limits(None, None), "2S", (200, None, 1000)),
        (limits(None, None), "nonsense", (200, None, 1000)),
    ] {
        assert_eq!(slow(timeouts, settings(), Some(value)).await, expect, "{value}");
    }
}

/// Sends `count` frames, one each 100 ms.
struct Trickle(u32, std::pin::Pin<Box<tokio::time::Sleep>>);

impl Trickle {
    fn new(count: u32) -> Self {
        Self(count, Box::pin(sleep(MS(100))))
    }
}

impl http_body::Body for Trickle {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.0 == 0 {
            return std::task::Poll::Ready(None);
        }
        std::task::ready!(self.1.as_mut().poll(cx));
        self.1 = Box::pin(sleep(MS(100)));
        self.0 -= 1;
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

/// Counts the frames that arrive of ten, and says whether the body broke off.
async fn trickled(timeouts: Timeouts, status: StatusCode) -> (usize, bool) {
    let upstream =
        upstream_fn(move |_: SelectedBackend, _: Request<ProxyBody<Chunks>>| async move {
            let mut response = Response::new(UnsyncBoxBody::new(Trickle::new(10)));
            *response.status_mut() = status;
            Ok::<_, UpstreamError>(UpstreamAnswer { response, endpoint: None })
        });
    let service = service(vec![Rule { timeouts, ..rule() }], upstream);
    let mut body = dispatch(&service, get("/")).await.response.into_body();
    let mut frames = 0;
    loop {
        match body.frame().await {
            Some(Ok(_)) => frames += 1,
            Some(Err(error)) => {
                assert!(error.is::<BodyTimeout>());
                return (frames, true);
            }
            None => return (frames, false),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_breaks_off_when_time_is_up() {
    let (ok, tunnel) = (StatusCode::OK, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(trickled(limits(None, None), ok).await, (10, false));
    assert_eq!(trickled(limits(Some(350), None), ok).await, (3, true));
    assert_eq!(trickled(limits(None, Some(250)), ok).await, (2, true));
    assert_eq!(trickled(limits(Some(5000), None), ok).await, (10, false));
    assert_eq!(trickled(limits(Some(350), Some(250)), tunnel).await, (10, false));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_given_up_is_cancelled() {
    struct Noted(Calls);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.next();
        }
    }
    let dropped = Calls::default();
    let seen = dropped.clone();
    let upstream = upstream_fn(move |_, _: Request<ProxyBody<Chunks>>| {
        let noted = Noted(seen.clone());
        async move {
            sleep(MS(1000)).await;
            drop(noted);
            ok("late")
        }
    });
    let timeouts = limits(Some(10), None);
    let service = service(vec![Rule { timeouts, ..rule() }], upstream);
    let start = Instant::now();
    dispatch(&service, get("/")).await;
    assert_eq!((start.elapsed(), dropped.count()), (MS(10), 1));
}
