//! Hostnames as written: a name, `*.` and a name, or empty for every host.

use std::cmp::Reverse;

/// Whether `host` (lower case, no port) is covered. A wildcard stands for one label or more.
pub(super) fn covers(hostname: &str, host: &str) -> bool {
    match hostname.strip_prefix('*') {
        _ if hostname.is_empty() => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => hostname == host,
    }
}

/// Whether some host is covered by both.
pub(super) fn intersect(a: &str, b: &str) -> bool {
    let suffix = |hostname: &'_ str| hostname.strip_prefix('*').map(str::to_owned);
    match (suffix(a), suffix(b)) {
        _ if a.is_empty() || b.is_empty() => true,
        (Some(a), Some(b)) => a.ends_with(&b) || b.ends_with(&a),
        (Some(_), None) => covers(a, b),
        (None, _) => covers(b, a),
    }
}

/// Orders hostnames that cover one host, the most specific first: names before wildcards before
/// none, then by length.
pub(super) fn specificity(hostname: &str) -> (bool, bool, Reverse<usize>) {
    (hostname.is_empty(), hostname.starts_with('*'), Reverse(hostname.len()))
}

/// The host of a Host field: lower case, no port, no trailing dot; none if it is malformed.
// SPEC: RFC 9112 section 3.2: a Host that is no `host[:port]` is answered with 400.
#[must_use]
pub fn of_authority(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            address.parse::<std::net::Ipv6Addr>().ok()?;
            let port = if rest.is_empty() { "" } else { rest.strip_prefix(':')? };
            (&authority[..address.len() + 2], port)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+;=%[]:".contains(c);
    let fits = host.chars().all(good) && port.chars().all(|c| c.is_ascii_digit());
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    fits.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::{intersect, of_authority};

    #[test]
    fn intersections_of_the_table() {
        for (listener, route, expect) in [
            ("", "", true),
            ("", "a.x", true),
            ("a.x", "", true),
            ("a.x", "a.x", true),
            ("a.x", "b.x", false),
            ("a.x", "*.x", true),
            ("x", "*.x", false),
            ("*.x", "a.b.x", true),
            ("*.x", "x", false),
            ("*.x", "*.x", true),
            ("*.x", "*.y.x", true),
            ("*.y.x", "*.x", true),
            ("*.x", "*.z", false),
        ] {
            assert_eq!(intersect(listener, route), expect, "{listener} {route}");
        }
    }

    #[test]
    fn hosts_of_authorities() {
        for (authority, expect) in [
            ("A.x:80", Some("a.x")),
            ("a.x.", Some("a.x")),
            ("[::1]:80", Some("[::1]")),
            ("a@b", None),
            ("a, b", None),
            ("a:b", None),
        ] {
            assert_eq!(of_authority(authority).as_deref(), expect, "{authority}");
        }
    }
}
