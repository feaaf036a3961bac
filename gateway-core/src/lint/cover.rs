//! Whether one match takes every request that another takes.
//!
//! In: two matches. Out: yes, or maybe not. Not here: which of them comes first.

use crate::{
    compile::{LiteralStart, Rest},
    matcher::{PathPattern, Pattern, RouteMatch},
};

/// Whether every request that fits `narrow` also fits `wide`. May say no where it is hard to tell.
pub(super) fn covers(wide: &RouteMatch, narrow: &RouteMatch) -> bool {
    path_covers(&wide.path, &narrow.path)
        && (wide.method.is_none() || wide.method == narrow.method)
        && (!wide.grpc || narrow.grpc)
        && wide.grpc_method.as_ref().is_none_or(|wide| {
            narrow.grpc_method.as_ref().is_some_and(|narrow| value_covers(wide, narrow))
        })
        && wide.headers.iter().all(|wide| {
            let mut narrow = narrow.headers.iter().filter(|narrow| narrow.name == wide.name);
            narrow.any(|narrow| value_covers(&wide.value, &narrow.value))
        })
        && wide.query_params.iter().all(|wide| {
            let mut narrow = narrow.query_params.iter().filter(|narrow| narrow.name == wide.name);
            narrow.any(|narrow| value_covers(&wide.value, &narrow.value))
        })
}

/// Whether the path is an expression that covers all paths, or all below some segments.
pub(super) fn is_broad(path: &PathPattern) -> bool {
    matches!(path, PathPattern::Regex(pattern) if broad_prefix(pattern).is_some())
}

/// Whether a value is compared by an expression.
pub(super) fn has_expressions(entry: &RouteMatch) -> bool {
    let values = entry.headers.iter().map(|predicate| &predicate.value);
    let values = values.chain(entry.query_params.iter().map(|predicate| &predicate.value));
    values.chain(&entry.grpc_method).any(|value| matches!(value, Pattern::Regex(_)))
}

fn path_covers(wide: &PathPattern, narrow: &PathPattern) -> bool {
    if wide == narrow {
        return true;
    }
    match (wide, narrow) {
        (PathPattern::Regex(regex), PathPattern::Exact(path)) => regex.is_match(path.as_bytes()),
        (PathPattern::Regex(wide), narrow) => broad_prefix(wide)
            .is_some_and(|prefix| path_covers(&PathPattern::prefix(&prefix), narrow)),
        (prefix @ PathPattern::Prefix(_), PathPattern::Exact(path) | PathPattern::Prefix(path)) => {
            prefix.is_match(path)
        }
        (prefix @ PathPattern::Prefix(_), PathPattern::Regex(regex)) => {
            let start = LiteralStart::of(regex.source());
            start.segments().starts_with('/') && prefix.is_match(start.segments())
        }
        (PathPattern::Exact(_), _) => false,
    }
}

/// The prefix that an expression is the same as, `/` for all paths.
fn broad_prefix(pattern: &Pattern) -> Option<String> {
    let source = pattern.source();
    let source = source.strip_prefix('^').unwrap_or(source);
    let source = source.strip_suffix('$').unwrap_or(source);
    if matches!(source, ".*" | "/.*" | "(.*)" | "/(.*)" | "/?.*") {
        return Some("/".to_owned());
    }
    let start = LiteralStart::of(source);
    (start.rest == Rest::Below).then_some(start.text)
}

fn value_covers(wide: &Pattern, narrow: &Pattern) -> bool {
    match (wide, narrow) {
        (Pattern::Regex(regex), Pattern::Exact(value)) => regex.is_match(value.as_bytes()),
        _ => wide == narrow,
    }
}

#[cfg(test)]
mod tests {
    use super::path_covers;
    use crate::matcher::{PathPattern, RegexLimits};

    fn path(text: &str) -> PathPattern {
        match text.split_at(1) {
            ("=", path) => PathPattern::exact(path),
            ("~", source) => PathPattern::regex(source, RegexLimits::default()).expect("valid"),
            _ => PathPattern::prefix(text),
        }
    }

    #[test]
    fn paths() {
        for (wide, narrow, expect) in [
            ("/", "/a", true),
            ("/a", "/", false),
            ("/a", "=/a/b", true),
            ("/a", "=/ab", false),
            ("/a", "~/a/[0-9]+", true),
            ("/a", "~/ab?", false),
            ("/", "~/[ab]", false),
            ("=/a", "=/a", true),
            ("=/a", "/a", false),
            ("~.*", "/a", true),
            ("~^/.*$", "~/[a-z]+/x", false),
            ("~/a(/.*)?", "/a/b", true),
            ("~/a(/.*)?", "/ab", false),
            ("~/a/.*", "/a/b", false),
            ("~/[ab]", "=/a", true),
            ("~/[ab]", "=/c", false),
        ] {
            assert_eq!(path_covers(&path(wide), &path(narrow)), expect, "{wide} {narrow}");
        }
    }
}
