//! `ReplaceFullPath` and `ReplacePrefixMatch`, for redirects and rewrites alike.

use std::borrow::Cow;

use super::RequestFacts;

/// How a path is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathModifier {
    /// The whole path becomes this.
    ReplaceFullPath(Box<str>),
    /// The part that the matched prefix covers becomes this.
    ReplacePrefixMatch(Box<str>),
}

impl PathModifier {
    /// The new path for `path` (no query). Never empty, always starting with `/`, and never with
    /// two slashes that neither the request nor the replacement had. Bytes of the replacement that
    /// have no place in a path, such as `?`, are percent-encoded.
    ///
    /// ```
    /// use gateway_core::filter::{PathModifier, RequestFacts};
    /// let strip = PathModifier::ReplacePrefixMatch("/".into());
    /// let facts = RequestFacts { matched_prefix: Some("/foo".len()), ..RequestFacts::default() };
    /// assert_eq!(strip.apply("/foo/bar", &facts), "/bar");
    /// ```
    #[must_use]
    pub fn apply(&self, path: &str, facts: &RequestFacts) -> String {
        let (replacement, rest) = match self {
            Self::ReplaceFullPath(full) => (&**full, ""),
            Self::ReplacePrefixMatch(replacement) => {
                let rest = facts.matched_prefix.and_then(|covered| path.get(covered..));
                (replacement.trim_end_matches('/'), rest.unwrap_or(path))
            }
        };
        let replacement = encode(replacement);
        let mut new = String::with_capacity(replacement.len() + rest.len() + 1);
        if !replacement.starts_with('/') && (!replacement.is_empty() || !rest.starts_with('/')) {
            new.push('/');
        }
        new.push_str(&replacement);
        new.push_str(rest);
        new
    }
}

/// Percent-encodes what RFC 3986 does not allow in a path. What is encoded already stays.
fn encode(path: &str) -> Cow<'_, str> {
    let is_allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(byte);
    if path.as_bytes().iter().all(is_allowed) {
        return Cow::Borrowed(path);
    }
    let mut encoded = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if is_allowed(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 0xf] {
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::PathModifier;
    use crate::filter::RequestFacts;

    fn replace_prefix(path: &str, prefix: &str, replacement: &str) -> String {
        let covered = prefix.strip_suffix('/').unwrap_or(prefix).len();
        let facts = RequestFacts { matched_prefix: Some(covered), ..RequestFacts::default() };
        PathModifier::ReplacePrefixMatch(replacement.into()).apply(path, &facts)
    }

    #[test]
    fn prefixes() {
        for (path, prefix, replacement, expect) in [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/bar", "/foo", "/", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/prefix/one/two", "/prefix/one", "/one", "/one/two"),
            ("/strip-prefix/three", "/strip-prefix", "/", "/three"),
            ("/strip-prefix", "/strip-prefix", "/", "/"),
            ("/", "/", "/xyz", "/xyz/"),
            ("/a", "/", "/xyz", "/xyz/a"),
            ("/foo//bar", "/foo", "/", "//bar"),
            ("/foo/b%2Fr", "/foo", "xyz", "/xyz/b%2Fr"),
            ("/foo/bar", "/foo", "/a b?c#d", "/a%20b%3Fc%23d/bar"),
        ] {
            assert_eq!(replace_prefix(path, prefix, replacement), expect, "{path} {replacement}");
        }
    }

    #[test]
    fn full_paths() {
        for (full, expect) in [
            ("/one", "/one"),
            ("/one/", "/one/"),
            ("", "/"),
            ("one", "/one"),
            ("/ä%20?", "/%C3%A4%20%3F"),
        ] {
            let modifier = PathModifier::ReplaceFullPath(full.into());
            assert_eq!(modifier.apply("/full/one/two", &RequestFacts::default()), expect);
        }
    }

    proptest! {
        #[test]
        fn new_paths_are_well_formed(
            segments in proptest::collection::vec("[a-z]{1,3}", 0..5),
            trailing in "/?",
            covered in 0usize..5,
            replacement in "(/[a-z]{1,3}){0,3}/?",
        ) {
            let path = segments.iter().fold(String::new(), |path, one| path + "/" + one);
            let path = if path.is_empty() { "/".to_owned() } else { path + &trailing };
            let covered = segments.iter().take(covered).map(|one| one.len() + 1).sum();
            let facts = RequestFacts { matched_prefix: Some(covered), ..RequestFacts::default() };
            let new = PathModifier::ReplacePrefixMatch(replacement.into()).apply(&path, &facts);
            prop_assert!(new.starts_with('/'));
            prop_assert!(!new.contains("//"), "{}", new);
            prop_assert!(new.ends_with(&path[covered..]));
        }

        #[test]
        fn any_input_gives_a_path(
            path in "\\PC{0,20}",
            replacement in any::<String>(),
            covered in proptest::option::of(0usize..30),
            full: bool,
        ) {
            let facts = RequestFacts { matched_prefix: covered, ..RequestFacts::default() };
            let modifier = match full {
                true => PathModifier::ReplaceFullPath(replacement.into()),
                false => PathModifier::ReplacePrefixMatch(replacement.into()),
            };
            prop_assert!(modifier.apply(&path, &facts).starts_with('/'));
        }

        #[test]
        fn replacing_a_prefix_by_itself_changes_nothing(path in "(/[a-z]{1,2}){1,4}/?") {
            let end = path[1..].find('/').map_or(path.len(), |at| at + 1);
            prop_assert_eq!(replace_prefix(&path, &path[..end], &path[..end]), path);
        }
    }
}
