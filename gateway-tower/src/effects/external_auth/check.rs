//! The messages of Envoy's external authorization, version 3: `CheckRequest`, `CheckResponse`.
//!
//! In: a request; the bytes of an answer. Out: bytes; what the answer means. The numbers are those
//! of the fields in `envoy/service/auth/v3/external_auth.proto`, `attribute_context.proto` and
//! `envoy/config/core/v3/{base,address}.proto`. Of an allowing answer the headers to set, append
//! and remove are read; changes of the query and headers for the client are not supported and
//! passed over.

use std::net::SocketAddr;

use bytes::Bytes;
use gateway_core::matcher::RequestHead;
use http::{HeaderName, HeaderValue, StatusCode, Version, request};

use super::{
    Changes,
    protobuf::{Malformed, Reader, Value, Writer},
    status_or,
};

/// What the service is told besides the head.
pub(super) struct Facts {
    pub(super) peer: Option<SocketAddr>,
    pub(super) scheme: &'static str,
    pub(super) body: Bytes,
}

/// `CheckRequest`. Of the headers those in `allowed` are told, or all if it is empty.
// SPEC: GRPCAuthConfig: an empty list of allowed headers sends all.
pub(super) fn request(head: &request::Parts, allowed: &[HeaderName], facts: &Facts) -> Vec<u8> {
    let mut check = Writer::default();
    check.message(1, |attributes| {
        if let Some(peer) = facts.peer {
            attributes.message(1, |source| write_peer(source, peer));
        }
        attributes.message(4, |request| {
            request.message(2, |http| write_http(http, head, allowed, facts));
        });
    });
    check.finish()
}

/// `AttributeContext.Peer` with its address.
fn write_peer(peer: &mut Writer, address: SocketAddr) {
    peer.message(1, |outer| {
        outer.message(1, |socket| {
            socket.bytes(2, address.ip().to_canonical().to_string().as_bytes());
            socket.varint(3, u64::from(address.port()));
        });
    });
}

/// `AttributeContext.HttpRequest`.
fn write_http(http: &mut Writer, head: &request::Parts, allowed: &[HeaderName], facts: &Facts) {
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    http.bytes(2, head.method.as_str().as_bytes());
    for name in head.headers.keys() {
        if allowed.is_empty() || allowed.contains(name) {
            http.message(3, |entry| {
                entry.bytes(1, name.as_str().as_bytes());
                entry.bytes(2, joined(head, name).as_bytes());
            });
        }
    }
    http.bytes(4, target.as_bytes());
    http.bytes(5, RequestHead::of(head).authority.as_bytes());
    http.bytes(6, facts.scheme.as_bytes());
    http.varint(9, facts.body.len() as u64);
    http.bytes(10, protocol(head.version).as_bytes());
    // `body` must be text; anything else travels in `raw_body`.
    match str::from_utf8(&facts.body) {
        Ok(text) => http.bytes(11, text.as_bytes()),
        Err(_) => http.bytes(12, &facts.body),
    };
}

/// The values of a field as one text; bytes that are no text are replaced.
fn joined(head: &request::Parts, name: &HeaderName) -> String {
    let mut joined = String::new();
    for value in head.headers.get_all(name) {
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(&String::from_utf8_lossy(value.as_bytes()));
    }
    joined
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

/// `CheckResponse`.
#[derive(Debug, PartialEq)]
pub(super) enum Response {
    Ok(Changes),
    Denied(Denied),
}

/// The answer for the client.
#[derive(Debug, PartialEq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: Bytes,
}

/// Reads a `CheckResponse`.
pub(super) fn response(message: &[u8]) -> Result<Response, Malformed> {
    let (mut code, mut changes, mut denied) = (0, Changes::default(), None);
    for field in Reader::new(message) {
        match field? {
            (1, Value::Bytes(status)) => code = varint_field(status, 1)?,
            (2, Value::Bytes(answer)) => denied = Some(read_denied(answer)?),
            (3, Value::Bytes(answer)) => changes = read_ok(answer)?,
            _ => {}
        }
    }
    // A denial that says nothing more is 403.
    let forbidden =
        || Denied { status: StatusCode::FORBIDDEN, headers: Vec::new(), body: Bytes::new() };
    match code {
        0 if denied.is_none() => Ok(Response::Ok(changes)),
        _ => Ok(Response::Denied(denied.unwrap_or_else(forbidden))),
    }
}

/// `OkHttpResponse`.
fn read_ok(message: &[u8]) -> Result<Changes, Malformed> {
    let mut changes = Changes::default();
    for field in Reader::new(message) {
        match field? {
            (2, Value::Bytes(option)) => match read_header_option(option)? {
                Some(HeaderOption { pair, append: true }) => changes.append.push(pair),
                Some(HeaderOption { pair, append: false }) => changes.set.push(pair),
                None => {}
            },
            (5, Value::Bytes(name)) => changes.remove.extend(HeaderName::from_bytes(name)),
            _ => {}
        }
    }
    Ok(changes)
}

/// `DeniedHttpResponse`.
fn read_denied(message: &[u8]) -> Result<Denied, Malformed> {
    let (mut code, mut headers, mut body) = (0, Vec::new(), Bytes::new());
    for field in Reader::new(message) {
        match field? {
            (1, Value::Bytes(status)) => code = varint_field(status, 1)?,
            (2, Value::Bytes(option)) => {
                headers.extend(read_header_option(option)?.map(|option| option.pair));
            }
            (3, Value::Bytes(text)) => body = Bytes::copy_from_slice(text),
            _ => {}
        }
    }
    let code = u16::try_from(code).unwrap_or(0);
    Ok(Denied { status: status_or(code, StatusCode::FORBIDDEN), headers, body })
}

/// A header that the service wants to have.
struct HeaderOption {
    pair: (HeaderName, HeaderValue),
    append: bool,
}

/// `HeaderValueOption`. None if it is no header; the service then asks for what cannot be.
fn read_header_option(message: &[u8]) -> Result<Option<HeaderOption>, Malformed> {
    let (mut key, mut value, mut append) = (&b""[..], &b""[..], false);
    for field in Reader::new(message) {
        match field? {
            (1, Value::Bytes(header)) => {
                for field in Reader::new(header) {
                    match field? {
                        (1, Value::Bytes(name)) => key = name,
                        (2 | 3, Value::Bytes(text)) => value = text,
                        _ => {}
                    }
                }
            }
            // A BoolValue. In answers of this service it is false where it is missing.
            (2, Value::Bytes(flag)) => append = varint_field(flag, 1)? != 0,
            _ => {}
        }
    }
    let pair = HeaderName::from_bytes(key).ok().zip(HeaderValue::from_bytes(value).ok());
    Ok(pair.map(|pair| HeaderOption { pair, append }))
}

/// The last value of an integer field of a message, 0 if it is missing.
fn varint_field(message: &[u8], number: u32) -> Result<u64, Malformed> {
    let mut value = 0;
    for field in Reader::new(message) {
        if let (found, Value::Varint(varint)) = field?
            && found == number
        {
            value = varint;
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests;
