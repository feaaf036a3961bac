//! Paths of requests, compared as received: percent-encoded and case-sensitive.
//!
//! A path can be encoded in several ways that mean the same. Those of routes are in the normal form
//! that [`normal_path`] gives; whoever takes requests from strangers brings theirs into it, too.

use std::{borrow::Cow, fmt};

use super::{Pattern, PatternError, RegexLimits};

/// What the path of a request must be.
#[derive(Clone, Debug, PartialEq)]
pub enum PathPattern {
    /// Exactly this path, also in its trailing slash.
    Exact(Box<str>),
    /// This path or one below it, by whole segments. Kept without trailing slash, so `/` is empty.
    Prefix(Box<str>),
    /// A [`Pattern::Regex`] over the whole path.
    Regex(Pattern),
}

impl PathPattern {
    /// An exact path.
    #[must_use]
    pub fn exact(path: &str) -> Self {
        Self::Exact(path.into())
    }

    /// A prefix by segments; a trailing slash has no meaning.
    ///
    /// ```
    /// use gateway_core::matcher::PathPattern;
    /// let prefix = PathPattern::prefix("/v2/");
    /// assert!(prefix.is_match("/v2") && prefix.is_match("/v2/x"));
    /// assert!(!prefix.is_match("/v20"));
    /// ```
    #[must_use]
    pub fn prefix(path: &str) -> Self {
        Self::Prefix(path.strip_suffix('/').unwrap_or(path).into())
    }

    /// A regular expression over the whole path.
    ///
    /// # Errors
    /// As [`Pattern::regex`].
    pub fn regex(source: &str, limits: RegexLimits) -> Result<Self, PatternError> {
        Pattern::regex(source, limits).map(Self::Regex)
    }

    /// Whether `path` (no query) fits.
    #[must_use]
    pub fn is_match(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => path
                .strip_prefix(&**prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Regex(pattern) => pattern.is_match(path.as_bytes()),
        }
    }

    /// How many characters the value has, for precedence; a prefix counts without trailing slash.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Exact(value) | Self::Prefix(value) => value.len(),
            Self::Regex(pattern) => pattern.source().len(),
        }
    }
}

/// The normal form of a percent-encoded path (RFC 3986 section 6.2.2): letters, digits and `-._~` are
/// not encoded, and the digits of what is encoded are upper case. Broken encodings stay.
///
/// ```
/// use gateway_core::matcher::normal_path;
/// assert_eq!(normal_path("/%63art/caf%c3%a9%2fx"), "/cart/caf%C3%A9%2Fx");
/// assert_eq!(normal_path("/50%"), "/50%");
/// ```
#[must_use]
pub fn normal_path(path: &str) -> Cow<'_, str> {
    let Some(first) = path.find('%') else { return Cow::Borrowed(path) };
    let (start, mut rest) = path.split_at(first);
    let mut normal = String::with_capacity(path.len());
    normal.push_str(start);
    while let Some(char) = rest.chars().next() {
        match escaped(rest.as_bytes()) {
            Some(byte) if is_unreserved(byte) => normal.push(char::from(byte)),
            Some(_) => normal.push_str(&rest[..3].to_ascii_uppercase()),
            None => {
                normal.push(char);
                rest = &rest[char.len_utf8()..];
                continue;
            }
        }
        rest = &rest[3..];
    }
    Cow::Owned(normal)
}

/// The byte that `text` begins with in percent-encoding.
pub(crate) fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    match text {
        [b'%', high, low, ..] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
        _ => None,
    }
}

/// Whether RFC 3986 gives `byte` no special meaning anywhere, so that encoding it changes nothing.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

impl fmt::Display for PathPattern {
    /// Kind and value, such as `prefix /cart`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) => write!(f, "exact {path}"),
            Self::Prefix(path) if path.is_empty() => f.write_str("prefix /"),
            Self::Prefix(path) => write!(f, "prefix {path}"),
            Self::Regex(pattern) => write!(f, "expression {}", pattern.source()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::normal_path;

    #[test]
    fn normal_forms() {
        for (path, expect) in [
            ("/a", "/a"),
            ("/%61", "/a"),
            ("/%2d%2e%5f%7e", "/-._~"),
            ("/%2f%25", "/%2F%25"),
            ("/%2561", "/%2561"),
            ("/caf%c3%a9/é", "/caf%C3%A9/é"),
            ("/%6", "/%6"),
            ("/%zz%6a%", "/%zzj%"),
            ("/%é1", "/%é1"),
        ] {
            assert_eq!(normal_path(path), expect, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(path in "/([a-z]|%[0-9a-fA-F]{2}){0,6}") {
            let normal = normal_path(&path);
            prop_assert_eq!(&normal_path(&normal), &normal);
        }
    }
}
