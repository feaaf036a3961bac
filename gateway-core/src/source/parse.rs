//! From text to tree.
//!
//! In: a text. Out: its nodes, one root per document, and its syntax errors; a broken document does not hide the next.
//! Deliberately not here: what the nodes mean (`document`, `de`).

use std::collections::{HashMap, HashSet};

use granit_parser::{ErrorKind, Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::tree::{Entry, Node, NodeId, Tree, Value};
use super::{Limits, Source, scalar};
use crate::diagnostic::{Code, Diagnostic, Report};

pub(super) struct Parsed {
    pub(super) tree: Tree,
    /// The roots of the documents that are not broken.
    pub(super) roots: Vec<NodeId>,
    pub(super) report: Report,
}

pub(super) fn parse(source: &Source, limits: Limits) -> Parsed {
    let options = granit_parser::options! {
        emit_comments: false,
        flow_nesting_limit: limits.depth,
        block_nesting_limit: limits.depth,
    };
    let mut parser = Parser::new_from_str_with_options(&source.text, options);
    let mut builder = Builder::new(source, limits);
    while let Some(event) = parser.next_event() {
        let outcome = match event {
            Ok((event, span)) => builder.event(event, (position(&span.start), position(&span.end))),
            Err(error) => Err(syntax_error(source, &error)),
        };
        if let Err(diagnostic) = outcome {
            builder.give_up_document(*diagnostic);
            if builder.is_full() || !parser.proceed_next_document().unwrap_or(false) {
                break;
            }
        }
    }
    builder.parsed
}

fn position(marker: &Marker) -> u32 {
    u32::try_from(marker.byte_offset().unwrap_or(0)).unwrap_or(u32::MAX)
}

fn syntax_error(source: &Source, error: &ScanError) -> Box<Diagnostic> {
    let at = position(error.marker()) as usize;
    let code = match error.kind() {
        ErrorKind::RecursionLimitExceeded => Code::LimitExceeded,
        _ => Code::Syntax,
    };
    Box::new(Diagnostic::error(code, error.info()).span(source.span(at..at)))
}

struct Builder<'s> {
    source: &'s Source,
    limits: Limits,
    parsed: Parsed,
    open: Vec<Open>,
    anchors: HashMap<usize, NodeId>,
    aliased_nodes: usize,
    /// Number of roots before the current document.
    earlier_roots: usize,
}

/// A list or map whose end has not been seen.
struct Open {
    start: u32,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<NodeId>),
    Map { entries: Vec<Entry>, key: Option<(Box<str>, (u32, u32))>, merged: Vec<NodeId> },
}

type Outcome = Result<(), Box<Diagnostic>>;

impl<'s> Builder<'s> {
    fn new(source: &'s Source, limits: Limits) -> Self {
        let report = Report::new(limits.diagnostics);
        let parsed = Parsed { tree: Tree::default(), roots: Vec::new(), report };
        let (open, anchors) = (Vec::new(), HashMap::new());
        Self { source, limits, parsed, open, anchors, aliased_nodes: 0, earlier_roots: 0 }
    }

    fn event(&mut self, event: Event<'_>, (start, end): (u32, u32)) -> Outcome {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if self.takes_key(&text, (start, end)) {
                    return Ok(());
                }
                let value = scalar_value(&text, style, tag.as_deref());
                self.add(Node { start, end, value }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.open(start, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, _) => self.open(
                start,
                anchor,
                Content::Map { entries: Vec::new(), key: None, merged: Vec::new() },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.close(end),
            Event::Alias(anchor) => self.alias(anchor, (start, end)),
            Event::DocumentStart(..) => {
                self.earlier_roots = self.parsed.roots.len();
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Takes a scalar as the key of the innermost map, if one is due.
    fn takes_key(&mut self, text: &str, range: (u32, u32)) -> bool {
        match self.open.last_mut() {
            Some(Open { content: Content::Map { key: key @ None, .. }, .. }) => {
                *key = Some((text.into(), range));
                true
            }
            _ => false,
        }
    }

    fn open(&mut self, start: u32, anchor: usize, content: Content) -> Outcome {
        let is_key =
            matches!(self.open.last(), Some(Open { content: Content::Map { key: None, .. }, .. }));
        if is_key {
            return Err(self.error(Code::Syntax, "a key must be text", (start, start)));
        }
        self.open.push(Open { start, anchor, content });
        Ok(())
    }

    fn close(&mut self, end: u32) -> Outcome {
        let Some(Open { start, anchor, content }) = self.open.pop() else { return Ok(()) };
        let value = match content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, merged, .. } => Value::Map(self.finish_map(entries, &merged)?),
        };
        self.add(Node { start, end: end.max(start), value }, anchor)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Outcome {
        if self.is_full() {
            let message = format!("the text has more than {} nodes", self.limits.nodes);
            return Err(self.error(Code::LimitExceeded, message, (node.start, node.start)));
        }
        let id = self.parsed.tree.push(node);
        if anchor != 0 {
            self.anchors.insert(anchor, id);
        }
        self.attach(id);
        Ok(())
    }

    fn alias(&mut self, anchor: usize, range: (u32, u32)) -> Outcome {
        // INVARIANT: an anchor is known once its node is complete, so an alias cannot make a cycle.
        let Some(&id) = self.anchors.get(&anchor) else {
            return Err(self.error(
                Code::Syntax,
                "an alias must not be inside of what it stands for",
                range,
            ));
        };
        if let Some(Open { content: Content::Map { key: None, .. }, .. }) = self.open.last() {
            let Value::String(text) = &self.parsed.tree[id].value else {
                return Err(self.error(Code::Syntax, "a key must be text", range));
            };
            let text = text.clone();
            self.takes_key(&text, range);
            return Ok(());
        }
        self.attach(id);
        Ok(())
    }

    /// Puts a finished node where it belongs.
    fn attach(&mut self, id: NodeId) {
        let is_map = matches!(self.parsed.tree[id].value, Value::Map(_) | Value::List(_));
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.parsed.roots.push(id),
            Some(Content::List(items)) => items.push(id),
            Some(Content::Map { entries, key, merged }) => {
                if let Some((key, key_range)) = key.take() {
                    if &*key == "<<" && is_map {
                        merged.push(id);
                    } else {
                        entries.push(Entry { key, key_range, value: id });
                    }
                }
            }
        }
    }

    /// Drops repeated keys and adds what merge keys bring in; a map's own keys win over merged ones.
    fn finish_map(
        &mut self,
        mut entries: Vec<Entry>,
        merged: &[NodeId],
    ) -> Result<Vec<Entry>, Box<Diagnostic>> {
        self.drop_repeated_keys(&mut entries);
        for id in merged {
            let maps = match &self.parsed.tree[*id].value {
                Value::List(items) => items.as_slice(),
                _ => std::slice::from_ref(id),
            };
            for map in maps {
                let Value::Map(extra) = &self.parsed.tree[*map].value else { continue };
                self.aliased_nodes += 1 + extra.len() + entries.len();
                if self.aliased_nodes > self.limits.aliased_nodes {
                    let message = format!(
                        "merge keys bring in more than {} fields",
                        self.limits.aliased_nodes
                    );
                    let at = self.parsed.tree[*id].start;
                    return Err(self.error(Code::LimitExceeded, message, (at, at)));
                }
                let own: HashSet<&str> = entries.iter().map(|entry| &*entry.key).collect();
                let added: Vec<Entry> =
                    extra.iter().filter(|entry| !own.contains(&*entry.key)).cloned().collect();
                entries.extend(added);
            }
        }
        Ok(entries)
    }

    fn drop_repeated_keys(&mut self, entries: &mut Vec<Entry>) {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| (&*entries[*index].key, *index));
        let is_repeated = |pair: &[usize]| entries[pair[0]].key == entries[pair[1]].key;
        let repeated: HashSet<usize> =
            order.windows(2).filter(|pair| is_repeated(pair)).map(|pair| pair[1]).collect();
        let mut index = 0;
        entries.retain(|entry| {
            let keep = !repeated.contains(&index);
            index += 1;
            if !keep {
                let message =
                    format!("the field {:?} is given twice in the same object", entry.key);
                let error = self.error(Code::DuplicateField, message, entry.key_range);
                self.parsed
                    .report
                    .push((*error).help("remove one of the two; the first one is read"));
            }
            keep
        });
    }

    fn is_full(&self) -> bool {
        self.parsed.tree.len() >= self.limits.nodes
    }

    fn give_up_document(&mut self, diagnostic: Diagnostic) {
        self.parsed.report.push(diagnostic);
        self.parsed.roots.truncate(self.earlier_roots);
        self.open.clear();
        self.anchors.clear();
    }

    fn error(
        &self,
        code: Code,
        message: impl Into<String>,
        (start, end): (u32, u32),
    ) -> Box<Diagnostic> {
        Box::new(
            Diagnostic::error(code, message).span(self.source.span(start as usize..end as usize)),
        )
    }
}

fn scalar_value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    if style == ScalarStyle::Plain && !is_text {
        scalar::plain(text)
    } else {
        Value::String(text.into())
    }
}
