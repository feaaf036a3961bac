//! What is wrong with a user's configuration, as data.
//!
//! In: a finding of `source`, `validate`, `resolve` or a lint. Out: [`Diagnostic`] with a stable [`Code`], the object
//! and field it is about, and the place in a file if it came from one.
//! Deliberately not here: showing source excerpts and colours; the program does that from [`Span`].

mod code;
pub(crate) mod suggest;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use crate::api::ObjectKey;

pub use code::Code;

/// One mistake, or one remark.
///
/// `Display` gives one line: `shop.yaml:12:9: error[GW0007]: … (HTTPRoute default/shop spec.rules[0])`.
///
/// ```
/// use gateway_core::api::{Kind, ObjectKey};
/// use gateway_core::diagnostic::{Code, Diagnostic, FieldPath};
///
/// let diagnostic = Diagnostic::error(Code::InvalidDuration, "a duration needs a unit")
///     .object(ObjectKey::new(Kind::HttpRoute, "default", "shop"))
///     .field(FieldPath::from("spec.rules[0].timeouts.request"))
///     .help("write 10s for ten seconds");
/// assert_eq!(
///     diagnostic.to_string(),
///     "error[GW0110]: a duration needs a unit (HTTPRoute default/shop spec.rules[0].timeouts.request)",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Which rule is broken; stable across versions.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The object it is about; none if the text could not be read that far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectKey>,
    /// The field of the object; empty for the object as a whole.
    #[serde(skip_serializing_if = "FieldPath::is_root")]
    pub field: FieldPath,
    /// What was seen and what is wrong with it: one sentence in lower case, without full stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Where it stands in a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}

impl Diagnostic {
    /// A mistake: the API server would refuse the object, or the text cannot be read.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// Something that is allowed but probably not what was meant.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Something worth knowing.
    #[must_use]
    pub fn note(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, message)
    }

    fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            code,
            severity,
            object: None,
            field: FieldPath::root(),
            message,
            help: None,
            span: None,
        }
    }

    /// Says which object it is about.
    #[must_use]
    pub fn object(mut self, object: ObjectKey) -> Self {
        self.object = Some(object);
        self
    }

    /// Says which field it is about.
    #[must_use]
    pub fn field(mut self, field: FieldPath) -> Self {
        self.field = field;
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says where it stands in a file.
    #[must_use]
    pub fn span(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let mut f = OneLine(f);
        if let Some(span) = &self.span {
            write!(f, "{span}: ")?;
        }
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        match (&self.object, self.field.is_root()) {
            (Some(object), true) => write!(f, " ({object})"),
            (Some(object), false) => write!(f, " ({object} {})", self.field),
            (None, true) => Ok(()),
            (None, false) => write!(f, " ({})", self.field),
        }
    }
}

/// Escapes control characters, so that a name in a file can neither break the line nor drive a terminal.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.char_indices().next_back() {
                Some((at, control)) if control.is_control() => {
                    write!(self.0, "{}{}", &part[..at], control.escape_default())?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

/// Findings up to a limit. What is beyond is counted and summed up, so that no error goes unnoticed.
#[derive(Debug)]
pub(crate) struct Report {
    shown: Vec<Diagnostic>,
    limit: usize,
    hidden: usize,
    hides_error: bool,
}

impl Report {
    pub(crate) fn new(limit: usize) -> Self {
        Self { shown: Vec::new(), limit, hidden: 0, hides_error: false }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        if self.shown.len() < self.limit {
            self.shown.push(diagnostic);
        } else {
            self.hidden += 1;
            self.hides_error |= diagnostic.is_error();
        }
    }

    /// The findings, and if there are more than the limit, one more that says so.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        let severity = if self.hides_error { Severity::Error } else { Severity::Warning };
        if let (Some(last), 1..) = (self.shown.last(), self.hidden) {
            let message = format!("{} more findings are not shown", self.hidden);
            let mut sum = Diagnostic::new(severity, Code::FindingsHidden, message);
            sum.object.clone_from(&last.object);
            sum.span.clone_from(&last.span);
            self.shown.push(sum);
        }
        self.shown
    }
}

/// How bad a finding is; the worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The API server would refuse the object, or the text cannot be read.
    Error,
    /// Allowed, but probably not what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

// === Span ===

/// A place in a source text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// Name of the source, usually a file name.
    pub source: Arc<str>,
    /// Bytes of the text.
    pub bytes: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// Length in characters, up to the end of the first line.
    pub length: usize,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source, self.line, self.column)
    }
}

// === FieldPath ===

/// The way to a field: `spec.rules[2].filters[0].type`, or `metadata.labels["example.com/team"]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FieldPath(String);

/// One step of a [`FieldPath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A field of an object, or a key of a map.
    Field(&'a str),
    /// An item of a list, from 0.
    Index(usize),
}

impl FieldPath {
    /// The object itself.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// Whether it is the object itself.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of a field, or of a key, below this one.
    #[must_use]
    pub fn field(&self, name: &str) -> Self {
        let mut path = self.clone();
        path.push(Segment::Field(name));
        path
    }

    /// The path of a list item below this one.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.push(Segment::Index(index));
        path
    }

    /// Goes one step down.
    pub fn push(&mut self, segment: Segment<'_>) {
        use fmt::Write;
        let written = match segment {
            Segment::Index(index) => write!(self.0, "[{index}]"),
            Segment::Field(name) if !is_plain(name) => write!(self.0, "[\"{name}\"]"),
            Segment::Field(name) if self.0.is_empty() => self.0.write_str(name),
            Segment::Field(name) => write!(self.0, ".{name}"),
        };
        written.expect("writing to a String does not fail");
    }

    /// Goes back up to where the text of the path had `length` bytes.
    #[cfg(feature = "yaml")]
    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// The steps from the object down.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let mut rest = self.0.as_str();
        std::iter::from_fn(move || {
            let (segment, tail) = split_segment(rest)?;
            rest = tail;
            Some(segment)
        })
    }
}

impl From<&str> for FieldPath {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

impl From<String> for FieldPath {
    fn from(path: String) -> Self {
        Self(path)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn split_segment(path: &str) -> Option<(Segment<'_>, &str)> {
    if let Some(rest) = path.strip_prefix("[\"") {
        let (key, tail) = rest.split_once("\"]")?;
        return Some((Segment::Field(key), tail));
    }
    if let Some(rest) = path.strip_prefix('[') {
        let (index, tail) = rest.split_once(']')?;
        return Some((Segment::Index(index.parse().ok()?), tail));
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    (end > 0).then(|| (Segment::Field(&path[..end]), &path[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, segments: &[Segment<'_>]) {
        assert_eq!(FieldPath::from(path).segments().collect::<Vec<_>>(), segments);
        let mut built = FieldPath::root();
        segments.iter().for_each(|segment| built.push(*segment));
        assert_eq!(built.as_str(), path);
    }

    #[test]
    fn field_paths_split_into_what_they_were_built_from() {
        use Segment::{Field, Index};
        check("", &[]);
        check("spec", &[Field("spec")]);
        check(
            "spec.rules[2].filters[0].type",
            &[Field("spec"), Field("rules"), Index(2), Field("filters"), Index(0), Field("type")],
        );
        check(
            "metadata.labels[\"example.com/team\"]",
            &[Field("metadata"), Field("labels"), Field("example.com/team")],
        );
    }

    #[test]
    fn broken_paths_end_early() {
        for path in ["a[x]", "a[", "a[\"b", "a..b", "a[1"] {
            assert_eq!(
                FieldPath::from(path).segments().collect::<Vec<_>>(),
                [Segment::Field("a")],
                "{path}"
            );
        }
    }
}
