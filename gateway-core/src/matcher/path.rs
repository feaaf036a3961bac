//! Paths of requests, compared as received: percent-encoded and case-sensitive.

use std::fmt;

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
