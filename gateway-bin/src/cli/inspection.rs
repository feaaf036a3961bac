//! What files come to, without serving them.
//!
//! In: paths. Out: the objects, what is built from them, and all that is wrong. Not here: printing.

use std::sync::Arc;

use gateway_core::{
    build::{Build, build},
    diagnostic::Diagnostic,
    lint::{lint, lint_resources},
    scope::ControllerScope,
    snapshot::Snapshot,
};

use crate::{
    args::Input,
    certificates::Certificates,
    render::{self, Texts},
    source::FileSource,
};

/// Files and their meaning.
#[derive(Debug)]
pub(super) struct Inspection {
    pub(super) source: FileSource,
    pub(super) snapshot: Snapshot,
    pub(super) build: Build,
}

impl Inspection {
    pub(super) fn of(input: &Input) -> Self {
        let source = FileSource::open(&input.paths);
        let snapshot = Snapshot::from_iter(source.resources().cloned());
        let scope = ControllerScope::all()
            .external_names(input.allow_external_name)
            .certificate_check(Arc::new(Certificates::default()));
        let build = build(&snapshot, &scope);
        Self { source, snapshot, build }
    }

    /// All findings: those of files and single objects, those of the objects together, and what is
    /// no mistake but doubtful.
    pub(super) fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut found = self.source.diagnostics();
        let Build { table, status, .. } = &self.build;
        let idle = lint_resources(&self.snapshot, table, status);
        let together = self.build.diagnostics.iter().cloned().chain(lint(table)).chain(idle);
        let placed = together.map(|mut diagnostic| {
            self.source.place(&mut diagnostic);
            diagnostic
        });
        found.extend(placed);
        found
    }

    /// The texts that `diagnostics` point into.
    pub(super) fn texts(&self, diagnostics: &[Diagnostic]) -> Texts {
        render::texts(diagnostics, |name| self.source.text(name).map(Arc::from))
    }
}
