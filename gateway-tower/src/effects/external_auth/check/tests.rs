use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};

use super::{Changes, Denied, Facts, Response, request, response};
use crate::effects::external_auth::protobuf::{Malformed, Reader, Value, Writer};

/// The content of the message at `path`, a list of field numbers.
fn at<'m>(message: &'m [u8], path: &[u32]) -> Vec<&'m [u8]> {
    let [field, rest @ ..] = path else { return vec![message] };
    Reader::new(message)
        .filter_map(|read| match read.expect("well formed") {
            (number, Value::Bytes(inner)) if number == *field => Some(at(inner, rest)),
            _ => None,
        })
        .flatten()
        .collect()
}

fn texts(message: &[u8], path: &[u32]) -> Vec<String> {
    let texts = at(message, path).into_iter().map(|bytes| String::from_utf8_lossy(bytes).into());
    texts.collect()
}

fn asked(allowed: &[HeaderName], body: &'static [u8]) -> Vec<u8> {
    let (head, ()) = Request::post("/pay?x=1")
        .header("host", "shop.example")
        .header("x-a", "1")
        .header("x-a", "2")
        .header("x-b", HeaderValue::from_bytes(b"\xff").expect("opaque"))
        .body(())
        .expect("a request")
        .into_parts();
    let facts = Facts {
        peer: Some("192.0.2.1:999".parse().expect("an address")),
        scheme: "https",
        body: Bytes::from_static(body),
    };
    request(&head, allowed, &facts)
}

#[test]
fn a_request_tells_what_the_service_needs() {
    let message = asked(&[], b"text");
    let http = [1, 4, 2];
    for (field, expect) in [
        (2, "POST"),
        (4, "/pay?x=1"),
        (5, "shop.example"),
        (6, "https"),
        (10, "HTTP/1.1"),
        (11, "text"),
    ] {
        assert_eq!(texts(&message, &[&http[..], &[field]].concat()), [expect], "{field}");
    }
    assert_eq!(texts(&message, &[1, 4, 2, 3, 1]), ["host", "x-a", "x-b"]);
    assert_eq!(texts(&message, &[1, 4, 2, 3, 2]), ["shop.example", "1,2", "\u{fffd}"]);
    assert_eq!(texts(&message, &[1, 1, 1, 1, 2]), ["192.0.2.1"]);
}

#[test]
fn only_allowed_headers_are_told_and_other_bytes_are_raw() {
    let message = asked(&[HeaderName::from_static("x-a")], b"\xff");
    assert_eq!(texts(&message, &[1, 4, 2, 3, 1]), ["x-a"]);
    assert_eq!(at(&message, &[1, 4, 2, 12]), [b"\xff"]);
    assert!(at(&message, &[1, 4, 2, 11]).is_empty());
}

fn header_option(option: &mut Writer, key: &str, value: &str, append: Option<bool>) {
    option.message(1, |header| {
        header.bytes(1, key.as_bytes()).bytes(2, value.as_bytes());
    });
    if let Some(append) = append {
        option.message(2, |flag| {
            flag.varint(1, u64::from(append));
        });
    }
}

fn pair(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

#[test]
fn a_permission_may_change_headers() {
    let mut message = Writer::default();
    message.message(1, |_| {}).message(3, |ok| {
        ok.message(2, |option| header_option(option, "x-user", "anna", None));
        ok.message(2, |option| header_option(option, "x-role", "a", Some(true)));
        ok.message(2, |option| header_option(option, "x-team", "b", Some(false)));
        ok.message(2, |option| header_option(option, "no name", "b", None));
        ok.bytes(5, b"x-secret");
    });
    let changes = Changes {
        set: vec![pair("x-user", "anna"), pair("x-team", "b")],
        append: vec![pair("x-role", "a")],
        remove: vec![HeaderName::from_static("x-secret")],
    };
    assert_eq!(response(&message.finish()), Ok(Response::Ok(changes)));
    assert_eq!(response(b""), Ok(Response::Ok(Changes::default())));
}

#[test]
fn a_denial_is_the_answer() {
    let mut message = Writer::default();
    message
        .message(1, |status| {
            status.varint(1, 16);
        })
        .message(2, |denied| {
            denied
                .message(1, |status| {
                    status.varint(1, 401);
                })
                .message(2, |option| header_option(option, "www-authenticate", "Basic", None))
                .bytes(3, b"who are you?");
        });
    let denied = Denied {
        status: http::StatusCode::UNAUTHORIZED,
        headers: vec![pair("www-authenticate", "Basic")],
        body: Bytes::from_static(b"who are you?"),
    };
    assert_eq!(response(&message.finish()), Ok(Response::Denied(denied)));
}

#[test]
fn a_denial_without_details_forbids() {
    let mut code_alone = Writer::default();
    code_alone.message(1, |status| {
        status.varint(1, 7);
    });
    let mut contradiction = Writer::default();
    contradiction.message(2, |_| {});
    let mut no_status = Writer::default();
    no_status.message(2, |denied| {
        denied.message(1, |status| {
            status.varint(1, 9999);
        });
    });
    for message in [code_alone, contradiction, no_status] {
        let Ok(Response::Denied(denied)) = response(&message.finish()) else {
            panic!("not a denial");
        };
        assert_eq!(denied.status, 403);
    }
}

#[test]
fn garbage_is_no_permission() {
    assert_eq!(response(b"\xff"), Err(Malformed));
    assert_eq!(response(b"\x1a\x02\x12\x7f"), Err(Malformed));
}
