//! `ReplaceFullPath` and `ReplacePrefixMatch`, for redirects and rewrites alike.

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
    /// two slashes that the request did not have.
    ///
    /// ```
    /// use gateway_core::filter::{PathModifier, RequestFacts};
    /// let strip = PathModifier::ReplacePrefixMatch("/".into());
    /// let facts = RequestFacts { matched_prefix: Some("/foo".len()), ..RequestFacts::default() };
    /// assert_eq!(strip.apply("/foo/bar", &facts), "/bar");
    /// ```
    #[must_use]
    pub fn apply(&self, path: &str, facts: &RequestFacts) -> String {
        let new = match self {
            Self::ReplaceFullPath(full) => full.to_string(),
            Self::ReplacePrefixMatch(replacement) => {
                let rest =
                    facts.matched_prefix.and_then(|covered| path.get(covered..)).unwrap_or(path);
                let replacement = replacement.strip_suffix('/').unwrap_or(replacement);
                let mut new = String::with_capacity(replacement.len() + rest.len());
                new.push_str(replacement);
                new.push_str(rest);
                new
            }
        };
        if new.starts_with('/') { new } else { format!("/{new}") }
    }
}
