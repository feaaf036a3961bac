//! What can be read off the text of a regular expression without running it.
//!
//! In: an expression that was compiled before, over a whole path. Out: the literal that every
//! match starts with, or all of it. Not here: matching.

/// The literal text at the start of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LiteralStart {
    /// Every match starts with this.
    pub(crate) text: String,
    /// What follows it in the expression.
    pub(crate) rest: Rest,
}

/// What an expression asks after its literal start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing: the expression is this one path.
    Nothing,
    /// Nothing, or a slash and anything: the expression is a prefix by segments.
    Below,
    /// Something else.
    Other,
}

impl LiteralStart {
    /// Reads `source`, an expression that is anchored at both ends.
    pub(crate) fn of(source: &str) -> Self {
        let source = source.strip_prefix('^').unwrap_or(source);
        if has_top_level_alternation(source) {
            return Self { text: String::new(), rest: Rest::Other };
        }
        let mut text = String::new();
        let mut at = 0;
        while let Some((char, length)) = literal(&source[at..]) {
            match source.as_bytes()[at + length..] {
                // The char may be missing, so it is no part of the start; also where it is a
                // repetition that is repeated, as in `a+*`.
                [b'?' | b'*' | b'{', ..] | [b'+', b'?' | b'*' | b'{' | b'+', ..] => break,
                [b'+', ..] => {
                    text.push(char);
                    return Self { text, rest: Rest::Other };
                }
                _ => text.push(char),
            }
            at += length;
        }
        let rest = match source[at..].strip_suffix('$').unwrap_or_else(|| &source[at..]) {
            "" => Rest::Nothing,
            "(/.*)?" | "(?:/.*)?" | "(/|$).*" | "(?:/|$).*" | "(/|$)(.*)" | "(?:/|$)(.*)" => {
                Rest::Below
            }
            _ => Rest::Other,
        };
        Self { text, rest }
    }

    /// The longest run of whole segments that every matching path starts with.
    pub(crate) fn segments(&self) -> &str {
        match self.rest {
            Rest::Nothing | Rest::Below => &self.text,
            Rest::Other => &self.text[..self.text.rfind('/').unwrap_or(0)],
        }
    }
}

/// The literal char at the start of `source` and its bytes there.
fn literal(source: &str) -> Option<(char, usize)> {
    match source.as_bytes() {
        [b'\\', escaped, ..] if escaped.is_ascii_punctuation() && !b"<>".contains(escaped) => {
            Some((char::from(*escaped), 2))
        }
        [
            b'\\' | b'.' | b'[' | b'(' | b')' | b'|' | b'^' | b'$' | b'?' | b'*' | b'+' | b'{',
            ..,
        ] => None,
        [byte, ..] if byte.is_ascii() => Some((char::from(*byte), 1)),
        _ => None,
    }
}

/// Whether `|` stands outside of every group; where classes make it hard to say, yes.
fn has_top_level_alternation(source: &str) -> bool {
    let (mut depth, mut bytes) = (0i32, source.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'[' if source.contains('|') => return true,
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LiteralStart, Rest};
    use crate::matcher::{PathPattern, RegexLimits};

    /// Pieces of expressions, and of paths that they may match.
    const PIECES: [&str; 20] = [
        "/",
        "a",
        "b",
        ".",
        "*",
        "+",
        "?",
        "(",
        ")",
        "|",
        "[a|b]",
        "^",
        "$",
        r"\.",
        r"\d",
        "{2}",
        "(/.*)?",
        "(?i)",
        "(/|$)(.*)",
        r"\b",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_matching_path_starts_as_the_expression_says(
            pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..7),
            paths in proptest::collection::vec("(/|/a|/b|/A|/ab|\\.|a|b|5){0,5}", 16),
        ) {
            let source = pieces.concat();
            let Ok(regex) = PathPattern::regex(&source, RegexLimits::default()) else {
                return Ok(());
            };
            let start = LiteralStart::of(&source);
            let segments = PathPattern::Prefix(start.segments().into());
            for path in &paths {
                let is_match = regex.is_match(path);
                if is_match && path.starts_with('/') {
                    prop_assert!(path.starts_with(&start.text), "{source} {path}");
                    prop_assert!(segments.is_match(path), "{source} {path}");
                }
                match start.rest {
                    Rest::Nothing => prop_assert_eq!(is_match, **path == start.text),
                    Rest::Below => prop_assert_eq!(is_match, segments.is_match(path)),
                    Rest::Other => {}
                }
            }
        }
    }

    #[track_caller]
    fn check(source: &str, text: &str, segments: &str, rest: Rest) {
        let start = LiteralStart::of(source);
        assert_eq!(
            (&*start.text, start.segments(), start.rest),
            (text, segments, rest),
            "{source}"
        );
    }

    #[test]
    fn starts_of_expressions() {
        check("/a/b", "/a/b", "/a/b", Rest::Nothing);
        check("^/a/b$", "/a/b", "/a/b", Rest::Nothing);
        check(r"/a\.b\-c/", "/a.b-c/", "/a.b-c/", Rest::Nothing);
        check("/a/[0-9]+", "/a/", "/a", Rest::Other);
        check("/a/b[0-9]+", "/a/b", "/a", Rest::Other);
        check("/a/bc?", "/a/b", "/a", Rest::Other);
        check("/a/?", "/a", "", Rest::Other);
        check("/a/+", "/a/", "/a", Rest::Other);
        check("/a/b{0}", "/a/", "/a", Rest::Other);
        check("/ab+*(/.*)?", "/a", "", Rest::Other);
        check("/a(/.*)?", "/a", "/a", Rest::Below);
        check("^/a(/|$)(.*)$", "/a", "/a", Rest::Below);
        check("/a|/b", "", "", Rest::Other);
        check("/a/(b|c)", "/a/", "/a", Rest::Other);
        check("/a[|]/b|c", "", "", Rest::Other);
        check("(?i)/a", "", "", Rest::Other);
        check(r"/a\d", "/a", "", Rest::Other);
        check(r"\x2fa", "", "", Rest::Other);
        check("/a$b", "/a", "", Rest::Other);
        check("", "", "", Rest::Nothing);
    }
}
