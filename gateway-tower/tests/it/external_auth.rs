//! External authorization over HTTP and gRPC: what is asked, what comes of the answer.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use gateway_core::{
    decide::Cause,
    filter::{AuthProtocol, ExternalAuth, Filter},
    resolve::topology::Rule,
};
use gateway_tower::{
    BoxError, OwnedIngress, ProxyBody, Purpose, RouteService, RouteSettings, SelectedBackend,
    Upstream, UpstreamAnswer, UpstreamError, UpstreamErrorKind, upstream_fn,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tokio::time::{Instant, sleep};

use crate::support::{
    Calls, Chunks, Notes, PORT, backend, dispatch, get, header, mirror, post, rule, service,
    settle, text,
};

type Answered = Result<UpstreamAnswer<UnsyncBoxBody<Bytes, BoxError>>, UpstreamError>;

fn answered(response: Response<impl Into<Bytes>>) -> Answered {
    let body = |body: Bytes| Full::new(body).map_err(BoxError::from).boxed_unsync();
    Ok(UpstreamAnswer { response: response.map(|bytes| body(bytes.into())), endpoint: None })
}

fn http() -> AuthProtocol {
    AuthProtocol::Http {
        path: "/check".into(),
        allowed_headers: vec!["x-tenant".parse().expect("a name")],
        allowed_response_headers: vec!["x-user".parse().expect("a name")],
    }
}

fn guarded(protocol: AuthProtocol, max_body_bytes: usize) -> Rule {
    let backend = Arc::new(backend("auth"));
    let auth = ExternalAuth { backend, protocol, max_body_bytes };
    Rule { filters: vec![Filter::ExternalAuth(Arc::new(auth))], ..rule() }
}

/// A primary that notes what reaches it, beside an authorization service that does `auth`.
fn guard<F, A>(notes: &Notes, auth: F) -> impl Upstream<Chunks> + use<F, A>
where
    F: Fn(Request<Bytes>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Answered> + Send,
{
    let notes = notes.clone();
    upstream_fn(move |to: SelectedBackend, request: Request<ProxyBody<Chunks>>| {
        let (notes, auth) = (notes.clone(), auth.clone());
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            if to.purpose == Purpose::ExternalAuth {
                assert_eq!(&*to.backend.key.name, "auth");
                return auth(Request::from_parts(head, body)).await;
            }
            let user = head.headers.get("x-user").map(|user| user.to_str().expect("text"));
            let body = String::from_utf8_lossy(&body);
            notes.add(format!("{} {user:?} {body}", to.backend.key.name));
            answered(Response::new("primary"))
        }
    })
}

#[tokio::test]
async fn a_200_lets_the_request_pass_with_the_headers_that_are_allowed() {
    let notes = Notes::default();
    let upstream = guard(&notes, async |question: Request<Bytes>| {
        assert_eq!(question.uri(), "/check/pay?q");
        assert_eq!(question.method(), "POST");
        assert_eq!(question.headers()["x-tenant"], "t");
        assert_eq!(question.headers()["content-length"], "0");
        assert!(!question.headers().contains_key("x-other"));
        let answer = Response::builder().header("x-user", "anna").header("x-more", "no");
        answered(answer.body("").expect("a response"))
    });
    let mut request = post("/pay?q", &["ab", "c"]);
    let spoofed = [header("x-tenant", "t"), header("x-other", "o"), header("x-user", "spoofed")];
    request.headers_mut().extend(spoofed);
    let exchange = dispatch(&service(vec![guarded(http(), 0)], upstream), request).await;
    assert_eq!(exchange.cause, None);
    assert_eq!(notes.sorted(), [r#"a Some("anna") abc"#]);
}

#[tokio::test]
async fn a_denial_goes_to_the_client_as_it_is() {
    let notes = Notes::default();
    let upstream = guard(&notes, async |_| {
        let answer = Response::builder().status(401).header("www-authenticate", "Basic");
        answered(answer.body("who are you?").expect("a response"))
    });
    let service = service(vec![guarded(http(), 0)], upstream);
    let exchange = dispatch(&service, get("/")).await;
    assert_eq!((exchange.cause, exchange.tries), (Some(Cause::AuthDenied), 0));
    assert_eq!(exchange.response.status(), 401);
    assert_eq!(exchange.response.headers()["www-authenticate"], "Basic");
    assert_eq!(whole(exchange.response.into_body()).await, "who are you?");
    let mut call = get("/");
    call.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let exchange = dispatch(&service, call).await;
    assert_eq!(exchange.response.headers()["grpc-status"], "16");
    assert!(notes.sorted().is_empty());
}

async fn whole<B>(body: B) -> String
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    text(body).await
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_refused() {
    let grpc = || AuthProtocol::Grpc { allowed_headers: Vec::new() };
    for protocol in [http(), grpc()] {
        let notes = Notes::default();
        let unreachable =
            guard(&notes, async |_| Err(UpstreamError::new(UpstreamErrorKind::Connect)));
        let hanging = guard(&notes, async |_| {
            sleep(Duration::from_secs(3600)).await;
            answered(Response::new(""))
        });
        let start = Instant::now();
        check_refused(service(vec![guarded(protocol.clone(), 0)], unreachable)).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        check_refused(service(vec![guarded(protocol, 0)], hanging)).await;
        assert_eq!(start.elapsed(), RouteSettings::default().auth_timeout);
        assert!(notes.sorted().is_empty());
    }
}

async fn check_refused(service: RouteService<impl Upstream<Chunks>>) {
    let exchange = dispatch(&service, get("/")).await;
    assert_eq!(exchange.cause, Some(Cause::AuthUnavailable));
    assert_eq!(exchange.response.status(), 503);
}

#[tokio::test]
async fn the_body_is_shown_and_then_sent() {
    let notes = Notes::default();
    let upstream = guard(&notes, async |question: Request<Bytes>| {
        assert_eq!(question.headers()["content-length"], "4");
        assert_eq!(question.body(), "abcd");
        answered(Response::new(""))
    });
    let mut rule = guarded(http(), 4);
    // Mirrors before and after see the whole body as well.
    rule.filters.insert(0, mirror("m0", (1, 1)));
    rule.filters.push(mirror("m1", (1, 1)));
    let service = service(vec![rule], upstream);
    dispatch(&service, post("/", &["ab", "cd"])).await;
    settle().await;
    assert_eq!(notes.sorted(), ["a None abcd", "m0 None abcd", "m1 None abcd"]);
}

#[tokio::test]
async fn too_long_a_body_is_refused() {
    let asked = Calls::default();
    let counted = asked.clone();
    let upstream = guard(&Notes::default(), move |_| {
        counted.next();
        async { answered(Response::new("")) }
    });
    let service = service(vec![guarded(http(), 3)], upstream);
    let exchange = dispatch(&service, post("/", &["ab", "cd"])).await;
    assert_eq!(exchange.cause, Some(Cause::BodyTooLarge));
    assert_eq!(exchange.response.status(), 413);
    let (head, body) = post("/", &["a"]).into_parts();
    let broken = Request::from_parts(head, body.then_fail());
    assert_eq!(dispatch(&service, broken).await.cause, Some(Cause::BadRequest));
    assert_eq!(asked.count(), 0);
}

/// A gRPC answer with one message, or without.
fn grpc_answer(message: &[u8], status: &'static str) -> Answered {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).expect("short"));
    body.put_slice(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(body.freeze()).with_trailers(async { Some(Ok(trailers)) });
    let body = body.map_err(BoxError::from).boxed_unsync();
    Ok(UpstreamAnswer { response: Response::new(body), endpoint: None })
}

/// Dispatches with an authorization service that answers `message`; status, cause and what reached
/// the backend.
async fn checked(
    message: &'static [u8],
    status: &'static str,
) -> (u16, Option<Cause>, Vec<String>) {
    let notes = Notes::default();
    let upstream = guard(&notes, move |call: Request<Bytes>| async move {
        assert_eq!(call.uri(), "/envoy.service.auth.v3.Authorization/Check");
        assert_eq!(call.headers()["te"], "trailers");
        let length = u32::try_from(call.body().len() - 5).expect("short");
        assert_eq!(call.body()[..5], [&[0][..], &length.to_be_bytes()].concat());
        grpc_answer(message, status)
    });
    let protocol = AuthProtocol::Grpc { allowed_headers: Vec::new() };
    let service = service(vec![guarded(protocol, 0)], upstream);
    let ingress = OwnedIngress::port(PORT).from_peer("192.0.2.9:1".parse().expect("an address"));
    let exchange = service.dispatch(&ingress, get("/")).await;
    (exchange.response.status().as_u16(), exchange.cause, notes.sorted())
}

#[tokio::test]
async fn checks_over_grpc() {
    // status { } ok_response { headers { header { key: "x-user" value: "anna" } } }
    let allowed = b"\x0a\x00\x1a\x12\x12\x10\x0a\x0e\x0a\x06x-user\x12\x04anna";
    let passed = (200, None, vec![r#"a Some("anna") "#.to_owned()]);
    assert_eq!(checked(allowed, "0").await, passed);
    // status { code: 7 } denied_response { status { code: 418 } }
    let denied = b"\x0a\x02\x08\x07\x12\x05\x0a\x03\x08\xa2\x03";
    assert_eq!(checked(denied, "0").await, (418, Some(Cause::AuthDenied), vec![]));
    // status { code: 7 }
    let code_alone = b"\x0a\x02\x08\x07";
    assert_eq!(checked(code_alone, "0").await, (403, Some(Cause::AuthDenied), vec![]));
    let unavailable = (503, Some(Cause::AuthUnavailable), vec![]);
    assert_eq!(checked(allowed, "14").await, unavailable);
    assert_eq!(checked(b"\xff", "0").await, unavailable);
}
