//! Which host a request is for: one answer, and no second reading of it.

use http::{HeaderValue, request};
use http::{Version, header, uri::Scheme};

use super::{Refusal, origin_form};

/// Makes `Host` the one authority of the request and its target origin form.
///
/// SPEC: RFC 9112 section 3.2.2: the authority of an absolute target replaces `Host`; RFC 9113
/// section 8.3.1: `:authority` and `host` of HTTP/2 must not differ.
pub(super) fn settle(head: &mut request::Parts, hosts: usize) -> Result<(), Refusal> {
    let http1 = head.version < Version::HTTP_2;
    if hosts > 1 || (http1 && hosts == 0) {
        return Err(Refusal::bad("exactly one Host is required"));
    }
    let Some(authority) = head.uri.authority() else {
        let host = head.headers.get(header::HOST);
        let host = host.ok_or(Refusal::bad("an authority is required"))?;
        return check(host.as_bytes());
    };
    check(authority.as_str().as_bytes())?;
    let scheme = head.uri.scheme();
    if scheme.is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Refusal::bad("the scheme is not HTTP"));
    }
    if let Some(host) = head.headers.get(header::HOST)
        && !http1
        && !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())
    {
        return Err(Refusal::bad("host and :authority differ"));
    }
    let host = HeaderValue::from_str(authority.as_str());
    let host = host.map_err(|_| Refusal::bad("the authority is malformed"))?;
    head.headers.insert(header::HOST, host);
    head.uri = origin_form(&head.uri);
    Ok(())
}

/// Accepts a name, an IPv4 address or an IPv6 address in brackets, with or without port. What
/// else RFC 3986 allows in an authority has no place in HTTP or is read in more than one way.
fn check(authority: &[u8]) -> Result<(), Refusal> {
    let (host, port) = match authority.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if authority[at] == b':' => (&authority[..at], &authority[at + 1..]),
        _ => (authority, &[][..]),
    };
    if is_port(port) && (is_name(host) || is_ipv6(host)) {
        return Ok(());
    }
    Err(Refusal::bad("the host is malformed"))
}

fn is_port(port: &[u8]) -> bool {
    let digits = port.iter().all(u8::is_ascii_digit);
    let number = port.iter().fold(0_u32, |number, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')))
    });
    digits && number <= u32::from(u16::MAX)
}

fn is_name(host: &[u8]) -> bool {
    let name = host.strip_suffix(b".").unwrap_or(host);
    (1..=253).contains(&name.len())
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
}

fn is_ipv6(host: &[u8]) -> bool {
    let inside = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    inside
        .and_then(|inside| std::str::from_utf8(inside).ok())
        .is_some_and(|inside| inside.parse::<std::net::Ipv6Addr>().is_ok())
}
