//! Findings for people and for programs.
//!
//! In: [`Diagnostic`]s and the texts that they point into. Out: excerpts as `rustc` prints them,
//! or JSON. Not here: finding anything.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal},
    ops::Range,
    sync::Arc,
};

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
    renderer::DEFAULT_TERM_WIDTH,
};
use gateway_core::diagnostic::{Diagnostic, Severity, Span};
use serde::Serialize;

/// The texts that were read, by the names that spans give.
pub type Texts = BTreeMap<Arc<str>, Arc<str>>;

/// The texts that findings point into, each read once.
pub fn texts(diagnostics: &[Diagnostic], mut read: impl FnMut(&str) -> Option<Arc<str>>) -> Texts {
    let mut texts = Texts::new();
    for span in diagnostics.iter().filter_map(|diagnostic| diagnostic.span.as_ref()) {
        if !texts.contains_key(&span.source)
            && let Some(text) = read(&span.source)
        {
            texts.insert(span.source.clone(), text);
        }
    }
    texts
}

/// Whether to use colours on standard output: on a terminal, unless `NO_COLOR` is set.
#[must_use]
pub fn colours() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Findings with excerpts of their sources, each followed by an empty line.
#[must_use]
pub fn text(diagnostics: &[Diagnostic], texts: &Texts, colours: bool) -> String {
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(DEFAULT_TERM_WIDTH);
    let mut rendered = String::new();
    for diagnostic in diagnostics {
        rendered.push_str(&renderer.render(&[group(diagnostic, texts)]));
        rendered.push_str("\n\n");
    }
    rendered
}

/// How many findings there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Mistakes.
    pub errors: usize,
    /// Probably mistakes.
    pub warnings: usize,
    /// Remarks.
    pub notes: usize,
}

impl Counts {
    /// Counts findings.
    #[must_use]
    pub fn of(diagnostics: &[Diagnostic]) -> Self {
        let of = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
        Self {
            errors: of(Severity::Error),
            warnings: of(Severity::Warning),
            notes: of(Severity::Note),
        }
    }
}

/// `1 file`, `2 files`.
#[must_use]
pub fn plural(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

fn group<'a>(diagnostic: &'a Diagnostic, texts: &'a Texts) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    };
    let title = normalize_untrusted_str(&diagnostic.message);
    let title = level.primary_title(title).id(diagnostic.code.as_str());
    let mut group = Group::with_title(title);
    let excerpt = diagnostic.span.as_ref().map(|span| (span, Excerpt::new(span, texts)));
    let shows_field = matches!(excerpt, Some((_, Some(_))));
    match excerpt {
        Some((span, Some(excerpt))) => {
            let annotation = AnnotationKind::Primary.span(excerpt.span);
            let annotation = annotation.label(normalize_untrusted_str(diagnostic.field.as_str()));
            let snippet = Snippet::source(excerpt.line).line_start(span.line).path(&*span.source);
            group = group.element(snippet.annotation(annotation));
        }
        Some((span, None)) => {
            let origin = Origin::path(&*span.source).line(span.line).char_column(span.column);
            group = group.element(origin);
        }
        None => {}
    }
    if let Some(place) = place(diagnostic, shows_field) {
        group = group.element(Level::NOTE.message(normalize_untrusted_str(&place)));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(normalize_untrusted_str(help)));
    }
    group
}

/// What the excerpt does not tell: the object, and without an excerpt the field as well.
fn place(diagnostic: &Diagnostic, shows_field: bool) -> Option<String> {
    let object = diagnostic.object.as_ref().map(ToString::to_string);
    let field = Some(&diagnostic.field).filter(|field| !shows_field && !field.is_root());
    let parts: Vec<_> = object.into_iter().chain(field.map(ToString::to_string)).collect();
    (!parts.is_empty()).then(|| format!("in {}", parts.join(", ")))
}

/// The first line of a span, so that large files and whole objects cost nothing.
struct Excerpt<'a> {
    line: &'a str,
    span: Range<usize>,
}

impl<'a> Excerpt<'a> {
    fn new(span: &'a Span, texts: &'a Texts) -> Option<Self> {
        let text = texts.get(&span.source)?;
        let before = text.get(..span.bytes.start)?;
        let from = before.rfind('\n').map_or(0, |end| end + 1);
        let line = text[from..].lines().next().unwrap_or_default();
        let start = (span.bytes.start - from).min(line.len());
        let end = span.bytes.end.saturating_sub(from).clamp(start, line.len());
        Some(Self { line, span: start..end })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_core::{
        api::{Kind, ObjectKey},
        diagnostic::{Code, Diagnostic, FieldPath, Span},
    };

    use super::{Texts, text};

    const SOURCE: &str = "a: 1\nb:\n  timeout: \"10\"\nc: 3\n";

    #[track_caller]
    fn check(diagnostic: &Diagnostic, expect: &str) {
        let texts = Texts::from([("shop.yaml".into(), SOURCE.into())]);
        let seen = text(std::slice::from_ref(diagnostic), &texts, false);
        assert_eq!(seen.trim_end(), expect.trim(), "\n{seen}");
    }

    fn mistake() -> Diagnostic {
        Diagnostic::error(Code::InvalidDuration, "\"10\" has no unit")
            .object(ObjectKey::new(Kind::HttpRoute, "default", "shop"))
            .field(FieldPath::from("b.timeout"))
            .help("write 10s for ten seconds")
    }

    fn span(source: &str, bytes: std::ops::Range<usize>) -> Span {
        Span { source: Arc::from(source), bytes, line: 3, column: 12, length: 4 }
    }

    #[test]
    fn a_finding_shows_its_line() {
        check(
            &mistake().span(span("shop.yaml", 19..23)),
            r#"
error[GW0110]: "10" has no unit
 --> shop.yaml:3:12
  |
3 |   timeout: "10"
  |            ^^^^ b.timeout
  |
  = note: in HTTPRoute default/shop
  = help: write 10s for ten seconds"#,
        );
    }

    #[test]
    fn a_finding_over_several_lines_shows_the_first() {
        check(
            &Diagnostic::warning(Code::NotAnObject, "no object").span(span("shop.yaml", 10..27)),
            r#"
warning[GW0003]: no object
 --> shop.yaml:3:3
  |
3 |   timeout: "10"
  |   ^^^^^^^^^^^^^"#,
        );
    }

    #[test]
    fn a_finding_without_a_text_names_its_place() {
        check(
            &mistake(),
            r#"
error[GW0110]: "10" has no unit
 |
 = note: in HTTPRoute default/shop, b.timeout
 = help: write 10s for ten seconds"#,
        );
        check(
            &Diagnostic::note(Code::Syntax, "odd").span(span("other.yaml", 5..900)),
            "
note[GW0001]: odd
--> other.yaml:3:12",
        );
    }

    #[test]
    fn spans_beyond_the_text_do_no_harm() {
        for bytes in [0..900, 27..27, 31..31, 31..90, 29..30] {
            let texts = Texts::from([("shop.yaml".into(), SOURCE.into())]);
            let diagnostic = Diagnostic::error(Code::Syntax, "odd").span(span("shop.yaml", bytes));
            assert!(text(&[diagnostic], &texts, false).starts_with("error[GW0001]: odd\n"));
        }
    }
}
