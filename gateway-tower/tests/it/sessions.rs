//! Sessions: one client, one endpoint.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use gateway_core::{
    backend::{Backend, SessionPersistence, WeightedBackend},
    resolve::topology::Rule,
};
use gateway_tower::{
    Clock, OwnedIngress, ProxyBody, RouteService, RouteSettings, SelectedBackend, SessionKey,
    Upstream, UpstreamAnswer, UpstreamError, upstream_fn,
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::Full;

use crate::support::{
    Calls, Chunks, PORT, backend, endpoint, get, prefix, rule_to, service_with, to,
};

fn policy() -> SessionPersistence {
    SessionPersistence { name: None, header: false, absolute_timeout: None, permanent: false }
}

/// Balances over the endpoints in turn, unless the session names one that is still there.
fn balancing(
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
) -> impl Upstream<Chunks, Body = Full<bytes::Bytes>> {
    let calls = Calls::default();
    upstream_fn(move |to: SelectedBackend, _: Request<ProxyBody<Chunks>>| {
        let endpoints = endpoints.lock().expect("not poisoned").clone();
        let bound =
            to.session.and_then(|hint| endpoints.iter().copied().find(|at| hint.names(*at)));
        let endpoint = bound.unwrap_or_else(|| endpoints[calls.next() % endpoints.len()]);
        async move {
            let response = Response::new(Full::from(endpoint.to_string()));
            Ok::<_, UpstreamError>(UpstreamAnswer { response, endpoint: Some(endpoint) })
        }
    })
}

struct Fixture<U> {
    service: RouteService<U>,
    endpoints: Arc<Mutex<Vec<SocketAddr>>>,
    now: Arc<Mutex<SystemTime>>,
}

fn fixture(rules: Vec<Rule>) -> Fixture<impl Upstream<Chunks>> {
    let endpoints = Arc::new(Mutex::new((1..=4).map(endpoint).collect()));
    let now = Arc::new(Mutex::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000)));
    let clock = Arc::clone(&now);
    let settings = RouteSettings {
        session_key: SessionKey::random(),
        clock: Clock::new(move || *clock.lock().expect("not poisoned")),
        ..RouteSettings::default()
    };
    let service = service_with(rules, balancing(Arc::clone(&endpoints)), settings);
    Fixture { service, endpoints, now }
}

impl<U: Upstream<Chunks>> Fixture<U> {
    /// The endpoint and backend that answered, and the answer's headers.
    async fn send(
        &self,
        path: &str,
        cookie: Option<&str>,
        tls: bool,
    ) -> (SocketAddr, String, HeaderMap) {
        let mut request = get(path);
        if let Some(cookie) = cookie {
            request.headers_mut().insert("cookie", HeaderValue::from_str(cookie).expect("text"));
        }
        let mut ingress = OwnedIngress::port(PORT);
        if tls {
            ingress = ingress.over_tls(None);
        }
        let exchange = self.service.dispatch(&ingress, request).await;
        let backend = exchange.matched.and_then(|matched| matched.backend).expect("a backend");
        let headers = exchange.response.headers().clone();
        (exchange.endpoint.expect("an endpoint"), backend.key.name.to_string(), headers)
    }

    /// Starts a session; its endpoint and cookie.
    async fn start(&self, path: &str) -> (SocketAddr, String) {
        let (endpoint, _, headers) = self.send(path, None, false).await;
        (endpoint, cookie(&headers))
    }
}

/// `name=token` of the answer's cookie.
fn cookie(headers: &HeaderMap) -> String {
    let line = headers["set-cookie"].to_str().expect("text");
    line.split(';').next().expect("a part").to_owned()
}

fn kept(policy: SessionPersistence) -> Rule {
    Rule { session_persistence: Some(Arc::new(policy)), ..rule_to(vec![to("a"), to("b")]) }
}

#[tokio::test]
async fn a_client_with_a_cookie_stays_with_its_endpoint_and_backend() {
    let fixture = fixture(vec![kept(policy())]);
    let (_, _, headers) = fixture.send("/", None, false).await;
    let (first, backend, _) = fixture.send("/", Some(&cookie(&headers)), false).await;
    for _ in 0..10 {
        let cookies = format!("theme=dark; {}; x=1", cookie(&headers));
        let again = fixture.send("/", Some(&cookies), false).await;
        assert_eq!((again.0, &*again.1), (first, &*backend));
        assert!(!again.2.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn cookies_have_the_attributes_of_the_policy() {
    let named = SessionPersistence { name: Some("sid".into()), ..policy() };
    let permanent = SessionPersistence {
        absolute_timeout: Some(Duration::from_secs(60)),
        permanent: true,
        ..named.clone()
    };
    for (policy, tls, expect) in [
        (named.clone(), false, "; Path=/; HttpOnly; SameSite=Strict"),
        (named, true, "; Path=/; HttpOnly; SameSite=Strict; Secure"),
        (permanent, true, "; Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=60"),
    ] {
        let fixture = fixture(vec![kept(policy)]);
        // The listener of the fixture is plain, but takes the connection's word.
        let (_, _, headers) = fixture.send("/", None, tls).await;
        let line = headers["set-cookie"].to_str().expect("text");
        assert!(line.starts_with("sid=") && line.ends_with(expect), "{line}");
        assert!(!line.contains("192.0.2"), "{line}");
    }
}

#[tokio::test]
async fn a_vanished_endpoint_starts_a_new_session() {
    let fixture = fixture(vec![kept(policy())]);
    let (first, old) = fixture.start("/").await;
    fixture.endpoints.lock().expect("not poisoned").retain(|at| *at != first);
    let (second, _, headers) = fixture.send("/", Some(&old), false).await;
    assert_ne!(first, second);
    assert_ne!(cookie(&headers), old);
}

#[tokio::test]
async fn a_session_goes_on_when_the_weight_falls_to_zero() {
    let weighted = |name, weight| WeightedBackend { weight, ..to(name) };
    let rule = |a, b| Rule {
        session_persistence: Some(Arc::new(policy())),
        ..rule_to(vec![weighted("a", a), weighted("b", b)])
    };
    let fixture = fixture(vec![rule(1, 0)]);
    let (endpoint, old) = fixture.start("/").await;
    let table = crate::support::topology(vec![rule(0, 1)]);
    fixture.service.table().publish(gateway_core::compile::RouteTable::compile(&table, 7));
    let bound = fixture.send("/", Some(&old), false).await;
    assert_eq!((bound.0, &*bound.1), (endpoint, "a"));
    assert_eq!(fixture.send("/", None, false).await.1, "b");
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_timeout() {
    let policy = SessionPersistence { absolute_timeout: Some(Duration::from_secs(60)), ..policy() };
    let fixture = fixture(vec![kept(policy)]);
    let (_, old) = fixture.start("/").await;
    for (seconds, is_over) in [(59, false), (1, true)] {
        *fixture.now.lock().expect("not poisoned") += Duration::from_secs(seconds);
        let (_, _, headers) = fixture.send("/", Some(&old), false).await;
        assert_eq!(headers.contains_key("set-cookie"), is_over);
    }
}

#[tokio::test]
async fn tokens_of_others_are_refused() {
    let one = fixture(vec![
        Rule { matches: prefix("/one"), ..kept(policy()) },
        Rule { matches: prefix("/two"), index: 1, ..kept(policy()) },
    ]);
    let other = fixture(vec![kept(policy())]);
    let (_, token) = one.start("/one").await;
    let (name, value) = token.split_once('=').expect("a cookie");
    let mut changed = value.to_owned().into_bytes();
    changed[10] = if changed[10] == b'0' { b'1' } else { b'0' };
    let changed = String::from_utf8(changed).expect("text");
    // A changed token, one of another key, one of another rule, and none at all.
    for cookie in [
        format!("{name}={changed}"),
        other.start("/").await.1,
        format!("{name}="),
        format!("{name}={}", "é".repeat(10)),
    ] {
        let (_, _, headers) = one.send("/one", Some(&cookie), false).await;
        assert!(headers.contains_key("set-cookie"), "{cookie}");
    }
    let two = one.start("/two").await.1;
    let name_of_two = two.split_once('=').expect("a cookie").0;
    let (_, _, headers) = one.send("/two", Some(&format!("{name_of_two}={value}")), false).await;
    assert!(headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn a_token_may_travel_in_a_header() {
    let policy = SessionPersistence { name: Some("x-session".into()), header: true, ..policy() };
    let fixture = fixture(vec![kept(policy)]);
    let (first, _, headers) = fixture.send("/", None, false).await;
    assert!(!headers.contains_key("set-cookie"));
    for _ in 0..5 {
        let mut request = get("/");
        request.headers_mut().insert("x-session", headers["x-session"].clone());
        let exchange = fixture.service.dispatch(&OwnedIngress::port(PORT), request).await;
        assert_eq!(exchange.endpoint, Some(first));
        assert!(!exchange.response.headers().contains_key("x-session"));
    }
}

#[tokio::test]
async fn the_policy_of_a_backend_holds_for_all_rules() {
    let target = || {
        let session_persistence = Some(Arc::new(policy()));
        Ok(Arc::new(Backend { session_persistence, ..backend("b") }))
    };
    let rule = |path| Rule {
        matches: prefix(path),
        ..rule_to(vec![to("a"), WeightedBackend { target: target(), ..to("b") }])
    };
    let fixture = fixture(vec![rule("/one"), rule("/two")]);
    let mut bound = None;
    for _ in 0..2 {
        let (endpoint, backend, headers) = fixture.send("/one", None, false).await;
        assert_eq!(headers.contains_key("set-cookie"), backend == "b");
        if backend == "b" {
            bound = Some((endpoint, cookie(&headers)));
        }
    }
    let (endpoint, cookie) = bound.expect("one of two requests");
    for path in ["/one", "/two", "/one", "/two"] {
        let (at, backend, _) = fixture.send(path, Some(&cookie), false).await;
        assert_eq!((at, &*backend), (endpoint, "b"));
    }
}
