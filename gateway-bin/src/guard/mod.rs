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
mod limits;
mod path;

use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header, request, uri};
use smallvec::SmallVec;

pub use forwarded::Peer;
pub use framing::Framing;
pub use limits::Limits;

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
mod tests;
