//! Runs goldens: every `<case>.yaml` of a folder gives the text of `<case>.out.txt` beside it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use gateway_core::diagnostic::Diagnostic;

/// Calls `run` with name and text of every input below `testdata/<folder>` and compares the outcome.
pub(crate) fn check(folder: &str, run: impl Fn(&str, String) -> String) {
    let bless = std::env::var_os("BLESS").is_some();
    let mut different = String::new();
    for input in inputs(folder) {
        let name = input.file_name().expect("a golden is a file").to_string_lossy().into_owned();
        let found = run(&name, std::fs::read_to_string(&input).expect("goldens are readable"));
        let output = input.with_extension("out.txt");
        if bless {
            std::fs::write(&output, &found).expect("goldens are writable");
        } else if std::fs::read_to_string(&output).ok().as_ref() != Some(&found) {
            writeln!(different, "--- {}\n{found}", output.display())
                .expect("writing to a String does not fail");
        }
    }
    assert!(different.is_empty(), "outcome differs from the golden, found:\n{different}");
}

/// All inputs below `testdata/<folder>`.
pub(crate) fn inputs(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata").join(folder);
    let mut inputs = Vec::new();
    collect(&root, &mut inputs);
    inputs.sort();
    assert!(!inputs.is_empty(), "no goldens in {}", root.display());
    inputs
}

/// One line for the diagnostic and one for its help.
pub(crate) fn write_diagnostic(out: &mut String, diagnostic: &Diagnostic) {
    let length = diagnostic.span.as_ref().map_or(0, |span| span.length);
    writeln!(out, "{diagnostic} ~{length}").expect("writing to a String does not fail");
    if let Some(help) = &diagnostic.help {
        writeln!(out, "    help: {help}").expect("writing to a String does not fail");
    }
}

fn collect(folder: &Path, inputs: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder of goldens exists") {
        let path = entry.expect("the folder of goldens is readable").path();
        if path.is_dir() {
            collect(&path, inputs);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "json")
        {
            inputs.push(path);
        }
    }
}
