//! The question as an HTTP request: same method and path, 200 allows, all else is the answer.

use bytes::Bytes;
use gateway_core::{filter::ExternalAuth, matcher::RequestHead};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header, request};

use super::{Changes, Verdict};
use crate::{GatewayBody, ProxyBody, Purpose, SelectedBackend, Upstream, dispatch::Dispatch};

/// The question about `head`, with `shown` as its body.
// SPEC: Host, method, path, Content-Length and Authorization are always sent; Content-Length is
// that of the question.
pub(super) fn question<B>(
    head: &request::Parts,
    prefix: &str,
    allowed: &[HeaderName],
    shown: Bytes,
) -> Request<ProxyBody<B>> {
    let length = shown.len();
    let mut question = Request::new(ProxyBody::whole(shown));
    *question.method_mut() = head.method.clone();
    *question.uri_mut() = target(head, prefix);
    let headers = question.headers_mut();
    for name in allowed.iter().chain([&header::AUTHORIZATION]) {
        if headers.contains_key(name) {
            continue;
        }
        for value in head.headers.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    if let Ok(host) = HeaderValue::from_str(RequestHead::of(head).authority) {
        headers.insert(header::HOST, host);
    }
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    question
}

/// The path and query of the request behind `prefix`.
fn target(head: &request::Parts, prefix: &str) -> Uri {
    let original = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let prefix = prefix.trim_end_matches('/');
    let target = format!("{prefix}{original}");
    if target.starts_with('/') {
        target.parse().unwrap_or_default()
    } else {
        format!("/{target}").parse().unwrap_or_default()
    }
}

impl<U> Dispatch<'_, U> {
    pub(super) async fn ask_http<B>(
        &self,
        auth: &ExternalAuth,
        question: Request<ProxyBody<B>>,
        allowed_response: &[HeaderName],
    ) -> Verdict<U::Body>
    where
        U: Upstream<B>,
    {
        let to = SelectedBackend::new(&auth.backend, Purpose::ExternalAuth);
        let Ok(answer) = self.shared.upstream.send(to, question).await else {
            return Verdict::Unknown;
        };
        let response = answer.response;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Verdict::Unknown;
        }
        if response.status() != StatusCode::OK {
            return Verdict::Deny(Box::new(response.map(GatewayBody::forwarded)));
        }
        let mut changes = Changes::default();
        for name in allowed_response {
            let values = response.headers().get_all(name).iter();
            changes.set.extend(values.map(|value| (name.clone(), value.clone())));
        }
        Verdict::Allow(changes)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Request};

    use super::question;
    use crate::test_support::Frames;

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
            .collect();
        lines.sort();
        lines
    }

    #[track_caller]
    fn check_target(prefix: &str, uri: &str, expect: &str) {
        let (head, ()) = Request::get(uri).body(()).expect("a request").into_parts();
        let asked = question::<Frames>(&head, prefix, &[], Bytes::new());
        assert_eq!(asked.uri(), expect);
    }

    #[test]
    fn targets() {
        check_target("", "/a?b=c", "/a?b=c");
        check_target("/", "/a?b=c", "/a?b=c");
        check_target("/check", "/a?b=c", "/check/a?b=c");
        check_target("/check/", "/", "/check/");
        check_target("check", "/a", "/check/a");
        check_target("/check", "http://shop.example/a", "/check/a");
    }

    #[test]
    fn only_what_is_allowed_is_told() {
        let (head, ()) = Request::post("/pay")
            .header("host", "shop.example")
            .header("authorization", "Bearer x")
            .header("cookie", "secret")
            .header("x-tenant", "a")
            .header("x-tenant", "b")
            .header("content-length", "999")
            .body(())
            .expect("a request")
            .into_parts();
        let allowed =
            ["x-tenant", "authorization", "x-tenant"].map(|name| name.parse().expect("a name"));
        let asked = question::<Frames>(&head, "", &allowed, Bytes::from_static(b"body"));
        assert_eq!(asked.method(), "POST");
        assert_eq!(
            lines(asked.headers()),
            [
                "authorization: Bearer x",
                "content-length: 4",
                "host: shop.example",
                "x-tenant: a",
                "x-tenant: b",
            ]
        );
    }
}
