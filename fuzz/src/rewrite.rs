use gateway_core::{
    filter::{Filter, Flow, PathModifier, Redirect, RequestFacts, UrlRewrite},
    matcher::{PathPattern, Scheme},
};
use http::{HeaderValue, header};

use crate::lines;

/// Lines: a prefix, its replacement, a path with query, a Host. Whatever comes in, the new path is
/// a path and the query stays; a redirect is a good header or a refusal.
pub fn rewrite(data: &[u8]) {
    let [prefix, replacement, target, host] = lines(data);
    let mut request = http::Request::get(&*target);
    if let Ok(host) = HeaderValue::try_from(&*host) {
        request = request.header(header::HOST, host);
    }
    let Ok(request) = request.body(()) else { return };
    let (head, ()) = request.into_parts();
    let path = head.uri.path();
    // CONNECT and `OPTIONS *` have no path; they are not rewritten.
    let has_path = path.starts_with('/');
    if !has_path || !prefix.starts_with('/') || !PathPattern::prefix(&prefix).is_match(path) {
        return;
    }
    let covered = prefix.strip_suffix('/').unwrap_or(&prefix).len();
    let facts =
        RequestFacts { scheme: Scheme::Http, listener_port: 8080, matched_prefix: Some(covered) };
    for modifier in [
        PathModifier::ReplacePrefixMatch(replacement.as_str().into()),
        PathModifier::ReplaceFullPath(replacement.as_str().into()),
    ] {
        check_path(&modifier, path, covered, &replacement, &facts);
        let rewrite = UrlRewrite { hostname: None, path: Some(modifier.clone()) };
        let mut changed = head.clone();
        let filter = Filter::UrlRewrite(rewrite);
        let flow = filter.apply_request(&mut changed, &facts);
        assert!(matches!(flow, Flow::Continue));
        assert!(changed.uri.path().starts_with('/') || changed.uri == "*", "{}", changed.uri);
        assert_eq!(changed.uri.query(), head.uri.query(), "the query stays");

        let redirect = Redirect { path: Some(modifier), ..Redirect::default() };
        let redirect = Filter::RequestRedirect(redirect);
        let flow = redirect.apply_request(&mut head.clone(), &facts);
        let Flow::Respond(answer, _) = flow else { panic!("a redirect answers") };
        if answer.status() == http::StatusCode::FOUND {
            let location = answer.headers().get(header::LOCATION).expect("there is a location");
            assert!(location.as_bytes().starts_with(b"http://"));
        }
    }
}

fn check_path(
    modifier: &PathModifier,
    path: &str,
    covered: usize,
    replacement: &str,
    facts: &RequestFacts,
) {
    let new = modifier.apply(path, facts);
    assert!(new.starts_with('/'), "{new}");
    let doubles = |path: &str| path.matches("//").count();
    if matches!(modifier, PathModifier::ReplacePrefixMatch(_)) {
        let rest = &path[covered..];
        assert!(new.ends_with(rest), "{new} ends in {rest}");
        assert!(doubles(&new) <= doubles(replacement) + doubles(path), "{new} doubles a slash");
    }
}
