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

/// Many paths at once: all that begin with some text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broad {
    /// What they begin with.
    pub(super) start: String,
    ends: Ends,
}

/// What may follow the start of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Nothing, or a slash and anything.
    BySegment,
    /// Anything or nothing.
    Anywhere,
    /// Anything but nothing.
    Further,
}

impl Broad {
    /// What `path` covers, if it is a prefix or as good as one.
    pub(super) fn of(path: &PathPattern) -> Option<Self> {
        match path {
            PathPattern::Exact(_) => None,
            PathPattern::Prefix(prefix) => {
                Some(Self { start: prefix.to_string(), ends: Ends::BySegment })
            }
            PathPattern::Regex(pattern) => Self::of_expression(pattern.source()),
        }
    }

    fn of_expression(source: &str) -> Option<Self> {
        let source = source.strip_prefix('^').unwrap_or(source);
        let source = source.strip_suffix('$').unwrap_or(source);
        // Every path begins with a slash.
        if source == "/?.*" {
            return Some(Self { start: "/".to_owned(), ends: Ends::Anywhere });
        }
        let ends = [
            (".*", Ends::Anywhere),
            ("(.*)", Ends::Anywhere),
            (".+", Ends::Further),
            ("(.+)", Ends::Further),
        ];
        for (end, ends) in ends {
            let start = source.strip_suffix(end).map(LiteralStart::of);
            if let Some(LiteralStart { text: start, rest: Rest::Nothing }) = start {
                return Some(Self { start, ends });
            }
        }
        let start = LiteralStart::of(source);
        let ends = Ends::BySegment;
        (start.rest == Rest::Below).then_some(Self { start: start.text, ends })
    }

    /// Whether all paths of `narrow` are among them.
    fn covers(&self, narrow: &PathPattern) -> bool {
        let (shortest, whole) = match narrow {
            PathPattern::Exact(path) => (&**path, true),
            PathPattern::Prefix(prefix) if prefix.is_empty() => ("/", true),
            PathPattern::Prefix(prefix) => (&**prefix, true),
            PathPattern::Regex(regex) => {
                let start = LiteralStart::of(regex.source());
                return self.covers_start(&start.text, start.rest != Rest::Other);
            }
        };
        self.covers_start(shortest, whole)
    }

    /// Whether all paths are among them that begin with `start`; if it is `whole`, what follows it
    /// is nothing or a slash.
    fn covers_start(&self, start: &str, whole: bool) -> bool {
        let Some(rest) = start.strip_prefix(&*self.start) else { return false };
        match self.ends {
            Ends::Anywhere => true,
            Ends::Further => !rest.is_empty(),
            Ends::BySegment if self.start.is_empty() => rest.starts_with('/'),
            Ends::BySegment => rest.starts_with('/') || (rest.is_empty() && whole),
        }
    }
}

/// All that a [`Broad::start`] can be which covers `path`, and the text of the path itself.
pub(super) fn starts(path: &PathPattern) -> impl Iterator<Item = &str> {
    let (text, literal, whole) = match path {
        PathPattern::Exact(text) => (&**text, text.len(), None),
        // The root is kept without its slash.
        PathPattern::Prefix(text) if text.is_empty() => ("/", 1, None),
        PathPattern::Prefix(text) => (&**text, text.len(), None),
        // As far as it stands for itself. An escape may end it sooner than need be.
        PathPattern::Regex(pattern) => {
            let source = pattern.source();
            let text = source.strip_prefix('^').unwrap_or(source);
            let start = LiteralStart::of(source).text;
            let same = text.bytes().zip(start.bytes()).take_while(|(a, b)| a == b).count();
            (text, same, Some(source).filter(|source| source.len() > same))
        }
    };
    let ends = (0..=literal).filter(|end| text.is_char_boundary(*end));
    ends.map(|end| &text[..end]).chain(whole)
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
        _ => Broad::of(wide).is_some_and(|wide| wide.covers(narrow)),
    }
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
            ("/", "~/[ab]", true),
            ("/", "~[ab]", false),
            ("/a", "~/a.*", false),
            ("/a", "~/a", true),
            ("=/a", "=/a", true),
            ("=/a", "/a", false),
            ("~.*", "/a", true),
            ("~^/.*$", "~/[a-z]+/x", true),
            ("~/.*", "~.*", false),
            ("~.*", "~[ab]", true),
            ("~/a(/.*)?", "/a/b", true),
            ("~/a(/.*)?", "/ab", false),
            ("~/a/.*", "/a/b", true),
            ("~/a/.*", "/a", false),
            ("~/a/.*", "~/a/[0-9]+", true),
            ("~/a/(.+)", "/a/b", true),
            ("~/a.+", "/a", false),
            ("~/a.*", "/ab", true),
            ("~/a.*", "/", false),
            ("~/.*", "/", true),
            ("~/.+", "/", false),
            (r"~/a\.*", "/a", false),
            ("~/(a|b)/.*", "/a/b", false),
            ("~/[ab]", "=/a", true),
            ("~/[ab]", "=/c", false),
        ] {
            assert_eq!(path_covers(&path(wide), &path(narrow)), expect, "{wide} {narrow}");
        }
    }
}
