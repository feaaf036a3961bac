//! Collecting findings, and the checks that every kind of value needs.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::RangeInclusive;

use super::{Channel, Schema};
use crate::api::ObjectKey;
use crate::api::values::StringEnum;
use crate::diagnostic::{Code, Diagnostic, FieldPath, Segment, suggest};

/// Where a check is in the object. Lives on the stack, so that a path costs nothing unless something is wrong.
#[derive(Clone, Copy)]
pub(super) struct At<'p> {
    parent: Option<(&'p Self, Segment<'p>)>,
}

impl<'p> At<'p> {
    pub(super) fn root() -> Self {
        Self { parent: None }
    }

    pub(super) fn field(&'p self, name: &'p str) -> Self {
        Self { parent: Some((self, Segment::Field(name))) }
    }

    pub(super) fn index(&'p self, index: usize) -> Self {
        Self { parent: Some((self, Segment::Index(index))) }
    }

    fn path(&self) -> FieldPath {
        let Some((parent, segment)) = self.parent else { return FieldPath::root() };
        let mut path = parent.path();
        path.push(segment);
        path
    }
}

/// The object being checked and what was found.
pub(super) struct Check<'a> {
    object: ObjectKey,
    schema: Schema<'a>,
    diagnostics: Vec<Diagnostic>,
}

/// The most that is reported about one object; the rest would only repeat it.
const MOST_DIAGNOSTICS: usize = 100;

impl<'a> Check<'a> {
    pub(super) fn new(object: ObjectKey, schema: Schema<'a>) -> Self {
        Self { object, schema, diagnostics: Vec::new() }
    }

    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    pub(super) fn is_standard(&self) -> bool {
        self.schema.channel == Channel::Standard
    }

    /// Whether the object was written in a version from before v1.
    pub(super) fn is_version(&self, version: &str) -> bool {
        self.schema
            .api_version
            .and_then(|given| given.rsplit_once('/'))
            .is_some_and(|(_, given)| given == version)
    }

    pub(super) fn error(&mut self, at: &At<'_>, code: Code, message: impl Into<String>) {
        self.report(at, Diagnostic::error(code, message));
    }

    pub(super) fn error_help(
        &mut self,
        at: &At<'_>,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(at, Diagnostic::error(code, message).help(help));
    }

    pub(super) fn warning(
        &mut self,
        at: &At<'_>,
        code: Code,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.report(at, Diagnostic::warning(code, message).help(help));
    }

    fn report(&mut self, at: &At<'_>, diagnostic: Diagnostic) {
        if self.diagnostics.len() < MOST_DIAGNOSTICS {
            self.diagnostics.push(diagnostic.object(self.object.clone()).field(at.path()));
        }
    }

    /// Says that a required field is missing.
    pub(super) fn missing(&mut self, at: &At<'_>) {
        self.error(at, Code::Required, "a value is required");
    }

    /// A field that the standard channel drops without looking at it. Gives its value if it is worth a look.
    pub(super) fn experimental<'f, T>(
        &mut self,
        at: &At<'_>,
        value: Option<&'f T>,
    ) -> Option<&'f T> {
        if value.is_some() && self.is_standard() {
            let message = "this field is not in the standard channel and is dropped";
            self.warning(
                at,
                Code::ExperimentalField,
                message,
                "install the experimental channel or remove the field",
            );
            return None;
        }
        value
    }

    pub(super) fn list_length(
        &mut self,
        at: &At<'_>,
        length: usize,
        allowed: RangeInclusive<usize>,
    ) {
        if allowed.contains(&length) {
            return;
        }
        let wanted = match (*allowed.start(), *allowed.end()) {
            (0, most) => format!("at most {most}"),
            (least, most) if least == most => format!("exactly {most}"),
            (least, most) => format!("{least} to {most}"),
        };
        let items = if length == 1 { "item" } else { "items" };
        self.error(
            at,
            Code::ListLength,
            format!("the list has {length} {items}, allowed are {wanted}"),
        );
    }

    pub(super) fn number(&mut self, at: &At<'_>, number: i32, allowed: RangeInclusive<i32>) {
        if !allowed.contains(&number) {
            let message =
                format!("{number} is not between {} and {}", allowed.start(), allowed.end());
            self.error(at, Code::OutOfRange, message);
        }
    }

    pub(super) fn port(&mut self, at: &At<'_>, port: i32) {
        self.number(at, port, 1..=65_535);
    }

    /// A value of a closed enum; in the standard channel without those that are only experimental.
    pub(super) fn known<E: StringEnum>(&mut self, at: &At<'_>, value: &E, except: &[&str]) {
        let allowed = || E::KNOWN.iter().copied().filter(|known| !except.contains(known));
        let text = value.as_str();
        if text.is_empty() {
            self.missing(at);
        } else if !allowed().any(|known| known == text) {
            let help = match suggest::nearest(text, allowed()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("known values are {}", allowed().collect::<Vec<_>>().join(", ")),
            };
            self.error_help(at, Code::UnknownValue, format!("unknown value {text:?}"), help);
        }
    }

    /// Reports each item that was in the list before; an item that is nothing equals no other one.
    pub(super) fn unique<T: Eq + Hash>(
        &mut self,
        list: &At<'_>,
        items: impl IntoIterator<Item = Option<T>>,
        mut report: impl FnMut(&mut Self, &At<'_>, usize, T),
    ) {
        let mut first: HashMap<T, usize> = HashMap::new();
        for (index, item) in items.into_iter().enumerate() {
            let Some(item) = item else { continue };
            match first.get(&item) {
                Some(earlier) => report(self, &list.index(index), *earlier, item),
                None => {
                    first.insert(item, index);
                }
            }
        }
    }

    /// Reports each text that was in the list before; `field` names the part of an item that must be unique.
    pub(super) fn unique_texts<'t>(
        &mut self,
        list: &At<'_>,
        field: Option<&str>,
        items: impl IntoIterator<Item = &'t str>,
    ) {
        self.unique(list, items.into_iter().map(Some), |check, at, earlier, text| {
            let message = format!("{text:?} is already in the list, as item {earlier}");
            match field {
                Some(field) => check.error(&at.field(field), Code::DuplicateItem, message),
                None => check.error(at, Code::DuplicateItem, message),
            }
        });
    }

    /// A list of texts without repetition.
    pub(super) fn text_set(&mut self, items: &[&str], most: usize, list: &At<'_>) {
        self.list_length(list, items.len(), 0..=most);
        self.unique_texts(list, None, items.iter().copied());
    }
}
