//! What is admitted, in which form, and what is refused.

use http::{Request, StatusCode, Version};

use super::{Admitted, Framing, Limits, Peer, Refusal, admit};

fn head(version: Version, method: &str, target: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().version(version).method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

fn admit_on(
    request: Request<()>,
    limits: &Limits,
) -> (http::request::Parts, Result<Admitted, Refusal>) {
    let (mut head, ()) = request.into_parts();
    let peer = Peer::new([192, 0, 2, 7].into(), gateway_core::matcher::Scheme::Http);
    let admitted = admit(&mut head, &peer, Framing::default(), limits);
    (head, admitted)
}

#[track_caller]
fn check(method: &str, target: &str, fields: &[(&str, &str)], expect: Result<&str, u16>) {
    let request = head(Version::HTTP_11, method, target, fields);
    let (head, admitted) = admit_on(request, &Limits::default());
    let host = |head: &http::request::Parts| {
        head.headers["host"].to_str().map(str::to_owned).unwrap_or_default()
    };
    let got = admitted
        .map(|_| format!("{} {}", host(&head), head.uri))
        .map_err(|refusal| refusal.status.as_u16());
    assert_eq!(got.as_deref().map_err(|status| *status), expect);
}

const HOST: (&str, &str) = ("host", "a.example");

#[test]
fn methods() {
    check("GET", "/", &[HOST], Ok("a.example /"));
    check("PROPFIND", "/", &[HOST], Ok("a.example /"));
    check("TRACE", "/", &[HOST], Err(405));
    check("CONNECT", "a.example:443", &[HOST], Err(405));
    check("OPTIONS", "*", &[HOST], Err(400));
}

#[test]
fn hosts() {
    check("GET", "/", &[], Err(400));
    check("GET", "/", &[HOST, HOST], Err(400));
    check("GET", "/", &[("host", "")], Err(400));
    check("GET", "/", &[("host", "a.example, b.example")], Err(400));
    check("GET", "/", &[("host", "a.example b.example")], Err(400));
    check("GET", "/", &[("host", "u@a.example")], Err(400));
    check("GET", "/", &[("host", "a.example/x")], Err(400));
    check("GET", "/", &[("host", "a%2eexample")], Err(400));
    check("GET", "/", &[("host", "a.example:x")], Err(400));
    check("GET", "/", &[("host", "a.example:70000")], Err(400));
    check("GET", "/", &[("host", "a.example:80:80")], Err(400));
    check("GET", "/", &[("host", "[::1")], Err(400));
    check("GET", "/", &[("host", "[::1]x")], Err(400));
    check("GET", "/", &[("host", "[::g]")], Err(400));
    check("GET", "/", &[("host", ".")], Err(400));
    check("GET", "/", &[("host", "A.Example.:8080")], Ok("A.Example.:8080 /"));
    check("GET", "/", &[("host", "[::1]:8080")], Ok("[::1]:8080 /"));
    check("GET", "/", &[("host", "192.0.2.1")], Ok("192.0.2.1 /"));
}

#[test]
fn absolute_form_replaces_the_host() {
    check("GET", "http://b.example/x?y", &[HOST], Ok("b.example /x?y"));
    check("GET", "http://b.example", &[HOST], Ok("b.example /"));
    check("GET", "http://b.example/", &[], Err(400));
    check("GET", "http://u:p@b.example/", &[HOST], Err(400));
    check("GET", "ftp://b.example/", &[HOST], Err(400));
}

#[test]
fn paths() {
    check("GET", "/a/b?c=/../", &[HOST], Ok("a.example /a/b?c=/../"));
    check("GET", "//a;x=1//", &[HOST], Ok("a.example //a;x=1//"));
    check("GET", "/.well-known/a..b/...", &[HOST], Ok("a.example /.well-known/a..b/..."));
    check("GET", "/%61dmin%7e?q=%61", &[HOST], Ok("a.example /admin~?q=%61"));
    check("GET", "/caf%c3%a9", &[HOST], Ok("a.example /caf%C3%A9"));
    for path in [
        "/a/../b",
        "/a/..",
        "/./a",
        "/a/.",
        "/a/%2e%2e/b",
        "/a/.%2E/b",
        "/a/..;/b",
        "/a/..;x=1/b",
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a%00b",
        "/a%0d%0ab",
        "/a%7f",
        "/a%",
        "/a%2",
        "/a%zz",
        "/a%c0%af",
        "/a\\b",
    ] {
        check("GET", path, &[HOST], Err(400));
    }
}

#[test]
fn lengths() {
    let long = format!("/{}", "a".repeat(8_000));
    check("GET", &long, &[HOST], Err(414));
    check("GET", "/", &[HOST, ("x", &"a".repeat(64 * 1024))], Err(431));
    let mut many = vec![HOST];
    many.resize(101, ("x", "y"));
    check("GET", "/", &many, Err(431));
}

#[test]
fn transfer_codings() {
    let te = |value| ("transfer-encoding", value);
    check("POST", "/", &[HOST, te("chunked")], Ok("a.example /"));
    check("POST", "/", &[HOST, te("Chunked")], Ok("a.example /"));
    check("POST", "/", &[HOST, te("chunked"), te("chunked")], Err(400));
    check("POST", "/", &[HOST, te("chunked"), ("content-length", "3")], Err(400));
    for value in ["chunked, chunked", "cow, chunked", ",chunked", "gzip", "", "chunked;q=1"] {
        check("POST", "/", &[HOST, te(value)], Err(400));
    }
    let old = head(Version::HTTP_10, "POST", "/", &[HOST, te("chunked")]);
    let (_, admitted) = admit_on(old, &Limits::default());
    assert_eq!(admitted.map(drop).map_err(|refusal| refusal.close), Err(true));
}

#[track_caller]
fn check_fields(fields: &[(&str, &str)], trusted_hops: usize, expect: &[(&str, &str)]) {
    let mut all = vec![HOST];
    all.extend_from_slice(fields);
    let request = head(Version::HTTP_11, "GET", "/", &all);
    let limits = Limits { trusted_hops, ..Limits::default() };
    let (head, admitted) = admit_on(request, &limits);
    admitted.expect("admitted");
    let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned);
    let mut got: Vec<(String, String)> = head
        .headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| (name.to_string(), text(value).unwrap_or_default()))
        .collect();
    got.sort();
    let got: Vec<(&str, &str)> = got.iter().map(|(n, v)| (&**n, &**v)).collect();
    assert_eq!(got, expect);
}

#[test]
fn no_client_says_who_it_is_by_certificate() {
    for trusted_hops in [0, 2] {
        let limits = Limits { trusted_hops, ..Limits::default() };
        for name in ["x-forwarded-client-cert", "X_Forwarded_Client_Cert"] {
            let request = head(Version::HTTP_11, "GET", "/", &[HOST, (name, "Hash=1")]);
            let (head, admitted) = admit_on(request, &limits);
            admitted.expect("admitted");
            assert!(!head.headers.keys().any(|name| name.as_str().ends_with("cert")));
        }
    }
}

const FOR: (&str, &str) = ("x-forwarded-for", "192.0.2.7");
const FROM: (&str, &str) = ("x-forwarded-host", "a.example");
const PROTO: (&str, &str) = ("x-forwarded-proto", "http");

#[test]
fn fields_of_this_hop_are_gone() {
    check_fields(
        &[
            ("connection", "close, X-Secret, host, x-forwarded-for, authorization"),
            ("x-secret", "1"),
            ("authorization", "basic"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=0.5"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABk"),
            ("x_forwarded_for", "1.2.3.4"),
            ("accept", "*/*"),
        ],
        0,
        &[("accept", "*/*"), ("authorization", "basic"), ("te", "trailers"), FOR, FROM, PROTO],
    );
    check_fields(&[("te", "gzip")], 0, &[FOR, FROM, PROTO]);
}

#[test]
fn upgrades() {
    let upgrade = ("upgrade", "websocket");
    let asked = ("connection", "keep-alive, Upgrade");
    let kept = [("connection", "upgrade"), upgrade, FOR, FROM, PROTO];
    check_fields(&[asked, upgrade], 0, &kept);
    check_fields(&[upgrade], 0, &[FOR, FROM, PROTO]);
    check_fields(&[asked, ("upgrade", "h2c")], 0, &[FOR, FROM, PROTO]);
    check_fields(&[asked, ("upgrade", "websocket, x")], 0, &[FOR, FROM, PROTO]);
    let body = ("content-length", "3");
    check_fields(&[asked, upgrade, body], 0, &[body, FOR, FROM, PROTO]);
}

#[test]
fn forwarded_fields() {
    let forged = [
        ("x-forwarded-for", "1.1.1.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "b.example"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=1.1.1.1"),
        ("x-real-ip", "1.1.1.1"),
    ];
    check_fields(&forged, 0, &[FOR, FROM, PROTO]);
    check_fields(
        &forged[..3],
        1,
        &[
            ("x-forwarded-for", "1.1.1.1, 192.0.2.7"),
            ("x-forwarded-host", "b.example"),
            ("x-forwarded-proto", "https"),
        ],
    );
}

#[track_caller]
fn check_http2(target: &str, fields: &[(&str, &str)], expect: Result<&str, u16>) {
    let request = head(Version::HTTP_2, "GET", target, fields);
    let (head, admitted) = admit_on(request, &Limits::default());
    let cookie = head.headers.get("cookie").and_then(|cookie| cookie.to_str().ok());
    let host = head.headers.get("host").and_then(|host| host.to_str().ok()).unwrap_or("-");
    let got = format!("{host} {} {}", head.uri, cookie.unwrap_or("-"));
    let got = admitted.map(|_| &*got).map_err(|refusal| refusal.status.as_u16());
    assert_eq!(got, expect);
}

#[test]
fn http2_heads() {
    let target = "http://a.example/x";
    check_http2(target, &[], Ok("a.example /x -"));
    check_http2(target, &[("host", "A.example")], Ok("a.example /x -"));
    check_http2(target, &[("host", "b.example")], Err(400));
    check_http2("/x", &[HOST], Ok("a.example /x -"));
    check_http2("/x", &[], Err(400));
    let cookies = [("cookie", "a=1"), ("cookie", "b=2")];
    check_http2(target, &cookies, Ok("a.example /x a=1; b=2"));
}

#[test]
fn refusals_that_close() {
    let (_, admitted) = admit_on(head(Version::HTTP_11, "GET", "/", &[]), &Limits::default());
    let refusal = admitted.map(drop).expect_err("no host");
    assert_eq!((refusal.status, refusal.close), (StatusCode::BAD_REQUEST, true));
}
