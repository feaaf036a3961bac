//! What is refused or cleaned before a request is routed.
//!
//! In: a request as hyper parsed it. Out: the same request in one normal form, so that what is
//! matched is what is forwarded, or a [`Refusal`]. Not here: what hyper and h2 refuse themselves
//! (broken syntax, contradicting lengths, HPACK and CONTINUATION limits), and anything that a
//! route decides.

pub(crate) mod answer;
pub(crate) mod body;
mod forwarded;
pub(crate) mod frames;
pub(crate) mod framing;
mod hop;
mod host;
mod path;

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request, uri};
use smallvec::SmallVec;

pub use forwarded::Peer;
pub use framing::Framing;

/// Limits of what clients may send, with safe defaults.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request target; beyond: 414.
    pub target_bytes: usize,
    /// Bytes of all header fields together; beyond: 431.
    pub head_bytes: usize,
    /// Header fields; beyond: 431.
    pub headers: usize,
    /// From the first byte of a request head to its last; beyond: 408.
    pub head_time: Duration,
    /// TLS handshakes.
    pub handshake_time: Duration,
    /// A connection without requests.
    pub idle_time: Duration,
    /// A connection that changed its protocol, without bytes either way.
    pub tunnel_idle: Duration,
    /// Bytes a second that an HTTP/1.1 request body must make after `body_grace`; beyond: 408.
    pub body_rate: u64,
    /// Before `body_rate` counts.
    pub body_grace: Duration,
    /// A client that reads nothing while an answer waits.
    pub write_stall: Duration,
    /// Connections of all sockets together.
    pub connections: usize,
    /// Connections of one socket.
    pub connections_per_bind: usize,
    /// Requests of all connections that are answered at a time, and with them what is kept of their
    /// bodies for retries and mirrors; beyond: 503. Each worker has its part.
    pub requests: usize,
    /// Streams of an HTTP/2 connection at a time.
    pub streams: u32,
    /// Proxies before this one whose `X-Forwarded-*` fields are believed. With 0 those of the
    /// client are dropped.
    pub trusted_hops: usize,
    /// Whether backends are told who a client is by its verified certificate, in the field
    /// `X-Forwarded-Client-Cert`. What clients write there themselves is dropped always.
    pub client_certificates: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes: 8_000,
            head_bytes: 64 * 1024,
            headers: 100,
            head_time: Duration::from_secs(10),
            handshake_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(60),
            tunnel_idle: Duration::from_secs(3600),
            body_rate: 240,
            body_grace: Duration::from_secs(10),
            write_stall: Duration::from_secs(60),
            connections: 50_000,
            connections_per_bind: 10_000,
            requests: 100_000,
            streams: 100,
            trusted_hops: 0,
            client_certificates: false,
        }
    }
}

/// Why a request is not even routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// What is wrong, for the client and the log.
    pub reason: &'static str,
    /// Whether the connection must end, because its next bytes cannot be trusted.
    pub close: bool,
}

impl Refusal {
    const fn bad(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason, close: true }
    }

    const fn new(status: StatusCode, reason: &'static str) -> Self {
        Self { status, reason, close: false }
    }
}

/// What is left to know of an admitted request besides its head.
#[derive(Debug, Default)]
pub struct Admitted {
    /// The protocol that the client wants to change to, if that is allowed.
    pub upgrade: Option<HeaderValue>,
    /// The client waits for `100 Continue` before it sends its body.
    pub expects_continue: bool,
}

/// Checks `head` and brings it into its normal form: the target is origin form, `Host` names the
/// authority, the path is free of tricks, fields for this hop are gone, `X-Forwarded-*` are ours.
///
/// # Errors
/// If the request must not be routed.
pub fn admit(
    head: &mut request::Parts,
    peer: &Peer,
    framing: Framing,
    limits: &Limits,
) -> Result<Admitted, Refusal> {
    check_method(&head.method)?;
    check_target_length(&head.uri, limits)?;
    let seen = Seen::of(head, limits)?;
    if head.version < Version::HTTP_2 {
        framing::check(head, framing, &seen)?;
    }
    host::settle(head, seen.hosts)?;
    path::settle(head)?;
    let admitted = hop::strip_request(head, &seen);
    for name in &seen.dropped {
        head.headers.remove(name);
    }
    if head.version == Version::HTTP_2 && seen.cookies > 1 {
        join_cookies(head);
    }
    forwarded::set(head, peer, limits.trusted_hops);
    Ok(admitted)
}

fn check_method(method: &Method) -> Result<(), Refusal> {
    // SPEC: RFC 9110 sections 9.3.6 and 9.3.8: tunnels and echoes are of no use behind a gateway
    // and of much use to an attacker.
    if *method == Method::CONNECT || *method == Method::TRACE {
        return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"));
    }
    Ok(())
}

fn check_target_length(target: &Uri, limits: &Limits) -> Result<(), Refusal> {
    let path = target.path_and_query().map_or(0, |path| path.as_str().len());
    let authority = target.authority().map_or(0, |authority| authority.as_str().len());
    if path + authority > limits.target_bytes {
        return Err(Refusal::new(StatusCode::URI_TOO_LONG, "request target too long"));
    }
    Ok(())
}

/// What one look at all header fields tells.
#[derive(Debug, Default)]
struct Seen {
    hosts: usize,
    cookies: usize,
    content_lengths: usize,
    transfer_encodings: usize,
    connection: bool,
    upgrade: bool,
    te: bool,
    expect: bool,
    /// Fields that no backend may get.
    dropped: SmallVec<[HeaderName; 4]>,
}

impl Seen {
    // One walk over all fields is cheaper than a probe for each name that matters.
    fn of(head: &request::Parts, limits: &Limits) -> Result<Self, Refusal> {
        let mut seen = Self::default();
        let (mut count, mut bytes) = (0, 0);
        for (name, value) in &head.headers {
            count += 1;
            bytes += name.as_str().len() + value.len() + 4;
            seen.see(name, limits);
        }
        if count > limits.headers {
            return Err(too_large("too many header fields"));
        }
        if bytes > limits.head_bytes {
            return Err(too_large("header fields too large"));
        }
        Ok(seen)
    }

    fn see(&mut self, name: &HeaderName, limits: &Limits) {
        match name.as_str() {
            "host" => self.hosts += 1,
            "cookie" => self.cookies += 1,
            "content-length" => self.content_lengths += 1,
            "transfer-encoding" => self.transfer_encodings += 1,
            "connection" => self.connection = true,
            "upgrade" => self.upgrade = true,
            "te" => self.te = true,
            "expect" => self.expect = true,
            "keep-alive" | "proxy-connection" | "http2-settings" => {
                self.dropped.push(name.clone());
            }
            // No proxy in front can know who the other end of this connection is.
            "x-forwarded-client-cert" => self.dropped.push(name.clone()),
            other if forwarded::is_forgeable(other) && limits.trusted_hops == 0 => {
                self.dropped.push(name.clone());
            }
            // Many backends cannot tell `a_b` from `a-b`, so one could pass for the other.
            other if other.contains('_') => self.dropped.push(name.clone()),
            _ => {}
        }
    }
}

fn too_large(reason: &'static str) -> Refusal {
    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    Refusal { status, reason, close: true }
}

/// HTTP/2 clients may split cookies to compress them better; HTTP/1.1 backends expect one field
/// (RFC 9113 section 8.2.3).
fn join_cookies(head: &mut request::Parts) {
    let mut joined = Vec::new();
    for cookie in head.headers.get_all(header::COOKIE) {
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(cookie.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        head.headers.insert(header::COOKIE, joined);
    }
}

/// A target of path and query only.
fn origin_form(target: &Uri) -> Uri {
    let mut parts = uri::Parts::default();
    parts.path_and_query = target.path_and_query().cloned();
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"))
}

#[cfg(test)]
mod tests {
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
}
