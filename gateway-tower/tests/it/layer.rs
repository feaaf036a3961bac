//! The layer: what reaches the inner service and what does not.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use gateway_core::{
    backend::{InvalidBackend, WeightedBackend},
    decide::Cause,
    filter::{
        AuthProtocol, ExternalAuth, Filter, HeaderModifier, PathModifier, Redirect, UrlRewrite,
    },
    resolve::topology::{Rule, Timeouts},
};
use gateway_tower::{
    GatewayBody, GatewayLayer, GatewayService, NoBackend, NoMatch, OwnedIngress, OwnedMatch,
};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use tokio::time::{Instant, sleep};
use tower_layer::Layer;
use tower_service::Service;

use crate::support::{
    Calls, Chunks, PORT, backend, get, header, mirror, prefix, rule, rule_to, table, text, to,
    tower_fn,
};

fn layer(rules: Vec<Rule>) -> GatewayLayer {
    GatewayLayer::new(table(rules)).ingress(OwnedIngress::port(PORT))
}

/// Answers with the match and the request line.
async fn echo(request: Request<Chunks>) -> Result<Response<Full<Bytes>>, Infallible> {
    let matched = request.extensions().get::<OwnedMatch>();
    let matched = matched.map_or_else(|| "no match".into(), ToString::to_string);
    let host = request.headers()["host"].to_str().expect("text");
    let answer = format!("{matched}: {} {host} {}", request.method(), request.uri());
    Ok(Response::new(Full::from(answer)))
}

async fn send(layer: &GatewayLayer, request: Request<Chunks>) -> (u16, Option<Cause>, String) {
    let response = layer.layer(tower_fn(echo)).call(request).await.expect("never fails");
    let cause = response.extensions().get().copied();
    (response.status().as_u16(), cause, text(response.into_body()).await)
}

#[tokio::test]
async fn the_inner_service_sees_the_match_and_the_rewritten_request() {
    let rewrite = UrlRewrite {
        hostname: Some(HeaderValue::from_static("new.example")),
        path: Some(PathModifier::ReplacePrefixMatch("/new".into())),
    };
    let rule = Rule {
        matches: prefix("/old"),
        filters: vec![Filter::UrlRewrite(rewrite), mirror("m", (1, 1))],
        name: Some("moved".into()),
        ..rule()
    };
    let (status, cause, text) = send(&layer(vec![rule]), get("/old/x?q")).await;
    assert_eq!((status, cause), (200, None));
    assert_eq!(text, "default/route#moved: GET new.example /new/x?q");
}

#[tokio::test]
async fn what_is_not_matched_is_refused_or_forwarded() {
    let rules = || vec![Rule { matches: prefix("/x"), ..rule() }];
    let refused = send(&layer(rules()), get("/y")).await;
    assert_eq!((refused.0, refused.1), (404, Some(Cause::NoRoute)));
    let forwarding = layer(rules()).on_no_match(NoMatch::Forward);
    let forwarded = send(&forwarding, get("/y")).await;
    assert_eq!(forwarded, (200, None, "no match: GET h.example /y".into()));
    let nowhere = GatewayLayer::new(table(rules()));
    assert_eq!(send(&nowhere, get("/x")).await.1, Some(Cause::NoListener));
    let mut request = get("/x");
    request.extensions_mut().insert(OwnedIngress::port(PORT));
    assert_eq!(send(&nowhere, request).await.0, 200);
}

#[tokio::test]
async fn rules_without_backends_are_refused_unless_the_service_is_all_there_is() {
    let refused = send(&layer(vec![rule_to(vec![])]), get("/")).await;
    assert_eq!((refused.0, refused.1), (500, Some(Cause::NoBackend)));
    let alone = layer(vec![rule_to(vec![])]).on_no_backend(NoBackend::Forward);
    assert_eq!(send(&alone, get("/")).await.0, 200);
    let invalid = WeightedBackend { target: Err(InvalidBackend::NotFound), ..to("a") };
    let invalid = layer(vec![rule_to(vec![invalid])]).on_no_backend(NoBackend::Forward);
    assert_eq!(send(&invalid, get("/")).await.1, Some(Cause::InvalidBackend));
    let zero = layer(vec![rule_to(vec![WeightedBackend { weight: 0, ..to("a") }])]);
    let zero = zero.on_no_backend(NoBackend::Forward);
    assert_eq!(send(&zero, get("/")).await.1, Some(Cause::NoBackend));
}

#[tokio::test]
async fn filters_may_answer() {
    let redirect = Filter::RequestRedirect(Redirect::default());
    let auth = Filter::ExternalAuth(Arc::new(ExternalAuth {
        backend: Arc::new(backend("auth")),
        protocol: AuthProtocol::Grpc { allowed_headers: Vec::new() },
        max_body_bytes: 0,
    }));
    for (filter, status, cause) in [
        (redirect, 302, Cause::Redirect),
        (Filter::Invalid, 500, Cause::InvalidFilter),
        (auth, 503, Cause::AuthUnavailable),
    ] {
        let layer = layer(vec![Rule { filters: vec![filter], ..rule() }]);
        let answer = send(&layer, get("/")).await;
        assert_eq!((answer.0, answer.1), (status, Some(cause)));
    }
}

#[tokio::test]
async fn answers_pass_the_filters_of_backend_and_rule() {
    let add = |value| {
        let add = vec![header("x-way", value)];
        Filter::ResponseHeaderModifier(HeaderModifier { add, ..HeaderModifier::default() })
    };
    let backend = WeightedBackend { filters: vec![add("backend")], ..to("a") };
    let rule = Rule { filters: vec![add("rule")], ..rule_to(vec![backend]) };
    let response = layer(vec![rule]).layer(tower_fn(echo)).call(get("/")).await;
    let response = response.expect("never fails");
    assert!(response.headers().get_all("x-way").iter().eq(["backend", "rule"]));
}

#[tokio::test(start_paused = true)]
async fn a_slow_service_is_answered_for() {
    let slow = tower_fn(|request: Request<Chunks>| async {
        sleep(Duration::from_secs(1)).await;
        echo(request).await
    });
    let limit =
        |millis| Timeouts { request: Some(Duration::from_millis(millis)), backend_request: None };
    for (timeouts, expect) in [(limit(500), 504), (limit(0), 200), (Timeouts::default(), 504)] {
        let layer = layer(vec![Rule { timeouts, ..rule() }]);
        let layer = layer.request_timeout(Duration::from_millis(300));
        let start = Instant::now();
        let response = layer.layer(slow.clone()).call(get("/")).await.expect("never fails");
        assert_eq!(response.status(), expect);
        assert!(start.elapsed() <= Duration::from_secs(1));
    }
}

/// Ready every second time that it is asked, and only for one call.
#[derive(Default)]
struct Reluctant {
    asked: u32,
    is_ready: bool,
}

impl Service<Request<Chunks>> for Reluctant {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.asked += 1;
        if self.asked % 2 == 1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Chunks>) -> Self::Future {
        assert!(std::mem::take(&mut self.is_ready), "called without being ready");
        std::future::ready(Ok(Response::new(Full::default())))
    }
}

#[tokio::test]
async fn readiness_is_that_of_the_service_that_is_called() {
    let mut service: GatewayService<Reluctant> = layer(vec![rule()]).layer(Reluctant::default());
    for _ in 0..3 {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.expect("never fails");
        let response: Response<GatewayBody<Full<Bytes>>> =
            service.call(get("/")).await.expect("never fails");
        assert_eq!(response.status(), 200);
    }
    assert_eq!(service.inner().asked, 6);
}

#[tokio::test]
async fn errors_are_those_of_the_inner_service() {
    let broken = tower_fn(|_: Request<Chunks>| async {
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("out of order"))
    });
    let error = layer(vec![rule()]).layer(broken).call(get("/")).await.expect_err("broken");
    assert_eq!(error.to_string(), "out of order");
}

#[tokio::test]
async fn refused_requests_do_not_reach_the_service() {
    let calls = Calls::default();
    let counted = calls.clone();
    let inner = tower_fn(move |request| {
        counted.next();
        echo(request)
    });
    let mut service = layer(vec![Rule { matches: prefix("/x"), ..rule() }]).layer(inner);
    for (path, count) in [("/y", 0), ("/x", 1), ("/z", 1)] {
        service.call(get(path)).await.expect("never fails");
        assert_eq!(calls.count(), count);
    }
}
