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
    /// Diagnostics about one text; further ones are dropped.
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
    line_starts: Vec<usize>,
    tree: Tree,
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
        let mut loaded = Loaded::default();
        if source.text.len() > self.limits.bytes {
            let message = format!(
                "the text has {} bytes, more than {}",
                source.text.len(),
                self.limits.bytes
            );
            loaded
                .diagnostics
                .push(Diagnostic::error(Code::LimitExceeded, message).span(source.span(0..0)));
            return loaded;
        }
        let parsed = parse::parse(&source, self.limits);
        loaded.diagnostics = parsed.diagnostics;
        source.tree = parsed.tree;
        self.sources.push(source);
        let mut reader = document::Reader::new(self, &mut loaded);
        for root in parsed.roots {
            reader.read(root);
        }
        loaded
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
        let line_starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { name: name.into(), text, line_starts, tree: Tree::default() }
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
        let line = self.line_starts.partition_point(|line_start| *line_start <= start);
        let line_start = self.line_starts[line - 1];
        let first_line = self.text[start..end].lines().next().unwrap_or_default().trim_end();
        Span {
            source: Arc::clone(&self.name),
            bytes: start..end,
            line,
            column: self.text[line_start..start].chars().count() + 1,
            length: first_line.chars().count(),
        }
    }
}

/// The last character boundary not after `index`.
fn char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}
