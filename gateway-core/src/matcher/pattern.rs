//! Values compared as a whole: literal, or a regular expression with bounds.

use std::{fmt, sync::Arc};

use regex_automata::{meta::Regex, util::syntax};

/// Bounds for regular expressions, which users write and which therefore may be hostile.
///
/// Matching is linear in the length of the input whatever the pattern; these bounds keep the
/// compiled form small as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegexLimits {
    /// Longest pattern, in bytes. Default 1,024, as the API's own limit for path values.
    pub pattern_bytes: usize,
    /// Largest compiled form of one pattern, in bytes. Default 256 KiB.
    pub compiled_bytes: usize,
}

impl Default for RegexLimits {
    fn default() -> Self {
        Self { pattern_bytes: 1024, compiled_bytes: 256 * 1024 }
    }
}

/// Why a regular expression was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// The text is longer than [`RegexLimits::pattern_bytes`].
    #[error("the pattern has {length} bytes, at most {limit} are allowed")]
    TooLong {
        /// Bytes of the pattern.
        length: usize,
        /// The limit that it exceeds.
        limit: usize,
    },
    /// The compiled form would exceed [`RegexLimits::compiled_bytes`].
    #[error("the pattern compiles to more than {limit} bytes; use smaller repetition counts")]
    TooLarge {
        /// The limit that it exceeds.
        limit: usize,
    },
    /// The text is no regular expression, or uses look-around or back-references, which cannot be
    /// matched in linear time.
    #[error("{0}")]
    Syntax(Box<str>),
}

/// A literal or a regular expression that must match the whole input.
#[derive(Clone)]
pub enum Pattern {
    /// Equal byte for byte.
    Exact(Box<str>),
    /// The expression, anchored at both ends.
    Regex(Arc<CompiledRegex>),
}

/// What header and query parameter values are compared with.
pub type ValuePattern = Pattern;

/// A compiled expression beside its source text.
pub struct CompiledRegex {
    source: Box<str>,
    regex: Regex,
}

impl Pattern {
    /// A literal.
    #[must_use]
    pub fn exact(value: impl Into<Box<str>>) -> Self {
        Self::Exact(value.into())
    }

    /// A regular expression in the syntax of the `regex` crate, on bytes, anchored at both ends.
    ///
    /// # Errors
    /// If the text is not an expression of that syntax or exceeds `limits`.
    pub fn regex(source: &str, limits: RegexLimits) -> Result<Self, PatternError> {
        CompiledRegex::new(source, limits).map(|regex| Self::Regex(Arc::new(regex)))
    }

    /// Whether the whole of `input` is matched.
    #[must_use]
    pub fn is_match(&self, input: &[u8]) -> bool {
        match self {
            Self::Exact(value) => value.as_bytes() == input,
            Self::Regex(regex) => regex.is_match(input),
        }
    }

    /// The literal or the expression as the user wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        match self {
            Self::Exact(value) => value,
            Self::Regex(regex) => &regex.source,
        }
    }
}

impl CompiledRegex {
    fn new(source: &str, limits: RegexLimits) -> Result<Self, PatternError> {
        if source.len() > limits.pattern_bytes {
            let (length, limit) = (source.len(), limits.pattern_bytes);
            return Err(PatternError::TooLong { length, limit });
        }
        // Parsed alone first, so that an unbalanced group cannot close the anchoring group.
        let syntax = Self::syntax();
        syntax::parse_with(source, &syntax)
            .map_err(|error| PatternError::Syntax(error.to_string().into()))?;
        let config = Regex::config()
            .utf8_empty(false)
            .nfa_size_limit(Some(limits.compiled_bytes))
            .onepass_size_limit(Some(limits.compiled_bytes / 4))
            .hybrid_cache_capacity(limits.compiled_bytes);
        let regex = Regex::builder()
            .configure(config)
            .syntax(syntax)
            .build(&format!("^(?:{source})$"))
            .map_err(|error| match error.size_limit() {
                Some(limit) => PatternError::TooLarge { limit },
                None => PatternError::Syntax(error.to_string().into()),
            })?;
        Ok(Self { source: source.into(), regex })
    }

    /// How expressions are read: on bytes, without Unicode classes.
    pub(crate) fn syntax() -> syntax::Config {
        syntax::Config::new().utf8(false).unicode(false).nest_limit(64)
    }

    /// The expression as the user wrote it.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole of `input` is matched.
    #[must_use]
    pub fn is_match(&self, input: &[u8]) -> bool {
        self.regex.is_match(input)
    }
}

// Two patterns are the same if their texts are: the compiled form follows from the text.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.source == b.source,
            _ => false,
        }
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    /// How the pattern compares and with what, such as `= blue` or `~ bl.*`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => write!(f, "= {value}"),
            Self::Regex(regex) => write!(f, "~ {}", regex.source),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => write!(f, "Exact({value:?})"),
            Self::Regex(regex) => write!(f, "Regex({:?})", regex.source),
        }
    }
}

impl fmt::Debug for CompiledRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CompiledRegex").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, PatternError, RegexLimits};

    fn regex(source: &str) -> Result<Pattern, PatternError> {
        Pattern::regex(source, RegexLimits::default())
    }

    #[test]
    fn an_expression_must_match_the_whole_input() {
        let pattern = regex("a|bc").expect("valid");
        for (input, expect) in [("a", true), ("bc", true), ("abc", false), ("xa", false)] {
            assert_eq!(pattern.is_match(input.as_bytes()), expect, "{input}");
        }
    }

    #[test]
    fn bad_expressions_are_refused() {
        assert!(matches!(regex("a)(b"), Err(PatternError::Syntax(_))));
        assert!(matches!(regex("(?=a)"), Err(PatternError::Syntax(_))));
        assert!(matches!(regex(&"a".repeat(1025)), Err(PatternError::TooLong { .. })));
        assert!(matches!(regex("((a{100}){100}){100}"), Err(PatternError::TooLarge { .. })));
    }
}
