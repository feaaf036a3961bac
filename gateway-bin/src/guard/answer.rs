//! What is refused or cleaned of a backend's answer before a client sees it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};

use super::hop;

/// Checks the head of an answer and removes the fields of the backend's connection.
///
/// # Errors
/// With the reason, if the answer must not be passed on: its end would be doubtful, or it changes
/// the protocol though `upgrade` did not ask for that.
pub(crate) fn admit(
    head: &mut response::Parts,
    upgrade: Option<&HeaderValue>,
) -> Result<(), &'static str> {
    let seen = Seen::of(&head.headers);
    if seen.content_lengths > 1 {
        return Err("more than one Content-Length");
    }
    if seen.transfer_encodings > 0 {
        check_coding(&head.headers, &seen)?;
        head.headers.remove(header::TRANSFER_ENCODING);
    }
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return admit_upgrade(&mut head.headers, upgrade);
    }
    if seen.connection {
        hop::strip_connection(&mut head.headers);
    }
    if seen.others {
        for name in ["keep-alive", "proxy-connection", "te", "upgrade", "http2-settings"] {
            head.headers.remove(name);
        }
    }
    Ok(())
}

fn check_coding(headers: &HeaderMap, seen: &Seen) -> Result<(), &'static str> {
    if seen.content_lengths > 0 {
        return Err("both Content-Length and Transfer-Encoding");
    }
    let coding = headers.get(header::TRANSFER_ENCODING);
    let chunked = coding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if seen.transfer_encodings > 1 || !chunked {
        return Err("the Transfer-Encoding is not one chunked");
    }
    Ok(())
}

fn admit_upgrade(
    headers: &mut HeaderMap,
    wanted: Option<&HeaderValue>,
) -> Result<(), &'static str> {
    let Some(wanted) = wanted else { return Err("101 that nobody asked for") };
    let got = headers.get(header::UPGRADE).ok_or("101 without Upgrade")?.clone();
    if !got.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()) {
        return Err("101 to a protocol that nobody asked for");
    }
    hop::strip_connection(headers);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, got);
    Ok(())
}

/// Fields that must not come at the end of a message: they would change what came before, or pass
/// a check that looked at the head only (RFC 9110 section 6.5.1).
pub(crate) fn strip_trailers(trailers: &mut HeaderMap) {
    const FORBIDDEN: [HeaderName; 12] = [
        header::AUTHORIZATION,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::HOST,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
    ];
    for name in &FORBIDDEN {
        trailers.remove(name);
    }
    // Some backends read trailers as fields that came late.
    let is_forgeable = |name: &&HeaderName| super::forwarded::is_forgeable(name.as_str());
    let forgeable: Vec<HeaderName> = trailers.keys().filter(is_forgeable).cloned().collect();
    for name in forgeable {
        trailers.remove(name);
    }
}

#[derive(Default)]
struct Seen {
    content_lengths: usize,
    transfer_encodings: usize,
    connection: bool,
    others: bool,
}

impl Seen {
    fn of(headers: &HeaderMap) -> Self {
        let mut seen = Self::default();
        for name in headers.iter().map(|(name, _)| name.as_str()) {
            match name {
                "content-length" => seen.content_lengths += 1,
                "transfer-encoding" => seen.transfer_encodings += 1,
                "connection" => seen.connection = true,
                "keep-alive" | "proxy-connection" | "te" | "upgrade" | "http2-settings" => {
                    seen.others = true;
                }
                _ => {}
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Response};

    use super::admit;

    #[track_caller]
    fn check(
        status: u16,
        fields: &[(&str, &str)],
        upgrade: Option<&'static str>,
        expect: Result<&[&str], &str>,
    ) {
        let mut answer = Response::builder().status(status);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        let (mut head, ()) = answer.body(()).expect("an answer").into_parts();
        let admitted = admit(&mut head, upgrade.map(HeaderValue::from_static).as_ref());
        let names: Vec<_> = head.headers.keys().map(|name| name.as_str()).collect();
        assert_eq!(admitted.map(|()| &*names), expect);
    }

    #[test]
    fn answers_of_doubtful_end_are_refused() {
        let (length, coded) = (("content-length", "3"), ("transfer-encoding", "chunked"));
        check(200, &[length], None, Ok(&["content-length"]));
        check(200, &[coded], None, Ok(&[]));
        check(200, &[length, coded], None, Err("both Content-Length and Transfer-Encoding"));
        check(200, &[length, length], None, Err("more than one Content-Length"));
        let other = ("transfer-encoding", "gzip, chunked");
        check(200, &[other], None, Err("the Transfer-Encoding is not one chunked"));
        check(200, &[coded, coded], None, Err("the Transfer-Encoding is not one chunked"));
    }

    #[test]
    fn protocols_change_only_if_asked() {
        let fields = [("connection", "upgrade, x"), ("upgrade", "WebSocket"), ("x", "1")];
        check(101, &fields, None, Err("101 that nobody asked for"));
        check(101, &fields, Some("websocket"), Ok(&["upgrade", "connection"]));
        check(101, &fields, Some("other"), Err("101 to a protocol that nobody asked for"));
        check(101, &[], Some("other"), Err("101 without Upgrade"));
        check(200, &fields, Some("websocket"), Ok(&[]));
    }

    #[test]
    fn fields_of_the_hop_are_gone() {
        let fields = [
            ("connection", "close, x-internal"),
            ("x-internal", "1"),
            ("keep-alive", "timeout=5"),
            ("server", "s"),
        ];
        check(200, &fields, None, Ok(&["server"]));
    }
}
