use gateway_core::matcher::{HostPattern, RequestHead};

use crate::lines;

/// Lines: two hostnames, an authority. What both cover, their intersection covers; names are
/// compared without regard to case, a port does not count.
pub fn host_match(data: &[u8]) {
    let [a, b, authority] = lines(data);
    let (method, headers) = (http::Method::GET, http::HeaderMap::new());
    let (path, query) = ("/", None);
    let head =
        RequestHead { method: &method, authority: &authority, path, query, headers: &headers };
    let host = head.host();
    assert!(authority.starts_with(host), "the host is the start of the authority");
    for name in [&a, &b] {
        let covered = HostPattern::new(name).is_match(host);
        assert_eq!(covered, covers(name, host), "{name} {host}");
    }
    // A hostname has its `*` in front of a dot, or none.
    if [&a, &b].into_iter().all(|name| is_hostname(name)) {
        let (a, b) = (HostPattern::new(&a), HostPattern::new(&b));
        let both = a.is_match(host) && b.is_match(host);
        let intersection = a.intersect(&b);
        assert_eq!(intersection, b.intersect(&a));
        assert_eq!(intersection.is_some_and(|it| it.is_match(host)), both, "{a} {b} {host}");
    }
}

fn is_hostname(name: &str) -> bool {
    let rest = name.strip_prefix("*.").unwrap_or(name);
    !rest.contains('*') && !rest.starts_with('.') && (name.is_empty() || !rest.is_empty())
}

fn covers(name: &str, host: &str) -> bool {
    let (name, host) = (name.to_ascii_lowercase(), host.to_ascii_lowercase());
    match name.strip_prefix('*') {
        _ if name.is_empty() || name == "*" => true,
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => name == host,
    }
}
