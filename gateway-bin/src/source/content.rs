//! What one file defines.
//!
//! In: bytes. Out: the objects that an API server would take, and what is wrong with the others.
//! Not here: other files.

use std::{collections::BTreeMap, io};

use gateway_core::{
    api::{ObjectKey, Resource},
    diagnostic::{Code, Diagnostic, Span},
    source::Sources,
    validate::{Schema, validate},
};

const KEPT: &str = "until then its last good version stays in use";

/// The objects of a text.
#[derive(Debug, Default)]
pub(super) struct Content {
    sources: Sources,
    objects: BTreeMap<ObjectKey, Object>,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, Debug)]
struct Object {
    resource: Resource,
    /// None if it is the version of an earlier text.
    span: Option<Span>,
}

impl Content {
    /// Reads a text. Objects that an API server would refuse are left out.
    pub(super) fn parse(name: &str, bytes: Vec<u8>) -> Self {
        let mut sources = Sources::default();
        let loaded = sources.load_bytes(name, bytes);
        let mut content = Self { sources, diagnostics: loaded.diagnostics, ..Self::default() };
        for (resource, origin) in loaded.resources {
            let api_version = Some(&*origin.api_version);
            let schema = Schema { api_version, ..Schema::default() };
            let mut findings = validate(&resource, schema);
            findings.iter_mut().for_each(|finding| content.sources.place(finding));
            if !findings.iter().any(Diagnostic::is_error) {
                let span = Some(origin.span);
                content.objects.insert(resource.key(), Object { resource, span });
            }
            content.diagnostics.extend(findings);
        }
        content
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(name: &str, error: &io::Error) -> Self {
        let mut content = Self::default();
        content.diagnostics.push(unreadable(name, error));
        content
    }

    /// Whether the text as a whole could not be read, so that nothing is known about what should
    /// be in it.
    pub(super) fn is_broken(&self) -> bool {
        let breaks = |code| matches!(code, Code::Syntax | Code::LimitExceeded | Code::Unreadable);
        self.diagnostics.iter().any(|finding| finding.is_error() && breaks(finding.code))
    }

    /// Keeps the earlier versions of the objects that are refused now.
    pub(super) fn keep_from(&mut self, earlier: &Self) {
        let mut kept = BTreeMap::new();
        for finding in self.diagnostics.iter_mut().filter(|finding| finding.is_error()) {
            let Some(key) = finding.object.clone() else { continue };
            let Some(object) = earlier.objects.get(&key) else { continue };
            if !self.objects.contains_key(&key) {
                add_help(finding, KEPT);
                kept.insert(key, Object { span: None, ..object.clone() });
            }
        }
        self.objects.append(&mut kept);
    }

    /// Says of a broken text that the objects of an earlier one are still in use.
    pub(super) fn note_kept(&mut self) {
        for finding in self.diagnostics.iter_mut().filter(|finding| finding.is_error()) {
            add_help(finding, KEPT);
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &ObjectKey> {
        self.objects.keys()
    }

    pub(super) fn resource(&self, key: &ObjectKey) -> Option<&Resource> {
        self.objects.get(key).map(|object| &object.resource)
    }

    /// Where an object begins; none if it is not there or that of an earlier text.
    pub(super) fn span(&self, key: &ObjectKey) -> Option<&Span> {
        self.objects.get(key)?.span.as_ref()
    }

    pub(super) fn sources(&self) -> &Sources {
        &self.sources
    }

    pub(super) fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }
}

/// That a path cannot be read.
pub(super) fn unreadable(name: &str, error: &io::Error) -> Diagnostic {
    let message = format!("{name} cannot be read: {error}");
    let span = Span { source: name.into(), bytes: 0..0, line: 1, column: 1, length: 0 };
    Diagnostic::error(Code::Unreadable, message).span(span)
}

/// Adds to the advice of a finding.
pub(super) fn add_help(finding: &mut Diagnostic, more: &str) {
    finding.help = Some(match finding.help.take() {
        Some(help) => format!("{help}; {more}"),
        None => format!("correct it; {more}"),
    });
}
