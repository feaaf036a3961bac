//! The subcommands that print: every folder of `testdata/cli` holds a command and its output.
//!
//! `cmd` has the command and its exit code, `stdout` and `stderr` what it prints (`stderr` is
//! missing if that is nothing); the other files are its inputs. `input.yaml` is also its standard
//! input. `BLESS=1` writes what is printed now.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

#[test]
fn commands_print_what_their_goldens_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/cli");
    let mut cases: Vec<PathBuf> =
        fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", root.display());
    let different: Vec<String> = cases.iter().flat_map(|case| differences(case)).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}

fn differences(case: &Path) -> Vec<String> {
    let cmd = fs::read_to_string(case.join("cmd")).unwrap();
    let command = cmd.lines().next().unwrap_or_default();
    let words = shell_words(command);
    let (program, arguments) = words.split_first().unwrap();
    assert_eq!(program, "gateway", "{}", case.display());
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(arguments)
        .current_dir(case)
        .env("NO_COLOR", "1")
        .stdin(fs::File::open(case.join("input.yaml")).map_or_else(|_| Stdio::null(), Stdio::from))
        .output()
        .unwrap();
    let found = [
        ("cmd", format!("{command}\nexit {}\n", output.status.code().unwrap_or(-1))),
        ("stdout", String::from_utf8(output.stdout).unwrap()),
        ("stderr", String::from_utf8(output.stderr).unwrap()),
    ];
    let differs = |(name, text): &(&str, String)| {
        let golden = case.join(name);
        if std::env::var_os("BLESS").is_none() {
            let expect = fs::read_to_string(&golden).unwrap_or_default();
            return (expect != *text).then(|| format!("--- {}\n{text}", golden.display()));
        }
        if text.is_empty() {
            fs::remove_file(&golden).ok();
        } else {
            fs::write(&golden, text).unwrap();
        }
        None
    };
    found.iter().filter_map(differs).collect()
}

/// Splits at blanks, except between single quotes.
fn shell_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (place, part) in line.split('\'').enumerate() {
        if place % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
