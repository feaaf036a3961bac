//! Just enough understanding of Rust sources.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// All files with this extension below `folder`, in order; none if it does not exist.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Folders with sources of the workspace: `src` and `tests` of each member.
pub(crate) fn crate_folders(workspace: &Path) -> Vec<PathBuf> {
    let members = fs::read_dir(workspace).expect("the workspace is readable").flatten();
    let crates = members.map(|it| it.path()).filter(|path| path.join("Cargo.toml").exists());
    crates
        .flat_map(|member| ["src", "tests", "fuzz_targets", "benches"].map(|it| member.join(it)))
        .filter(|folder| folder.exists())
        .collect()
}

/// The part of a file before its tests.
pub(crate) fn before_tests(text: &str) -> &str {
    text.split("\n#[cfg(test)]\n").next().unwrap_or(text)
}

/// The text without line comments, documentation included.
pub(crate) fn without_comments(text: &str) -> String {
    let line = |line: &str| match line.find("//") {
        Some(start) if line[..start].matches('"').count().is_multiple_of(2) => {
            line[..start].to_owned()
        }
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The code that ships: without comments and tests.
pub(crate) fn code(text: &str) -> String {
    without_comments(before_tests(text))
}

/// The modules named by paths that start with `crate::`, groups included.
pub(crate) fn crate_modules(code: &str) -> BTreeSet<String> {
    let mut modules = BTreeSet::new();
    for (at, start) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            Some(group) => modules.extend(first_names(group)),
            None => modules.extend(first_name(rest)),
        }
    }
    modules
}

fn first_name(path: &str) -> Option<String> {
    let path = path.trim_start();
    let name: String = path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// The first name of each path in `a::b, c::{d, e}}…`.
fn first_names(group: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut depth = 0;
    let mut entry = String::new();
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => names.extend(first_name(&std::mem::take(&mut entry))),
            c if depth == 0 => entry.push(c),
            _ => {}
        }
    }
    names.extend(first_name(&entry));
    names
}

#[test]
fn paths_are_found() {
    let code =
        "use crate::{\n    a::{b, c},\n    d,\n};\nuse crate::e::F;\nfn f() { crate::g::h() }";
    let names: Vec<_> = crate_modules(code).into_iter().collect();
    assert_eq!(names, ["a", "d", "e", "g"]);
}
