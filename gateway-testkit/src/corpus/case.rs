//! Cases as they lie in `testdata`.

use std::{
    collections::BTreeSet,
    fmt, fs,
    path::{Path, PathBuf},
};

use gateway_core::{
    api::Resource,
    diagnostic::{Diagnostic, Severity},
    source::Sources,
    validate::{Schema, validate},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Outcome, Request};

/// One case: resources, requests, and what should come of them.
#[derive(Clone, Debug)]
pub struct Case {
    /// `area/name`.
    pub name: String,
    /// The outcome file, whether or not it exists.
    pub outcome_file: PathBuf,
    /// The objects in the order of the file, those of included files first.
    pub resources: Vec<Resource>,
    /// The requests.
    pub requests: Vec<Request>,
    /// The codes of what the schemas refuse, as far as the case says so.
    pub invalid: BTreeSet<String>,
    /// What the schemas refuse.
    pub refused: Vec<Diagnostic>,
    /// What should come of it; none if there is no outcome file.
    pub expected: Option<Outcome>,
}

/// A file of the corpus cannot be read.
#[derive(Debug)]
pub struct CorpusError {
    file: PathBuf,
    what: String,
}

impl fmt::Display for CorpusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.what)
    }
}

impl std::error::Error for CorpusError {}

impl CorpusError {
    fn new(file: &Path, what: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), what: what.to_string() }
    }
}

/// The folder of the corpus: `testdata` of the workspace, or what `CORPUS_DIR` names.
#[must_use]
pub fn testdata() -> PathBuf {
    match std::env::var_os("CORPUS_DIR") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata"),
    }
}

/// All cases in order of their names; with `CORPUS` set, those whose name contains its value.
///
/// # Errors
/// At the first file that cannot be read.
pub fn load() -> Result<Vec<Case>, CorpusError> {
    let root = testdata();
    let wanted = std::env::var("CORPUS").unwrap_or_default();
    let mut names = Vec::new();
    collect(&root, &root, &mut names)?;
    names.retain(|name| name.contains(&wanted));
    names.sort();
    names.iter().map(|name| load_case(&root, name)).collect()
}

/// The case `area/name` below `root`.
///
/// # Errors
/// If one of its files cannot be read.
pub fn load_case(root: &Path, name: &str) -> Result<Case, CorpusError> {
    let input = root.join(format!("{name}.yaml"));
    let outcome_file = root.join(format!("{name}.out.yaml"));
    let Input { resources, requests, invalid, refused } = read_input(root, &input)?;
    let expected = match fs::read_to_string(&outcome_file) {
        Ok(text) => Some(
            serde_saphyr::from_str(&text)
                .map_err(|error| CorpusError::new(&outcome_file, error))?,
        ),
        Err(_) => None,
    };
    let name = name.to_owned();
    Ok(Case { name, outcome_file, resources, requests, invalid, refused, expected })
}

fn collect(root: &Path, folder: &Path, names: &mut Vec<String>) -> Result<(), CorpusError> {
    let entries = fs::read_dir(folder).map_err(|error| CorpusError::new(folder, error))?;
    for entry in entries {
        let path = entry.map_err(|error| CorpusError::new(folder, error))?.path();
        let below = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        if path.is_dir() {
            // Shared objects and schemas are no cases.
            if !matches!(&*below, "include" | "crds" | "yaml" | "validate" | "lint" | "cli") {
                collect(root, &path, names)?;
            }
        } else if let Some(name) = below.strip_suffix(".yaml")
            && !name.ends_with(".out")
        {
            names.push(name.to_owned());
        }
    }
    Ok(())
}

#[derive(Default)]
struct Input {
    resources: Vec<Resource>,
    requests: Vec<Request>,
    invalid: BTreeSet<String>,
    refused: Vec<Diagnostic>,
}

/// The document that says how the file is to be read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preamble {
    #[serde(default)]
    include: Vec<String>,
    #[serde(default)]
    invalid: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Requests {
    requests: Vec<Request>,
}

fn read_input(root: &Path, file: &Path) -> Result<Input, CorpusError> {
    let error = |what: &dyn fmt::Display| CorpusError::new(file, what);
    let text = fs::read_to_string(file).map_err(|e| error(&e))?;
    let mut input = Input::default();
    let mut objects = String::new();
    // Only lines that are `---` and nothing else separate documents in the corpus.
    for document in text.split("\n---\n") {
        // What is left out leaves its lines behind, so that the places in diagnostics are right.
        let lines = document.lines().count().saturating_sub(1);
        if starts_with(document, "include:") || starts_with(document, "invalid:") {
            objects.push_str(&"\n".repeat(lines));
            let Preamble { include, invalid } =
                serde_saphyr::from_str(document).map_err(|e| error(&e))?;
            input.invalid = invalid;
            for name in include {
                let included = read_input(root, &root.join(format!("include/{name}.yaml")))?;
                input.resources.extend(included.resources);
                input.refused.extend(included.refused);
            }
        } else if starts_with(document, "requests:") {
            objects.push_str(&"\n".repeat(lines));
            let Requests { requests } = serde_saphyr::from_str(document).map_err(|e| error(&e))?;
            input.requests = requests;
        } else {
            objects.push_str(document);
        }
        objects.push_str("\n---\n");
    }
    let mut sources = Sources::default();
    let loaded = sources.load(&file.to_string_lossy(), objects);
    if let Some(diagnostic) = loaded.diagnostics.first() {
        return Err(error(&diagnostic));
    }
    for (resource, origin) in loaded.resources {
        let schema = Schema { api_version: Some(&origin.api_version), ..Schema::default() };
        let found = validate(&resource, schema).into_iter();
        let mut refused: Vec<_> = found.filter(|it| it.severity == Severity::Error).collect();
        refused.iter_mut().for_each(|diagnostic| sources.place(diagnostic));
        input.refused.extend(refused);
        input.resources.push(resource);
    }
    Ok(input)
}

fn starts_with(document: &str, key: &str) -> bool {
    let mut lines = document.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.next().is_some_and(|line| line.starts_with(key))
}

/// Reads an object; without a namespace it is in `default`.
pub(crate) fn resource(value: Value) -> Result<Resource, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let mut resource = Resource::from_value(&api_version, &kind, value)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| format!("{api_version} {kind} is no kind that is read"))?;
    if resource.kind().is_namespaced() && resource.metadata().namespace.is_empty() {
        resource.metadata_mut().namespace = "default".to_owned();
    }
    Ok(resource)
}
