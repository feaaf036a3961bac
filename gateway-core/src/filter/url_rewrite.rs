//! `URLRewrite`: another host or path for the backend to see.

use http::{
    HeaderValue, Uri, header, request,
    uri::{Authority, InvalidUri, InvalidUriParts, PathAndQuery},
};

use super::{PathModifier, RequestFacts};

/// Replaces host, path or both before forwarding. The query stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UrlRewrite {
    /// The authority that the backend sees.
    pub hostname: Option<HeaderValue>,
    /// How the path changes.
    pub path: Option<PathModifier>,
}

/// The rewritten request would have no valid target: it would be too long, or the hostname is none.
#[derive(Debug)]
pub(super) struct NoTarget;

impl UrlRewrite {
    /// Changes `head`, or leaves it half changed and says that it must not be forwarded.
    pub(super) fn apply(
        &self,
        head: &mut request::Parts,
        facts: &RequestFacts,
    ) -> Result<(), NoTarget> {
        if let Some(modifier) = &self.path {
            replace_path(head, modifier.apply(head.uri.path(), facts))?;
        }
        if let Some(hostname) = &self.hostname {
            replace_host(head, hostname)?;
        }
        Ok(())
    }
}

fn replace_path(head: &mut request::Parts, mut path: String) -> Result<(), NoTarget> {
    if let Some(query) = head.uri.query() {
        path.push('?');
        path.push_str(query);
    }
    let mut parts = head.uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path)?);
    head.uri = Uri::from_parts(parts)?;
    Ok(())
}

/// Sets the authority where the request has one (HTTP/2, absolute form), and the `Host` field
/// unless the authority is enough.
fn replace_host(head: &mut request::Parts, hostname: &HeaderValue) -> Result<(), NoTarget> {
    let has_authority = head.uri.authority().is_some();
    if has_authority {
        let mut parts = head.uri.clone().into_parts();
        parts.authority = Some(Authority::try_from(hostname.as_bytes())?);
        head.uri = Uri::from_parts(parts)?;
    }
    if !has_authority || head.headers.contains_key(header::HOST) {
        // Fails beyond 32,768 fields, which no server lets through.
        head.headers.try_insert(header::HOST, hostname.clone()).map_err(|_| NoTarget)?;
    }
    Ok(())
}

impl From<InvalidUri> for NoTarget {
    fn from(_: InvalidUri) -> Self {
        Self
    }
}

impl From<InvalidUriParts> for NoTarget {
    fn from(_: InvalidUriParts) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, request};
    use proptest::prelude::*;

    use super::UrlRewrite;
    use crate::{
        filter::{PathModifier, RequestFacts},
        matcher::RequestHead,
    };

    fn get(uri: &str, host: Option<&str>) -> request::Parts {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn prefix_facts(prefix: &str) -> RequestFacts {
        RequestFacts { matched_prefix: Some(prefix.len()), ..RequestFacts::default() }
    }

    #[track_caller]
    fn check_path(path: PathModifier, uri: &str, expect: &str) {
        let rewrite = UrlRewrite { hostname: None, path: Some(path) };
        let mut head = get(uri, Some("h.example"));
        rewrite.apply(&mut head, &prefix_facts("/prefix")).expect("a target");
        assert_eq!(head.uri, expect);
        assert_eq!(head.headers["host"], "h.example");
    }

    #[test]
    fn paths() {
        let full = |path: &str| PathModifier::ReplaceFullPath(path.into());
        let prefix = |path: &str| PathModifier::ReplacePrefixMatch(path.into());
        check_path(full("/one"), "/prefix/one/two", "/one");
        check_path(full("/one"), "/prefix/one/two?a=b", "/one?a=b");
        check_path(full("/one?x"), "/prefix?a=b", "/one%3Fx?a=b");
        check_path(full("/one#x"), "/prefix?a=b", "/one%23x?a=b");
        check_path(prefix("/"), "/prefix/three?", "/three?");
        check_path(prefix("/one"), "/prefix/two?a=/b//c", "/one/two?a=/b//c");
        check_path(prefix("/one"), "http://u.example/prefix/two?q", "http://u.example/one/two?q");
        check_path(prefix(""), "/prefix", "/");
    }

    #[track_caller]
    fn check_host(uri: &str, host: Option<&str>, new_uri: &str, new_host: Option<&str>) {
        let hostname = Some(HeaderValue::from_static("new.example"));
        let mut head = get(uri, host);
        let rewrite = UrlRewrite { hostname, path: None };
        rewrite.apply(&mut head, &RequestFacts::default()).expect("a target");
        assert_eq!(head.uri, new_uri);
        assert_eq!(
            head.headers.get("host").map(HeaderValue::as_bytes),
            new_host.map(str::as_bytes)
        );
        assert_eq!(RequestHead::of(&head).host(), "new.example");
    }

    #[test]
    fn the_host_is_replaced_wherever_it_stands() {
        check_host("/x?q", Some("old.example:80"), "/x?q", Some("new.example"));
        check_host("/x", None, "/x", Some("new.example"));
        check_host("http://old.example/x", None, "http://new.example/x", None);
        check_host(
            "http://old.example:80/x?q",
            Some("old.example"),
            "http://new.example/x?q",
            Some("new.example"),
        );
    }

    #[test]
    fn what_has_no_target_is_not_forwarded() {
        let long = format!("/{}", "x".repeat(70_000));
        let too_long =
            UrlRewrite { hostname: None, path: Some(PathModifier::ReplaceFullPath(long.into())) };
        assert!(too_long.apply(&mut get("/", None), &RequestFacts::default()).is_err());
        let no_host = UrlRewrite { hostname: Some(HeaderValue::from_static("a b")), path: None };
        let mut head = get("http://old.example/", None);
        assert!(no_host.apply(&mut head, &RequestFacts::default()).is_err());
    }

    proptest! {
        #[test]
        fn the_query_is_always_kept(
            replacement in any::<String>(),
            query in proptest::option::of("[a-z=&?/%]{0,10}"),
            full: bool,
        ) {
            let uri = match &query {
                Some(query) => format!("/prefix/x?{query}"),
                None => "/prefix/x".to_owned(),
            };
            let path = match full {
                true => PathModifier::ReplaceFullPath(replacement.into()),
                false => PathModifier::ReplacePrefixMatch(replacement.into()),
            };
            let mut head = get(&uri, None);
            let rewrite = UrlRewrite { hostname: None, path: Some(path) };
            rewrite.apply(&mut head, &prefix_facts("/prefix")).expect("a target");
            prop_assert_eq!(head.uri.query(), query.as_deref());
            prop_assert!(head.uri.path().starts_with('/'));
        }
    }
}
