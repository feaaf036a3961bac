//! `CORS`: which origins may read answers, told to browsers.
//!
//! In: the policy of a rule, and the `Origin` of a request. Out: the answer to a preflight, or the
//! fields that let a browser hand an answer to its script. Not here: refusals. A request of an
//! origin that is not permitted is forwarded all the same; it is the browser that keeps its answer
//! from the script.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, header, request};

use crate::matcher::HostPattern;

/// A policy for cross-origin requests (Fetch standard, section "CORS protocol").
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cors {
    /// The origins that are permitted.
    pub allow_origins: Vec<CorsOrigin>,
    /// Whether cookies and authorization may be sent along.
    pub allow_credentials: bool,
    /// Methods as written, in order; `*` alone is every method.
    pub allow_methods: Vec<Box<str>>,
    /// Request headers as written, in order; `*` alone is every header.
    pub allow_headers: Vec<Box<str>>,
    /// Response headers that scripts may read; `*` alone is every header.
    pub expose_headers: Vec<Box<str>>,
    /// Seconds for which a browser may remember a preflight.
    pub max_age: u32,
}

/// One entry of `allowOrigins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// `*`: every origin.
    Any,
    /// Scheme, host and port; the host may start with `*`.
    Origin {
        /// `http` or `https`, or another scheme in lower case.
        scheme: Box<str>,
        /// The host in lower case; `*.example.com` covers every name below `example.com`.
        host: HostPattern,
        /// The port, with that of the scheme filled in where it is not written.
        port: Option<u16>,
    },
}

impl CorsOrigin {
    /// Reads `*` or `scheme://host[:port]`; none if the text is neither.
    ///
    /// ```
    /// use gateway_core::filter::CorsOrigin;
    /// let origin = CorsOrigin::parse("https://*.bar.com").expect("well formed");
    /// assert!(origin.is_match("https://xpto.www.bar.com:443"));
    /// assert!(!origin.is_match("https://bar.com"));
    /// assert!(!origin.is_match("http://www.bar.com"));
    /// assert_eq!(CorsOrigin::parse("bar.com"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (scheme, host, port) = split_origin(text)?;
        // A `*` stands for whole labels, or alone for every host.
        let name = match host.strip_prefix('*') {
            None => host,
            Some(rest) if rest.is_empty() || rest.starts_with('.') => rest,
            Some(_) => return None,
        };
        (!name.contains('*')).then(|| Self::Origin {
            scheme: scheme.to_ascii_lowercase().into(),
            host: HostPattern::new(host),
            port,
        })
    }

    /// Whether `origin`, the value of an `Origin` field, is permitted. The opaque origin `null` is
    /// permitted by `*` only.
    #[must_use]
    pub fn is_match(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Origin { scheme, host, port } => {
                split_origin(origin).is_some_and(|(its_scheme, its_host, its_port)| {
                    scheme.eq_ignore_ascii_case(its_scheme)
                        && *port == its_port
                        && !its_host.contains('*')
                        && host.is_match(its_host)
                })
            }
        }
    }
}

/// Scheme, host (perhaps with `*`) and port, the port filled in for `http` and `https`.
fn split_origin(text: &str) -> Option<(&str, &str, Option<u16>)> {
    let (scheme, authority) = text.split_once("://")?;
    let (host, port) = match authority.rfind([':', ']']) {
        Some(at) if authority.as_bytes()[at] == b':' => {
            (&authority[..at], Some(authority[at + 1..].parse().ok()?))
        }
        _ => (authority, default_port(scheme)),
    };
    let of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let of_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@,\\".contains(&byte);
    let is_sound = !scheme.is_empty() && scheme.bytes().all(of_scheme);
    (is_sound && !host.is_empty() && host.bytes().all(of_host)).then_some((scheme, host, port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

impl Cors {
    /// The answer to a preflight; none if `head` is none.
    // SPEC: a preflight is an OPTIONS request with Origin and Access-Control-Request-Method. It is
    // answered here whatever its origin; without permission the answer has no CORS field.
    pub(super) fn preflight(&self, head: &request::Parts) -> Option<Response<()>> {
        let asked_method = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let origin = head.headers.get(header::ORIGIN)?;
        if head.method != Method::OPTIONS {
            return None;
        }
        // SPEC: 200 or 204; the conformance suite takes only 200 in one place.
        let mut answer = Response::new(());
        let headers = answer.headers_mut();
        vary(headers);
        if let Some(allowed) = self.allowed_origin(origin) {
            self.permit(headers, allowed);
            let methods = header::ACCESS_CONTROL_ALLOW_METHODS;
            list(headers, methods, &self.allow_methods, Some(asked_method));
            if let Some(asked) = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                let allowed = header::ACCESS_CONTROL_ALLOW_HEADERS;
                list(headers, allowed, &self.allow_headers, Some(asked));
            }
            if !(self.allow_credentials && is_wildcard(&self.expose_headers)) {
                let exposed = header::ACCESS_CONTROL_EXPOSE_HEADERS;
                list(headers, exposed, &self.expose_headers, None);
            }
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age));
        }
        Some(answer)
    }

    /// Adds the headers that let a browser hand the answer to its script. Those of the backend do
    /// not survive: the policy of the route is the one that holds.
    pub(super) fn decorate(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        vary(headers);
        let Some(origin) = origin else { return };
        for name in CORS_ANSWER_FIELDS {
            headers.remove(name);
        }
        if let Some(allowed) = self.allowed_origin(origin) {
            self.permit(headers, allowed);
            if let Some(exposed) = self.exposed(headers) {
                headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            }
        }
    }

    /// What `Access-Control-Allow-Origin` says to `origin`: itself, also for `*`, which browsers
    /// refuse with credentials; none if it is not permitted.
    fn allowed_origin(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let text = origin.to_str().ok()?;
        self.allow_origins.iter().any(|entry| entry.is_match(text)).then(|| origin.clone())
    }

    fn permit(&self, headers: &mut HeaderMap, allowed: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.allow_credentials {
            let credentials = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
        }
    }

    /// What an answer with these `headers` exposes. For `*` with credentials: their names.
    fn exposed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match &*self.expose_headers {
            [] => None,
            list if is_wildcard(list) && self.allow_credentials => {
                let names = headers.keys().filter(|name| !CORS_ANSWER_FIELDS.contains(name));
                joined(names.map(HeaderName::as_str))
            }
            list => joined(list.iter().map(|name| &**name)),
        }
    }
}

/// The fields of an answer that are the gateway's to write.
const CORS_ANSWER_FIELDS: [HeaderName; 6] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Tells caches that the answer depends on the origin.
fn vary(headers: &mut HeaderMap) {
    let says_so = |value: &HeaderValue| {
        value.as_bytes().split(|byte| *byte == b',').any(|name| {
            let name = name.trim_ascii();
            name == b"*" || name.eq_ignore_ascii_case(b"origin")
        })
    };
    if !headers.get_all(header::VARY).iter().any(says_so) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

/// Writes a list of the policy. For `*` it repeats what was `asked` for, which older browsers and
/// all of them with credentials need.
fn list(
    headers: &mut HeaderMap,
    field: HeaderName,
    names: &[Box<str>],
    asked: Option<&HeaderValue>,
) {
    let value = match asked {
        Some(asked) if is_wildcard(names) => Some(asked.clone()),
        _ => joined(names.iter().map(|name| &**name)),
    };
    if let Some(value) = value {
        headers.insert(field, value);
    }
}

fn is_wildcard(list: &[Box<str>]) -> bool {
    list.iter().any(|name| **name == *"*")
}

/// The names as one field value; none if there are none, or one of them is no field value.
fn joined<'n>(names: impl Iterator<Item = &'n str>) -> Option<HeaderValue> {
    let mut value = String::new();
    for name in names {
        if !value.is_empty() {
            value.push(',');
        }
        value.push_str(name);
    }
    (!value.is_empty()).then(|| HeaderValue::try_from(value).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Request, request};
    use proptest::prelude::*;

    use super::{Cors, CorsOrigin};

    fn names(list: &str) -> Vec<Box<str>> {
        list.split_whitespace().map(Into::into).collect()
    }

    fn cors(origins: &str, credentials: bool, methods: &str, headers: &str, expose: &str) -> Cors {
        Cors {
            allow_origins: origins
                .split_whitespace()
                .map(|origin| CorsOrigin::parse(origin).expect("well formed"))
                .collect(),
            allow_credentials: credentials,
            allow_methods: names(methods),
            allow_headers: names(headers),
            expose_headers: names(expose),
            max_age: 5,
        }
    }

    fn preflight(origin: &str, headers: Option<&str>) -> request::Parts {
        let mut request = Request::options("/x")
            .header("origin", origin)
            .header("access-control-request-method", "PUT");
        if let Some(headers) = headers {
            request = request.header("access-control-request-headers", headers);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// `a-c-` stands for `access-control-`.
    fn listed(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                let name = name.as_str().replace("access-control-", "a-c-");
                format!("{name}: {}", value.to_str().expect("text"))
            })
            .collect();
        lines.sort();
        lines
    }

    #[track_caller]
    fn check_origin(pattern: &str, origin: &str, expect: bool) {
        let pattern = CorsOrigin::parse(pattern).expect("well formed");
        assert_eq!(pattern.is_match(origin), expect);
    }

    #[test]
    fn origins() {
        check_origin("https://foo.com", "https://foo.com", true);
        check_origin("https://foo.com", "https://foo.com:443", true);
        check_origin("https://FOO.com", "HTTPS://foo.COM", true);
        check_origin("https://foo.com", "http://foo.com", false);
        check_origin("https://foo.com", "https://foo.com:8443", false);
        check_origin("https://foo.com:8443", "https://foo.com:8443", true);
        check_origin("https://foo.com:8443", "https://foo.com", false);
        check_origin("http://foo.com:80", "http://foo.com", true);
        check_origin("https://*.bar.com", "https://www.bar.com", true);
        check_origin("https://*.bar.com", "https://xpto.www.bar.com", true);
        check_origin("https://*.bar.com", "https://bar.com", false);
        check_origin("https://*.bar.com", "https://.bar.com", false);
        check_origin("https://*.bar.com", "https://www.bar.com.evil.com", false);
        check_origin("https://*.bar.com", "https://evil.com/www.bar.com", false);
        check_origin("https://*.bar.com", "https://evil.com#.bar.com", false);
        check_origin("https://*.bar.com", "https://u@www.bar.com", false);
        check_origin("https://*", "https://anything.example", true);
        check_origin("https://*", "https://*", false);
        check_origin("https://*", "https://a,b", false);
        check_origin("https://[::1]:8443", "https://[::1]:8443", true);
        check_origin("app://x", "app://x", true);
        check_origin("https://foo.com", "null", false);
        check_origin("*", "null", true);
        check_origin("*", "https://foo.com:1234", true);
    }

    #[test]
    fn texts_that_are_no_origin() {
        for text in [
            "",
            "foo.com",
            "://foo.com",
            "ht tp://foo.com",
            "https://",
            "https://:1",
            "https://foo.com:port",
            "https://foo.com/",
            "https://foo.com\\x",
            "https://foo com",
            "https://fo\u{f6}.com",
            "https://a.*.com",
            "https://*foo.com",
            "https://*.*.com",
        ] {
            assert_eq!(CorsOrigin::parse(text), None, "{text}");
        }
    }

    #[track_caller]
    fn check_preflight(cors: &Cors, request: &request::Parts, expect: &[&str]) {
        let answer = cors.preflight(request).expect("a preflight");
        assert_eq!(answer.status(), 200);
        assert_eq!(listed(answer.headers()), expect);
    }

    #[test]
    fn a_preflight_is_told_the_lists_as_configured() {
        let cors = cors("https://a.com", true, "GET PUT", "x-one X-Two", "x-out");
        check_preflight(
            &cors,
            &preflight("https://a.com", Some("x-one")),
            &[
                "a-c-allow-credentials: true",
                "a-c-allow-headers: x-one,X-Two",
                "a-c-allow-methods: GET,PUT",
                "a-c-allow-origin: https://a.com",
                "a-c-expose-headers: x-out",
                "a-c-max-age: 5",
                "vary: Origin",
            ],
        );
    }

    #[test]
    fn headers_that_were_not_asked_for_are_not_told() {
        check_preflight(
            &cors("https://a.com", false, "", "x-one", ""),
            &preflight("https://a.com", None),
            &["a-c-allow-origin: https://a.com", "a-c-max-age: 5", "vary: Origin"],
        );
    }

    #[test]
    fn another_origin_is_told_nothing() {
        let cors = cors("https://a.com", true, "*", "*", "*");
        check_preflight(&cors, &preflight("https://b.com", Some("x")), &["vary: Origin"]);
    }

    #[test]
    fn wildcards_without_credentials_repeat_the_request() {
        check_preflight(
            &cors("*", false, "*", "*", "*"),
            &preflight("https://a.com", Some("x-one")),
            &[
                "a-c-allow-headers: x-one",
                "a-c-allow-methods: PUT",
                "a-c-allow-origin: https://a.com",
                "a-c-expose-headers: *",
                "a-c-max-age: 5",
                "vary: Origin",
            ],
        );
    }

    #[test]
    fn wildcards_with_credentials_repeat_the_request() {
        check_preflight(
            &cors("*", true, "*", "*", "*"),
            &preflight("https://a.com", Some("x-one, x-two")),
            &[
                "a-c-allow-credentials: true",
                "a-c-allow-headers: x-one, x-two",
                "a-c-allow-methods: PUT",
                "a-c-allow-origin: https://a.com",
                "a-c-max-age: 5",
                "vary: Origin",
            ],
        );
    }

    #[test]
    fn only_options_with_origin_and_method_is_a_preflight() {
        let cors = cors("*", false, "*", "*", "");
        let mut get = preflight("https://a.com", None);
        get.method = http::Method::GET;
        let mut no_method = preflight("https://a.com", None);
        no_method.headers.remove("access-control-request-method");
        let mut no_origin = preflight("https://a.com", None);
        no_origin.headers.remove("origin");
        for request in [get, no_method, no_origin] {
            assert!(cors.preflight(&request).is_none(), "{request:?}");
        }
    }

    #[track_caller]
    fn check_decorate(
        cors: &Cors,
        origin: Option<&'static str>,
        from_backend: &[&str],
        to: &[&str],
    ) {
        let mut headers = HeaderMap::new();
        for line in from_backend {
            let (name, value) = line.split_once(": ").expect("name and value");
            let name = http::HeaderName::try_from(name.replace("a-c-", "access-control-"));
            let value = HeaderValue::try_from(value).expect("a value");
            headers.append(name.expect("a name"), value);
        }
        cors.decorate(&mut headers, origin.map(HeaderValue::from_static).as_ref());
        assert_eq!(listed(&headers), to);
    }

    #[test]
    fn answers() {
        let one = cors("https://a.com", true, "", "", "x-out");
        check_decorate(
            &one,
            Some("https://a.com"),
            &["a-c-allow-origin: *", "a-c-allow-methods: PUT", "vary: Accept"],
            &[
                "a-c-allow-credentials: true",
                "a-c-allow-origin: https://a.com",
                "a-c-expose-headers: x-out",
                "vary: Accept",
                "vary: Origin",
            ],
        );
        check_decorate(&one, Some("https://b.com"), &["a-c-allow-origin: *"], &["vary: Origin"]);
        check_decorate(
            &one,
            None,
            &["a-c-allow-origin: *", "vary: accept, ORIGIN"],
            &["a-c-allow-origin: *", "vary: accept, ORIGIN"],
        );
        check_decorate(&one, None, &["vary: *"], &["vary: *"]);
        let all = cors("*", false, "", "", "*");
        check_decorate(
            &all,
            Some("null"),
            &[],
            &["a-c-allow-origin: null", "a-c-expose-headers: *", "vary: Origin"],
        );
    }

    #[test]
    fn every_header_with_credentials_is_named() {
        check_decorate(
            &cors("*", true, "", "", "*"),
            Some("https://a.com"),
            &["x-out: 1"],
            &[
                "a-c-allow-credentials: true",
                "a-c-allow-origin: https://a.com",
                "a-c-expose-headers: x-out,vary",
                "vary: Origin",
                "x-out: 1",
            ],
        );
    }

    proptest! {
        #[test]
        fn credentials_never_go_with_a_wildcard(
            origin in "(https?://)?[a-z.*:0-9]{0,12}",
            expose in proptest::sample::select(vec!["", "*", "x-a x-b"]),
        ) {
            let cors = cors("* https://*.a", true, "*", "*", expose);
            let answer = cors.preflight(&preflight(&origin, Some("x-one"))).expect("a preflight");
            let mut headers = HeaderMap::new();
            cors.decorate(&mut headers, HeaderValue::try_from(&origin).ok().as_ref());
            for headers in [answer.headers(), &headers] {
                prop_assert!(headers.values().all(|value| value != "*" || origin == "*"));
            }
        }

        #[test]
        fn hostile_origins_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let Ok(origin) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let cors = cors("https://*.a https://b:1", true, "*", "*", "*");
            let mut headers = HeaderMap::new();
            cors.decorate(&mut headers, Some(&origin));
            if let Some(allowed) = headers.get("access-control-allow-origin") {
                prop_assert_eq!(allowed, &origin);
            }
        }
    }
}
