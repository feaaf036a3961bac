//! The dispatcher: choice of backends, filters, and the answers that it gives itself.

use gateway_core::{
    backend::{InvalidBackend, WeightedBackend},
    decide::Cause,
    filter::{Cors, CorsOrigin, Filter, HeaderModifier, PathModifier, Redirect, UrlRewrite},
    resolve::topology::Rule,
};
use gateway_tower::{
    LocalBackends, OwnedIngress, OwnedMatch, ProxyBody, RouteService, SelectedBackend,
    UpstreamAnswer, UpstreamErrorKind, upstream_fn,
};
use http::{HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::support::{
    self, Chunks, dispatch, failed, get, header, ok, post, prefix, rule, rule_to, service, text,
    to, tower_fn,
};

/// A backend that answers with what it got.
async fn echo<B>(
    to: SelectedBackend,
    request: Request<ProxyBody<B>>,
) -> Result<UpstreamAnswer<Full<bytes::Bytes>>, gateway_tower::UpstreamError>
where
    ProxyBody<B>: Body<Data = bytes::Bytes, Error = gateway_tower::BoxError>,
{
    let (head, body) = request.into_parts();
    let mut lines = vec![format!("{} {} {}", to.backend.key, head.method, head.uri)];
    let mut fields = head.headers.iter().collect::<Vec<_>>();
    fields.sort_by_key(|(name, value)| (name.as_str(), value.as_bytes()));
    lines.extend(
        fields.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))),
    );
    lines.push(text(body).await);
    let response = Response::new(Full::from(lines.join("\n")));
    Ok(UpstreamAnswer { response, endpoint: Some(support::endpoint(1)) })
}

#[tokio::test]
async fn a_request_is_forwarded_as_it_is() {
    let service = service(vec![rule()], upstream_fn(echo::<Chunks>));
    let exchange = dispatch(&service, post("/p?q=1", &["ab", "c"])).await;
    assert_eq!(exchange.cause, None);
    assert_eq!((exchange.tries, exchange.endpoint), (1, Some(support::endpoint(1))));
    assert_eq!(exchange.matched.expect("a match").to_string(), "default/route#0");
    let seen = text(exchange.response.into_body()).await;
    assert_eq!(seen, "default/a:80 POST /p?q=1\nhost: h.example\nabc");
}

#[tokio::test]
async fn filters_of_rule_and_backend_apply_in_order() {
    let modifier = |name, value| {
        let set = vec![header(name, value)];
        HeaderModifier { set, ..HeaderModifier::default() }
    };
    let rewrite = UrlRewrite {
        hostname: Some(HeaderValue::from_static("new.example")),
        path: Some(PathModifier::ReplacePrefixMatch("/new".into())),
    };
    let backend = WeightedBackend {
        filters: vec![
            Filter::RequestHeaderModifier(modifier("x-both", "backend")),
            Filter::ResponseHeaderModifier(modifier("x-answer", "backend")),
        ],
        ..to("a")
    };
    let rule = Rule {
        matches: prefix("/old"),
        filters: vec![
            Filter::RequestHeaderModifier(modifier("x-both", "rule")),
            Filter::UrlRewrite(rewrite),
            Filter::ResponseHeaderModifier(modifier("x-answer", "rule")),
        ],
        ..rule_to(vec![backend])
    };
    let service = service(vec![rule], upstream_fn(echo::<Chunks>));
    let exchange = dispatch(&service, get("/old/x?q")).await;
    assert_eq!(exchange.response.headers()["x-answer"], "rule");
    let seen = text(exchange.response.into_body()).await;
    assert_eq!(seen, "default/a:80 GET /new/x?q\nhost: new.example\nx-both: backend\n");
}

#[tokio::test]
async fn backends_share_by_weight_and_invalid_ones_answer_500() {
    let weighted = |name, weight| WeightedBackend { weight, ..to(name) };
    let missing =
        WeightedBackend { weight: 2, target: Err(InvalidBackend::NotFound), filters: Vec::new() };
    let rule = rule_to(vec![weighted("a", 5), weighted("b", 3), weighted("c", 0), missing]);
    let service = service(vec![rule], upstream_fn(echo::<Chunks>));
    let mut shares = std::collections::BTreeMap::new();
    for _ in 0..20 {
        let exchange = dispatch(&service, get("/")).await;
        let backend = exchange.matched.expect("a match").backend;
        let name = backend.map_or_else(|| "none".into(), |backend| backend.key.name.clone());
        if &*name == "none" {
            assert_eq!(exchange.cause, Some(Cause::InvalidBackend));
            assert_eq!(exchange.response.status(), 500);
        }
        *shares.entry(name).or_insert(0) += 1;
    }
    let expect = [("a".into(), 10), ("b".into(), 6), ("none".into(), 4)];
    assert_eq!(shares, expect.into());
}

#[track_caller]
fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// Checks the gateway's own answer to a plain and to a gRPC request.
#[track_caller]
fn check_own(rules: Vec<Rule>, cause: Cause, status: u16, grpc_status: &str) {
    let service = service(rules, upstream_fn(echo::<Chunks>));
    block(async {
        let exchange = dispatch(&service, get("/")).await;
        assert_eq!((exchange.cause, exchange.response.status().as_u16()), (Some(cause), status));
        let mut call = get("/");
        call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let exchange = dispatch(&service, call).await;
        assert_eq!((exchange.cause, exchange.response.status().as_u16()), (Some(cause), 200));
        assert_eq!(exchange.response.headers()["grpc-status"], grpc_status);
        assert_eq!(exchange.response.headers()["content-type"], "application/grpc");
        assert!(exchange.response.body().is_end_stream());
    });
}

#[test]
fn own_answers() {
    let elsewhere = Rule { matches: prefix("/elsewhere"), ..rule() };
    check_own(vec![elsewhere], Cause::NoRoute, 404, "12");
    check_own(vec![rule_to(vec![])], Cause::NoBackend, 500, "14");
    check_own(
        vec![rule_to(vec![WeightedBackend { weight: 0, ..to("a") }])],
        Cause::NoBackend,
        500,
        "14",
    );
    let invalid = || Rule { filters: vec![Filter::Invalid], ..rule() };
    check_own(vec![invalid()], Cause::InvalidFilter, 500, "14");
}

#[track_caller]
fn check_upstream_error(kind: UpstreamErrorKind, cause: Cause, status: u16, grpc_status: &str) {
    let upstream = upstream_fn(move |_, _: Request<ProxyBody<Chunks>>| async move { failed(kind) });
    let service = service(vec![rule()], upstream);
    block(async {
        let exchange = dispatch(&service, get("/")).await;
        assert_eq!((exchange.cause, exchange.response.status().as_u16()), (Some(cause), status));
        assert_eq!(exchange.error.expect("an error").kind, kind);
        let mut call = get("/");
        call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        let exchange = dispatch(&service, call).await;
        assert_eq!(exchange.response.headers()["grpc-status"], grpc_status);
    });
}

#[test]
fn failures_of_backends() {
    use UpstreamErrorKind as K;
    check_upstream_error(K::NoEndpoint, Cause::NoEndpoint, 503, "14");
    check_upstream_error(K::Overload, Cause::Overload, 503, "8");
    check_upstream_error(K::Connect, Cause::UpstreamConnect, 502, "14");
    check_upstream_error(K::Reset, Cause::UpstreamReset, 502, "14");
    check_upstream_error(K::Tls, Cause::UpstreamTls, 502, "14");
    check_upstream_error(K::Protocol, Cause::UpstreamProtocol, 502, "14");
    check_upstream_error(K::Timeout, Cause::UpstreamTimeout, 504, "4");
}

#[tokio::test]
async fn a_port_without_a_socket_has_no_listener() {
    let service = service(vec![rule()], upstream_fn(echo::<Chunks>));
    let exchange = service.dispatch(&OwnedIngress::port(81), get("/")).await;
    assert_eq!(exchange.cause, Some(Cause::NoListener));
    assert_eq!(exchange.response.status(), 404);
}

#[tokio::test]
async fn a_redirect_needs_no_backend() {
    let rule = Rule {
        filters: vec![Filter::RequestRedirect(Redirect {
            port: Some(8443),
            ..Redirect::default()
        })],
        ..rule_to(vec![])
    };
    let service = service(vec![rule], upstream_fn(echo::<Chunks>));
    let exchange = dispatch(&service, get("/x?y")).await;
    assert_eq!(exchange.cause, Some(Cause::Redirect));
    assert_eq!(exchange.response.status(), 302);
    assert_eq!(exchange.response.headers()["location"], "http://h.example:8443/x?y");
}

fn cors() -> Filter {
    Filter::Cors(std::sync::Arc::new(Cors {
        allow_origins: vec![CorsOrigin::parse("https://a.example").expect("an origin")],
        allow_methods: vec!["PUT".into()],
        max_age: 5,
        ..Cors::default()
    }))
}

#[tokio::test]
async fn scripts_may_read_answers_and_refusals_of_permitted_origins() {
    for (rule, status) in [(rule(), 200), (rule_to(vec![]), 500)] {
        let rule = Rule { filters: vec![cors()], ..rule };
        let service = service(vec![rule], upstream_fn(echo::<Chunks>));
        for (origin, allowed) in [("https://a.example", true), ("https://b.example", false)] {
            let mut request = get("/");
            request.headers_mut().insert("origin", HeaderValue::from_static(origin));
            let response = dispatch(&service, request).await.response;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key("access-control-allow-origin"), allowed);
        }
    }
}

#[tokio::test]
async fn a_preflight_keeps_its_lists() {
    let service =
        service(vec![Rule { filters: vec![cors()], ..rule() }], upstream_fn(echo::<Chunks>));
    let request = Request::options("/")
        .header("origin", "https://a.example")
        .header("access-control-request-method", "PUT")
        .body(Chunks::new(&[]))
        .expect("a request");
    let exchange = dispatch(&service, request).await;
    assert_eq!((exchange.cause, exchange.tries), (Some(Cause::CorsPreflight), 0));
    assert_eq!(exchange.response.headers()["access-control-allow-methods"], "PUT");
}

#[tokio::test]
async fn a_published_table_serves_the_next_request() {
    let service = service(vec![], upstream_fn(echo::<Chunks>));
    assert_eq!(dispatch(&service, get("/")).await.response.status(), 404);
    let table = gateway_core::compile::RouteTable::compile(&support::topology(vec![rule()]), 7);
    service.table().publish(table);
    assert_eq!(dispatch(&service, get("/")).await.response.status(), 200);
}

#[tokio::test]
async fn services_of_the_same_process_are_backends() {
    let hello = tower_fn(|request: Request<ProxyBody<Chunks>>| async move {
        let to = request.extensions().get::<SelectedBackend>().expect("the backend");
        let answer = format!("hello from {}", to.backend.key);
        Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::from(answer)))
    });
    let broken = tower_fn(|_: Request<ProxyBody<Chunks>>| async {
        Err::<Response<Full<bytes::Bytes>>, _>(std::io::Error::other("out of order"))
    });
    let backends = LocalBackends::new()
        .with("default/a:80", hello)
        .and_then(|backends| backends.with("default/b:80", broken))
        .expect("names");
    let rules = ["a", "b", "c"]
        .map(|name| Rule { matches: prefix(&format!("/{name}")), ..rule_to(vec![to(name)]) });
    let mut service = RouteService::new(support::table(rules.into()), backends)
        .at(OwnedIngress::port(support::PORT));
    for (path, status, cause) in [
        ("/a", 200, None),
        ("/b", 502, Some(Cause::UpstreamReset)),
        ("/c", 503, Some(Cause::NoEndpoint)),
    ] {
        let response = service.call(get(path)).await.expect("never fails");
        assert_eq!(response.status(), status);
        assert_eq!(response.extensions().get(), cause.as_ref());
        assert!(response.extensions().get::<OwnedMatch>().is_some());
    }
    let response = service.call(get("/a")).await.expect("never fails");
    assert_eq!(text(response.into_body()).await, "hello from default/a:80");
}

#[tokio::test]
async fn other_backends_fall_back() {
    let fallback = upstream_fn(|_, _: Request<ProxyBody<Chunks>>| async { ok("fallback") });
    let service = service(vec![rule()], LocalBackends::new().or(fallback));
    let response = dispatch(&service, get("/")).await.response;
    assert_eq!(text(response.into_body()).await, "fallback");
}

#[tokio::test]
async fn the_entrance_may_stand_in_the_request() {
    let mut service = service(vec![rule()], upstream_fn(echo::<Chunks>));
    assert_eq!(service.call(get("/")).await.expect("never fails").status(), 404);
    let mut request = get("/");
    request.extensions_mut().insert(OwnedIngress::bind(support::bind_key()));
    assert_eq!(service.call(request).await.expect("never fails").status(), 200);
}
