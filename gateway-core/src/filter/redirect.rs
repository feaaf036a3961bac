//! `RequestRedirect`: an answer that points elsewhere.

use http::{HeaderValue, Response, StatusCode, header, request, uri::Authority};

use super::{PathModifier, RequestFacts};
use crate::matcher::{RequestHead, Scheme};

/// Where the client is sent, as far as it differs from the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The scheme of the location; none: that of the request.
    pub scheme: Option<Scheme>,
    /// The host of the location; none: that of the request, without its port.
    pub hostname: Option<Box<str>>,
    /// How the path changes; none: as in the request. The query stays.
    pub path: Option<PathModifier>,
    /// The port of the location; none: that of the scheme if one is set, else the listener's.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl Default for Redirect {
    fn default() -> Self {
        let status = StatusCode::FOUND;
        Self { scheme: None, hostname: None, path: None, port: None, status }
    }
}

impl Redirect {
    pub(super) fn answer(&self, head: &request::Parts, facts: &RequestFacts) -> Response<()> {
        let mut answer = Response::new(());
        match self.location(head, facts).and_then(|to| HeaderValue::try_from(to).ok()) {
            Some(location) => {
                *answer.status_mut() = self.status;
                answer.headers_mut().insert(header::LOCATION, location);
            }
            // The host came from the request and is none; there is nowhere to point to.
            None => *answer.status_mut() = StatusCode::BAD_REQUEST,
        }
        answer
    }

    // SPEC: HTTPRequestRedirectFilter: port rules; the well-known port of the scheme is left out.
    fn location(&self, head: &request::Parts, facts: &RequestFacts) -> Option<String> {
        let request = RequestHead::of(head);
        let scheme = self.scheme.unwrap_or(facts.scheme);
        let host = match self.hostname.as_deref() {
            Some(hostname) => hostname,
            None => Some(request.host()).filter(|host| is_host(host))?,
        };
        let port = match (self.port, self.scheme) {
            (Some(port), _) => port,
            (None, Some(scheme)) => scheme.default_port(),
            (None, None) => facts.listener_port,
        };
        let mut location = format!("{}://{host}", scheme.as_str());
        if port != scheme.default_port() {
            location.push(':');
            location.push_str(&port.to_string());
        }
        match &self.path {
            Some(modifier) => location.push_str(&modifier.apply(request.path, facts)),
            // The request-target `*` names no path.
            None if !request.path.starts_with('/') => location.push('/'),
            None => location.push_str(request.path),
        }
        if let Some(query) = request.query {
            location.push('?');
            location.push_str(query);
        }
        Some(location)
    }
}

/// Whether `host`, as the client sent it, may stand in a URL as it is.
fn is_host(host: &str) -> bool {
    !host.contains('@') && Authority::try_from(host).is_ok_and(|authority| authority.host() == host)
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode, request};
    use proptest::prelude::*;

    use super::Redirect;
    use crate::{
        filter::{PathModifier, RequestFacts},
        matcher::Scheme::{Http, Https},
    };

    fn get(uri: &str, host: &str) -> request::Parts {
        let request = Request::get(uri).header("host", host).body(());
        request.expect("a request").into_parts().0
    }

    #[track_caller]
    fn check(redirect: &Redirect, head: &request::Parts, facts: &RequestFacts, expect: &str) {
        let answer = redirect.answer(head, facts);
        assert_eq!(answer.headers()["location"], expect);
        assert_eq!(answer.status(), redirect.status);
    }

    #[test]
    fn ports_and_schemes() {
        let rows = [
            ((80, Http), None, None, "http://example.org/x"),
            ((80, Http), None, Some(80), "http://example.org/x"),
            ((80, Http), None, Some(8080), "http://example.org:8080/x"),
            ((80, Http), Some(Https), None, "https://example.org/x"),
            ((80, Http), Some(Https), Some(443), "https://example.org/x"),
            ((80, Http), Some(Https), Some(8443), "https://example.org:8443/x"),
            ((8080, Http), None, None, "http://example.org:8080/x"),
            ((8080, Http), None, Some(80), "http://example.org/x"),
            ((8080, Http), Some(Https), None, "https://example.org/x"),
            ((443, Https), None, None, "https://example.org/x"),
            ((443, Https), None, Some(443), "https://example.org/x"),
            ((443, Https), None, Some(8443), "https://example.org:8443/x"),
            ((443, Https), Some(Http), None, "http://example.org/x"),
            ((443, Https), Some(Http), Some(80), "http://example.org/x"),
            ((443, Https), Some(Http), Some(8080), "http://example.org:8080/x"),
        ];
        for ((listener_port, received), scheme, port, expect) in rows {
            let hostname = Some("example.org".into());
            let redirect = Redirect { scheme, port, hostname, ..Redirect::default() };
            let facts = RequestFacts { scheme: received, listener_port, matched_prefix: None };
            check(&redirect, &get("/x", "other.example:1234"), &facts, expect);
        }
    }

    fn facts(matched_prefix: Option<usize>) -> RequestFacts {
        RequestFacts { scheme: Http, listener_port: 80, matched_prefix }
    }

    #[test]
    fn hosts() {
        let redirect = Redirect::default();
        for (uri, host, expect) in [
            ("/a?b=c", "x.example", "http://x.example/a?b=c"),
            ("/", "x.example:9999", "http://x.example/"),
            ("http://uri.example/p", "x.example", "http://uri.example/p"),
            ("/", "[::1]:80", "http://[::1]/"),
            ("*", "x.example", "http://x.example/"),
            ("//evil.example/", "x.example", "http://x.example//evil.example/"),
        ] {
            check(&redirect, &get(uri, host), &facts(None), expect);
        }
    }

    #[test]
    fn a_host_that_is_none_gets_no_location() {
        for host in ["", "evil.example/x", "a@evil.example", "a b", "a:1:2", ":80", "é"] {
            let answer = Redirect::default().answer(&get("/", host), &facts(None));
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{host}");
            assert!(answer.headers().is_empty());
        }
    }

    #[test]
    fn paths_and_statuses() {
        let prefix = PathModifier::ReplacePrefixMatch("/replacement-prefix".into());
        let full = PathModifier::ReplaceFullPath("/full-path-replacement".into());
        for (path, expect) in [
            (prefix, "http://x.example/replacement-prefix/lemon?q"),
            (full, "http://x.example/full-path-replacement?q"),
        ] {
            for status in [301, 302, 303, 307, 308] {
                let status = StatusCode::from_u16(status).expect("a status");
                let redirect = Redirect { path: Some(path.clone()), status, ..Redirect::default() };
                let head = get("/original-prefix/lemon?q", "x.example");
                check(&redirect, &head, &facts(Some("/original-prefix".len())), expect);
            }
        }
    }

    proptest! {
        #[test]
        fn a_location_is_a_uri_of_the_right_host(host in "\\PC{0,12}", query in "[a-z=&?%]{0,8}") {
            let uri = format!("/p?{query}");
            let Ok(request) = Request::get(uri).header("host", &host).body(()) else {
                return Ok(());
            };
            let answer = Redirect::default().answer(&request.into_parts().0, &facts(None));
            let Some(location) = answer.headers().get("location") else { return Ok(()) };
            let location = http::Uri::try_from(location.as_bytes()).expect("a URI");
            prop_assert!(host.starts_with(location.host().expect("a host")));
            prop_assert_eq!(location.query(), Some(&*query));
        }
    }
}
