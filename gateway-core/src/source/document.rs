//! From documents to objects.
//!
//! In: the root node of a document. Out: the objects in it, lists taken apart, with namespace and origin.
//! Deliberately not here: reading the fields of an object (`de`).

use super::de::{Finding, Walk};
use super::tree::{NodeId, Tree, Value};
use super::{Field, Loaded, Origin, Place, Source, Sources};
use crate::api::{Kind, ObjectKey, Resource};
use crate::diagnostic::{Code, Diagnostic, FieldPath, Report, Severity, Span, suggest};

/// Reads the documents of the text that was added last.
pub(super) struct Reader<'s> {
    index: usize,
    source: &'s Source,
    earlier: &'s [Source],
    places: &'s mut std::collections::BTreeMap<ObjectKey, Place>,
    resources: Vec<(Resource, Origin)>,
    report: Report,
    /// Nodes that may still be read.
    budget: usize,
}

/// Lists that may be missing but not empty: the kind, and where in it the list is.
const LISTS_WITH_DEFAULT: [(Kind, &str, &str); 1] = [(Kind::HttpRoute, "spec", "rules")];

/// A node that should be an object, and what a list around it says about its kind.
struct Candidate<'s> {
    node: NodeId,
    /// `apiVersion` and kind of the items of that list.
    item_of: Option<(&'s str, &'s str)>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(sources: &'s mut Sources, report: Report) -> Self {
        let Sources { limits, sources, places } = sources;
        let (source, earlier) = sources.split_last().expect("a text was just added");
        let budget = source.tree.len() + limits.aliased_nodes;
        Self {
            index: earlier.len(),
            source,
            earlier,
            places,
            resources: Vec::new(),
            report,
            budget,
        }
    }

    pub(super) fn finish(self) -> Loaded {
        Loaded { resources: self.resources, diagnostics: self.report.finish() }
    }

    /// Reads the objects of one document; lists may contain lists.
    pub(super) fn read(&mut self, root: NodeId) {
        let mut candidates = vec![Candidate { node: root, item_of: None }];
        while let Some(candidate) = candidates.pop() {
            if self.budget == 0 {
                let message = "the aliases of the text expand too far; the rest of it is not read";
                self.report
                    .push(Diagnostic::error(Code::LimitExceeded, message).span(self.span(root)));
                return;
            }
            self.budget -= 1;
            if !matches!(self.tree()[candidate.node].value, Value::Null) {
                self.read_candidate(&candidate, &mut candidates);
            }
        }
    }

    fn tree(&self) -> &'s Tree {
        &self.source.tree
    }

    fn read_candidate(&mut self, candidate: &Candidate<'s>, rest: &mut Vec<Candidate<'s>>) {
        let node = candidate.node;
        if !matches!(self.tree()[node].value, Value::Map(_)) {
            let message =
                format!("expected an object, found {}", self.tree()[node].value.describe());
            self.report.push(Diagnostic::error(Code::NotAnObject, message).span(self.span(node)));
            return;
        }
        let (list_version, list_kind) = candidate.item_of.unzip();
        let version = self.tree().get_str(node, "apiVersion").or(list_version);
        let kind = self.tree().get_str(node, "kind").or(list_kind);
        let (Some(version), Some(kind)) = (version, kind) else {
            let field = if version.is_none() { "apiVersion" } else { "kind" };
            let diagnostic = match self.tree().get(node, field) {
                Some(value) => {
                    Diagnostic::error(Code::NotAnObject, format!("the {field} must be a string"))
                        .span(self.span(value))
                }
                None => Diagnostic::error(Code::NotAnObject, format!("the object has no {field}"))
                    .help("every object begins with its apiVersion and kind")
                    .span(self.span(node)),
            };
            self.report.push(diagnostic);
            return;
        };
        match self.items(node, version, kind) {
            Some(items) => {
                self.budget = self.budget.saturating_sub(items.len());
                rest.extend(items);
            }
            None => self.read_object(node, version, kind),
        }
    }

    /// The items of a list, the last one first; nothing if the object is no list.
    fn items(&self, node: NodeId, version: &'s str, kind: &'s str) -> Option<Vec<Candidate<'s>>> {
        let item_kind = kind.strip_suffix("List")?;
        let Value::List(items) = &self.tree()[self.tree().get(node, "items")?].value else {
            return None;
        };
        let item_of = (!item_kind.is_empty()).then_some((version, item_kind));
        Some(items.iter().rev().map(|node| Candidate { node: *node, item_of }).collect())
    }

    fn read_object(&mut self, node: NodeId, version: &str, kind_name: &str) {
        let Some(kind) = Resource::find_kind(version, kind_name) else {
            let diagnostic = unknown_kind(version, kind_name)
                .span(self.span(self.tree().get(node, "kind").unwrap_or(node)));
            self.report.push(diagnostic);
            return;
        };
        let Some(key) = self.object_key(node, kind) else {
            let field = FieldPath::from("metadata.name");
            let diagnostic = Diagnostic::error(
                Code::MissingName,
                format!("a {kind} needs a name, which is a string"),
            )
            .span(self.source.nearest_span(node, &field))
            .field(field);
            self.report.push(diagnostic);
            return;
        };
        if let Some(earlier) = self.places.get(&key) {
            let first =
                self.source_at(earlier.source).field_span(&Field { key: None, node: earlier.node });
            let diagnostic = Diagnostic::error(
                Code::DuplicateObject,
                format!("{key} is already defined at {first}"),
            )
            .help("only the first one is read; remove or rename one of them")
            .object(key)
            .span(self.span(node));
            self.report.push(diagnostic);
            return;
        }
        self.places.insert(key.clone(), Place { source: self.index, node });
        if let Some(mut resource) = self.deserialize(node, kind, &key) {
            resource.metadata_mut().namespace = key.namespace.into();
            let origin = Origin { api_version: version.into(), span: self.span(node) };
            self.resources.push((resource, origin));
        }
    }

    /// Namespaced objects without namespace are in `default`, as with kubectl.
    fn object_key(&self, node: NodeId, kind: Kind) -> Option<ObjectKey> {
        let metadata = self.tree().get(node, "metadata")?;
        let name = self.tree().get_str(metadata, "name").filter(|name| !name.is_empty())?;
        if !kind.is_namespaced() {
            return Some(ObjectKey::cluster(kind, name));
        }
        let namespace =
            self.tree().get_str(metadata, "namespace").filter(|namespace| !namespace.is_empty());
        Some(ObjectKey::new(kind, namespace.unwrap_or("default"), name))
    }

    fn deserialize(&mut self, node: NodeId, kind: Kind, key: &ObjectKey) -> Option<Resource> {
        let mut walk = Walk::new(self.tree(), self.budget);
        walk.reports_unknown_fields = kind.is_gateway_api();
        walk.shows_values = kind != Kind::Secret;
        let outcome = Resource::deserialize(kind, walk.deserializer(node));
        self.budget = walk.budget.get();
        for finding in walk.into_findings() {
            self.report_finding(finding, Severity::Warning, key, node);
        }
        let outcome = outcome.map_err(|error| error.into_finding());
        match outcome.and_then(|resource| self.refuse_empty(kind, node).map_or(Ok(resource), Err)) {
            Ok(resource) => Some(resource),
            Err(finding) => {
                self.report_finding(finding, Severity::Error, key, node);
                None
            }
        }
    }

    // SPEC: a list that is missing gets its default, but one that is there must have an item. Objects do not
    // tell the two apart, so `validate` cannot.
    fn refuse_empty(&self, kind: Kind, node: NodeId) -> Option<Finding> {
        let (_, parent, list) = LISTS_WITH_DEFAULT.iter().find(|(its, ..)| *its == kind)?;
        let value = self.tree().get(self.tree().get(node, parent)?, list)?;
        matches!(&self.tree()[value].value, Value::List(items) if items.is_empty()).then(|| {
            Finding {
                code: Code::ListLength,
                field: FieldPath::from(*parent).field(list),
                message: "the list has 0 items, allowed are 1 or more".to_owned(),
                help: Some(format!("remove {list} for its default, or write an item")),
                key_range: None,
            }
        })
    }

    fn report_finding(
        &mut self,
        finding: Finding,
        severity: Severity,
        key: &ObjectKey,
        node: NodeId,
    ) {
        let Finding { code, field, message, help, key_range } = finding;
        let span = match key_range {
            Some((start, end)) => self.source.span(start as usize..end as usize),
            None => self.source.nearest_span(node, &field),
        };
        let object = Some(key.clone());
        self.report.push(Diagnostic {
            code,
            severity,
            object,
            field,
            message,
            help,
            span: Some(span),
        });
    }

    fn source_at(&self, index: usize) -> &'s Source {
        self.earlier.get(index).unwrap_or(self.source)
    }

    fn span(&self, node: NodeId) -> Span {
        self.source.field_span(&Field { key: None, node })
    }
}

/// A kind of the Gateway API that cannot be read is a mistake; any other kind is none of our business.
fn unknown_kind(version: &str, kind: &str) -> Diagnostic {
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    if let Some(known) = Kind::find(group, kind) {
        let message = format!("{kind} is not served in version {version:?}");
        return Diagnostic::error(Code::UnservedVersion, message)
            .help(format!("use {:?}", known.api_version()));
    }
    let message = format!("{kind} of {version:?} is not read and has no effect");
    if let Some(known) =
        Kind::ALL.iter().find(|known| known.as_str() == kind && known.is_gateway_api())
    {
        return Diagnostic::warning(Code::UnknownKind, message)
            .help(format!("did you mean the {kind} of {:?}?", known.api_version()));
    }
    let in_group =
        Kind::ALL.iter().filter(|known| known.is_gateway_api() && known.group() == group);
    let is_ours = in_group.clone().next().is_some();
    match suggest::nearest(kind, in_group.map(|known| known.as_str())) {
        Some(meant) => {
            Diagnostic::warning(Code::UnknownKind, message).help(format!("did you mean {meant:?}?"))
        }
        None if is_ours => Diagnostic::warning(Code::UnknownKind, message),
        None => Diagnostic::note(Code::UnknownKind, message),
    }
}
