//! Fields that concern one connection and end with it (RFC 9110 section 7.6.1).

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request};
use smallvec::SmallVec;

use super::{Admitted, Seen};

/// Removes the fields of the client's connection and tells what it asked of us.
pub(super) fn strip_request(head: &mut request::Parts, seen: &Seen) -> Admitted {
    let upgrade = if seen.upgrade && seen.connection { wanted_upgrade(head, seen) } else { None };
    let headers = &mut head.headers;
    if seen.te {
        keep_trailers_only(headers);
    }
    if seen.connection {
        strip_connection(headers);
    }
    if seen.upgrade {
        headers.remove(header::UPGRADE);
    }
    if seen.transfer_encodings > 0 {
        headers.remove(header::TRANSFER_ENCODING);
    }
    if let Some(protocol) = &upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    let expects_continue = seen.expect
        && head.version == Version::HTTP_11
        && headers
            .get(header::EXPECT)
            .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    Admitted { upgrade, expects_continue }
}

/// Removes `Connection` and all that it names, save what is not for it to remove.
pub(super) fn strip_connection(headers: &mut HeaderMap) {
    // What most clients and servers write names no field.
    let plain = |value: &HeaderValue| {
        [&b"keep-alive"[..], b"close"]
            .iter()
            .any(|token| value.as_bytes().eq_ignore_ascii_case(token))
    };
    if headers.get_all(header::CONNECTION).iter().all(plain) {
        headers.remove(header::CONNECTION);
        return;
    }
    let named: SmallVec<[HeaderName; 2]> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != "close" && *name != "keep-alive" && !is_protected(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    headers.remove(header::CONNECTION);
}

/// Fields that a client must not make vanish between this gateway and a backend.
fn is_protected(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "content-length"
            | "content-type"
            | "transfer-encoding"
            | "authorization"
            | "cookie"
            | "te"
            | "upgrade"
    ) || super::forwarded::is_forgeable(name.as_str())
}

/// The one protocol that the client wants to change to. HTTP itself is not for backends to speak
/// to a client that was routed once, and a request with a body could hide another behind it.
fn wanted_upgrade(head: &request::Parts, seen: &Seen) -> Option<HeaderValue> {
    let no_body = seen.transfer_encodings == 0
        && head.headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
    let asked = head
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
    let mut wanted = head.headers.get_all(header::UPGRADE).iter();
    let (protocol, None) = (wanted.next()?, wanted.next()) else { return None };
    let usable = head.version == Version::HTTP_11 && no_body && asked && is_usable(protocol);
    usable.then(|| protocol.clone())
}

fn is_usable(protocol: &HeaderValue) -> bool {
    let name = protocol.as_bytes();
    let token =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'/');
    let starts =
        |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    !name.is_empty()
        && name.iter().all(token)
        && !starts(b"h2")
        && !starts(b"http")
        && !starts(b"tls")
}

/// `TE: trailers` is the one coding that is passed on: gRPC asks for it.
fn keep_trailers_only(headers: &mut HeaderMap) {
    let trailers = headers
        .get_all(header::TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .any(|coding| {
            let name = coding.split(|byte| *byte == b';').next().unwrap_or(coding);
            name.trim_ascii().eq_ignore_ascii_case(b"trailers")
        });
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::TE);
    }
}
