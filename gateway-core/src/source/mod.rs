//! Reading objects from YAML and JSON, with the place of every field.
//!
//! In: named texts, each with any number of documents, lists included. Out: [`Loaded`], the objects that could be read
//! and everything that is wrong with the text; [`Sources::locate`] finds the place of a field later on.
//! Deliberately not here: files and folders (the program), whether values are allowed (`validate`).
//!
//! The text may be hostile. Size, depth, number of nodes and alias expansion are bounded ([`Limits`]); nothing recurses
//! deeper than the types of the API do.

mod de;
mod document;
mod parse;
mod scalar;
mod tree;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{ObjectKey, Resource};
use crate::diagnostic::{Code, Diagnostic, FieldPath, Segment, Span};
use tree::{NodeId, Tree, Value};

/// What may be read at most; everything beyond is an error, not a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size of one text in bytes.
    pub bytes: usize,
    /// Scalars, lists and maps in one text.
    pub nodes: usize,
    /// Lists and maps inside of each other.
    pub depth: usize,
    /// Nodes that are read again because of aliases and merge keys.
    pub aliased_nodes: usize,
    /// Diagnostics about one text; further ones are only counted.
    pub diagnostics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 64 << 20,
            nodes: 4_000_000,
            depth: 100,
            aliased_nodes: 100_000,
            diagnostics: 1_000,
        }
    }
}

/// All texts that were read, to find places in them.
///
/// ```
/// use gateway_core::api::{Kind, ObjectKey};
/// use gateway_core::diagnostic::FieldPath;
/// use gateway_core::source::Sources;
///
/// let mut sources = Sources::default();
/// let loaded = sources.load("shop.yaml", "\
/// apiVersion: gateway.networking.k8s.io/v1
/// kind: HTTPRoute
/// metadata: {name: shop}
/// spec:
///   hostname: [shop.example.com]
/// ");
/// assert_eq!(loaded.resources[0].0.key(), ObjectKey::new(Kind::HttpRoute, "default", "shop"));
/// assert_eq!(
///     loaded.diagnostics[0].to_string(),
///     "shop.yaml:5:3: warning[GW0006]: unknown field \"hostname\" (HTTPRoute default/shop spec.hostname)",
/// );
/// assert_eq!(loaded.diagnostics[0].help.as_deref(), Some("did you mean \"hostnames\"?"));
/// let span = sources.locate(&loaded.resources[0].0.key(), &FieldPath::from("spec.rules[0]")).unwrap();
/// assert_eq!((span.line, span.column), (4, 1), "the nearest field that exists");
/// ```
#[derive(Debug, Default)]
pub struct Sources {
    limits: Limits,
    sources: Vec<Source>,
    places: BTreeMap<ObjectKey, Place>,
}

/// What came out of one text.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The objects, in the order of the text.
    pub resources: Vec<(Resource, Origin)>,
    /// What is wrong with the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Where an object came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The `apiVersion` it was written in.
    pub api_version: Box<str>,
    /// Where it begins.
    pub span: Span,
}

/// One text and what was read from it.
#[derive(Debug)]
struct Source {
    name: Arc<str>,
    text: String,
    marks: Vec<Mark>,
    tree: Tree,
}

/// A byte whose line and column are known. There is one per line, and more in long lines.
#[derive(Clone, Copy, Debug)]
struct Mark {
    byte: usize,
    line: usize,
    column: usize,
}

/// The node of an object.
#[derive(Clone, Copy, Debug)]
struct Place {
    source: usize,
    node: NodeId,
}

impl Sources {
    /// No texts yet, with other limits than the default.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Reads a text and keeps it. `name` is what diagnostics call it, usually a file name.
    pub fn load(&mut self, name: &str, text: impl Into<String>) -> Loaded {
        let mut source = Source::new(name, text.into());
        if source.text.len() > self.limits.bytes {
            let message = format!(
                "the text has {} bytes, more than {}",
                source.text.len(),
                self.limits.bytes
            );
            let diagnostic =
                Diagnostic::error(Code::LimitExceeded, message).span(source.span(0..0));
            return Loaded { resources: Vec::new(), diagnostics: vec![diagnostic] };
        }
        let parse::Parsed { tree, roots, report } = parse::parse(&source, self.limits);
        source.tree = tree;
        self.sources.push(source);
        let mut reader = document::Reader::new(self, report);
        for root in roots {
            reader.read(root);
        }
        reader.finish()
    }

    /// Reads bytes, which must be UTF-8.
    pub fn load_bytes(&mut self, name: &str, bytes: Vec<u8>) -> Loaded {
        match String::from_utf8(bytes) {
            Ok(text) => self.load(name, text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let source = Source::new(
                    name,
                    String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned(),
                );
                let diagnostic = Diagnostic::error(Code::Syntax, "the text is not UTF-8")
                    .span(source.span(valid..valid));
                Loaded { resources: Vec::new(), diagnostics: vec![diagnostic] }
            }
        }
    }

    /// The text that was loaded under `name`.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.sources.iter().find(|source| &*source.name == name).map(|source| source.text.as_str())
    }

    /// Where a field stands, or the nearest field above it that exists; nothing if the object is not from a text.
    #[must_use]
    pub fn locate(&self, object: &ObjectKey, field: &FieldPath) -> Option<Span> {
        let place = self.places.get(object)?;
        let source = self.sources.get(place.source)?;
        Some(source.nearest_span(place.node, field))
    }

    /// Fills in the place of a diagnostic that names an object and has none yet.
    pub fn place(&self, diagnostic: &mut Diagnostic) {
        if let (None, Some(object)) = (&diagnostic.span, &diagnostic.object) {
            diagnostic.span = self.locate(object, &diagnostic.field);
        }
    }
}

/// A field that exists: its key, unless it is a list item or the object itself, and its value.
struct Field {
    key: Option<(u32, u32)>,
    node: NodeId,
}

impl Tree {
    fn step(&self, node: NodeId, segment: Segment<'_>) -> Option<Field> {
        match (&self[node].value, segment) {
            (Value::Map(entries), Segment::Field(name)) => {
                let entry = entries.iter().find(|entry| &*entry.key == name)?;
                Some(Field { key: Some(entry.key_range), node: entry.value })
            }
            (Value::List(items), Segment::Index(index)) => {
                Some(Field { key: None, node: *items.get(index)? })
            }
            _ => None,
        }
    }
}

impl Source {
    fn new(name: &str, text: String) -> Self {
        let marks = marks(&text);
        Self { name: name.into(), text, marks, tree: Tree::default() }
    }

    /// The place of a field below `object`, or of the nearest field above it that exists.
    fn nearest_span(&self, object: NodeId, field: &FieldPath) -> Span {
        let mut found = Field { key: None, node: object };
        for segment in field.segments() {
            match self.tree.step(found.node, segment) {
                Some(next) => found = next,
                None => break,
            }
        }
        self.field_span(&found)
    }

    /// A scalar is shown by its value, anything larger by its key or its first line.
    fn field_span(&self, field: &Field) -> Span {
        let node = &self.tree[field.node];
        match (field.key, node.value.is_scalar() && node.start < node.end) {
            (Some((start, end)), false) => self.span(start as usize..end as usize),
            _ => self.span(node.start as usize..node.end as usize),
        }
    }

    /// The place of some bytes; the length stops at the end of the first line.
    fn span(&self, bytes: std::ops::Range<usize>) -> Span {
        let start = char_boundary(&self.text, bytes.start);
        let end = char_boundary(&self.text, bytes.end.max(start));
        let mark = self.marks[self.marks.partition_point(|mark| mark.byte <= start) - 1];
        let shown = &self.text[start..char_boundary(&self.text, end.min(start + MARK_DISTANCE))];
        let first_line = shown.lines().next().unwrap_or_default().trim_end();
        Span {
            source: Arc::clone(&self.name),
            bytes: start..end,
            line: mark.line,
            column: mark.column + self.text[mark.byte..start].chars().count(),
            length: first_line.chars().count(),
        }
    }
}

/// Bytes that may have to be counted to find a column, or to measure the first line of a field.
const MARK_DISTANCE: usize = 4096;

// INVARIANT: the first mark is at byte 0, so there is a mark at or before every byte.
fn marks(text: &str) -> Vec<Mark> {
    let mut marks = vec![Mark { byte: 0, line: 1, column: 1 }];
    let (mut line, mut column, mut latest) = (1, 1, 0);
    for (byte, character) in text.char_indices() {
        let is_line_end = character == '\n';
        (line, column) = if is_line_end { (line + 1, 1) } else { (line, column + 1) };
        let next = byte + character.len_utf8();
        if is_line_end || next - latest >= MARK_DISTANCE {
            marks.push(Mark { byte: next, line, column });
            latest = next;
        }
    }
    marks
}

/// The last character boundary not after `index`.
fn char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
