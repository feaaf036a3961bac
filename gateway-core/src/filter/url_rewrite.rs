//! `URLRewrite`: another host or path for the backend to see.

use http::{HeaderValue, Uri, header, request};

use super::{PathModifier, RequestFacts};

/// Replaces host, path or both before forwarding. The query stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UrlRewrite {
    /// The authority that the backend sees.
    pub hostname: Option<HeaderValue>,
    /// How the path changes.
    pub path: Option<PathModifier>,
}

impl UrlRewrite {
    pub(super) fn apply(&self, head: &mut request::Parts, facts: &RequestFacts) {
        if let Some(modifier) = &self.path {
            replace_path(head, &modifier.apply(head.uri.path(), facts));
        }
        if let Some(hostname) = &self.hostname {
            replace_host(head, hostname);
        }
    }
}

/// Sets the path and keeps the query. A path that is no URI path leaves the request as it is;
/// `resolve` refuses such values, and a replaced prefix only joins valid parts.
fn replace_path(head: &mut request::Parts, path: &str) {
    let path_and_query = match head.uri.query() {
        Some(query) => format!("{path}?{query}").parse(),
        None => path.parse(),
    };
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    if let Ok(path_and_query) = path_and_query {
        parts.path_and_query = Some(path_and_query);
    }
    head.uri = Uri::from_parts(parts).unwrap_or_default();
}

/// Sets the `Host` field, and the authority where the request has one (HTTP/2, absolute form).
fn replace_host(head: &mut request::Parts, hostname: &HeaderValue) {
    if head.uri.authority().is_some()
        && let Ok(authority) = hostname.as_bytes().try_into()
    {
        let mut parts = std::mem::take(&mut head.uri).into_parts();
        parts.authority = Some(authority);
        head.uri = Uri::from_parts(parts).unwrap_or_default();
    }
    head.headers.insert(header::HOST, hostname.clone());
}
