//! What must hold in the sources of the workspace and is easily forgotten: arrows between modules
//! and crates, dependencies, sizes, unfinished code, cases without outcome. Two tables say what may
//! depend on what; a change of architecture starts there.

#[path = "tidy/manifest.rs"]
mod manifest;
#[path = "tidy/source.rs"]
mod source;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules of gateway-core. A module may use those of its own row and of the rows above.
const MODULES: &[&[&str]] = &[
    &["api", "diagnostic", "feature", "source", "validate"],
    &["snapshot"],
    &["matcher"],
    &["backend", "filter"],
    &["scope"],
    &["resolve"],
    &["compile"],
    &["decide"],
    &["build", "endpoints", "explain", "lint"],
];

/// What each crate may depend on outside of tests.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    (
        // No IO, no async, no clock, no logging: an application decides on those.
        "gateway-core",
        &[
            "foldhash",
            "granit-parser",
            "hashbrown",
            "http",
            "memchr",
            "regex-automata",
            "serde",
            "smallvec",
            "thiserror",
        ],
    ),
    (
        // No sockets, no TLS: the embedding program brings its own.
        "gateway-tower",
        &[
            "arc-swap",
            "bytes",
            "gateway-core",
            "http",
            "http-body",
            "http-body-util",
            "pin-project-lite",
            "thiserror",
            "tokio",
            "tower-layer",
            "tower-service",
            "tracing",
        ],
    ),
    (
        "gateway-bin",
        &[
            "annotate-snippets",
            "arc-swap",
            "bytes",
            "clap",
            "foldhash",
            "futures-util",
            "gateway-core",
            "gateway-kube",
            "gateway-tower",
            "h2",
            "hashbrown",
            "http",
            "http-body",
            "http-body-util",
            "hyper",
            "hyper-util",
            "itoa",
            "memchr",
            "mimalloc",
            "nix",
            "notify",
            "pin-project-lite",
            "prometheus-client",
            "rcgen",
            "rustix",
            "rustls",
            "rustls-native-certs",
            "rustls-webpki",
            "serde",
            "serde_json",
            "smallvec",
            "socket2",
            "thiserror",
            "tokio",
            "tokio-rustls",
            "tower-service",
        ],
    ),
    (
        // No requests of clients: what is served is behind `DataPlane`. The only socket is the one
        // from which data planes get their configuration.
        "gateway-kube",
        &[
            "bytes",
            "futures-util",
            "gateway-core",
            "http",
            "http-body",
            "hyper-util",
            "k8s-openapi",
            "kube",
            "prost",
            "rcgen",
            "rustls",
            "serde",
            "serde_json",
            "thiserror",
            "tokio",
            "tokio-rustls",
            "tonic",
            "tonic-prost",
            "tower-layer",
            "tower-service",
        ],
    ),
    ("gateway-testkit", &["gateway-core", "http", "regex", "serde", "serde-saphyr", "serde_json"]),
    ("gateway-fuzz", &["gateway-core", "gateway-testkit", "http", "libfuzzer-sys", "serde_json"]),
];

/// Lines of one file, its tests not counted. Longer files usually hold two things.
const LONGEST_FILE: usize = 450;

/// Marks of unfinished work.
const UNFINISHED: &[&str] =
    &["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "FIXME", "#[allow("];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Fails with all of `faults`, and with what is to be done about them.
#[track_caller]
fn report(faults: &[String], remedy: &str) {
    assert!(faults.is_empty(), "{}\n\n{remedy}\n", faults.join("\n"));
}

#[test]
fn modules_of_the_core_use_only_what_is_left_of_them() {
    let row = |module: &str| MODULES.iter().position(|row| row.contains(&module));
    let root = workspace().join("gateway-core/src");
    let mut faults = Vec::new();
    for file in source::files(&root, "rs") {
        let below = file.strip_prefix(&root).expect("the file lies below").to_string_lossy();
        let module = below.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let Some(own) = row(module) else {
            faults.push(format!("gateway-core/src/{below}: the module {module} has no row"));
            continue;
        };
        let code = source::code(&fs::read_to_string(&file).expect("sources are readable"));
        for used in source::crate_modules(&code) {
            if row(&used).is_some_and(|used| used > own) {
                faults.push(format!("gateway-core/src/{below} uses crate::{used}"));
            }
        }
    }
    report(
        &faults,
        "Arrows inside the core point to the left only (ARCHITECTURE.md). Move the shared part to \
         the left, or pass it in; if the architecture changes, change MODULES in tidy.rs and say \
         why in the commit.",
    );
}

#[test]
fn crates_depend_only_on_what_is_listed() {
    let mut faults = Vec::new();
    for (name, allowed) in DEPENDENCIES {
        let folder = if *name == "gateway-fuzz" { "fuzz" } else { name };
        let Ok(text) = fs::read_to_string(workspace().join(folder).join("Cargo.toml")) else {
            continue;
        };
        let used = manifest::dependencies(&text);
        let unlisted = used.iter().filter(|used| !allowed.contains(&&***used));
        faults.extend(unlisted.map(|used| format!("{name} depends on {used}")));
    }
    report(
        &faults,
        "A new dependency is a decision: add it to DEPENDENCIES in tidy.rs and say why in the \
         commit, or do without. Crates of the workspace point to the left only: core <- tower <- \
         bin, and testkit is for tests.",
    );
}

#[test]
fn every_crate_of_the_workspace_has_a_list() {
    let text = fs::read_to_string(workspace().join("Cargo.toml")).expect("the manifest is there");
    let listed: BTreeSet<_> = DEPENDENCIES.iter().map(|(name, _)| *name).collect();
    let mut faults = Vec::new();
    for member in manifest::members(&text) {
        // Benches and examples ship nothing and may compare with anything.
        let name = if member == "fuzz" { "gateway-fuzz" } else { &member };
        if !listed.contains(name) && !["benches", "examples"].contains(&name) {
            faults.push(format!("{member} has no list"));
        }
    }
    report(&faults, "Add the crate to DEPENDENCIES in tidy.rs.");
}

#[test]
fn sources_are_finished_and_short() {
    let mut faults = Vec::new();
    for folder in source::crate_folders(&workspace()) {
        for file in source::files(&folder, "rs") {
            let text = fs::read_to_string(&file).expect("sources are readable");
            let name = file.strip_prefix(workspace()).unwrap_or(&file).display().to_string();
            let is_this_test = name.ends_with("tests/tidy.rs");
            let code = source::without_comments(&text);
            for mark in UNFINISHED.iter().filter(|mark| code.contains(**mark) && !is_this_test) {
                faults.push(format!("{name} contains {mark}"));
            }
            let in_src = name.contains("/src/");
            let lines = source::before_tests(&text).lines().count();
            if in_src && lines > LONGEST_FILE {
                faults.push(format!("{name} has {lines} lines without tests"));
            }
        }
    }
    report(
        &faults,
        "Finish what is marked (for lints: #[expect(…, reason = …)]); split files of more than 450 \
         lines by what they hold.",
    );
}

#[test]
fn every_performance_mark_names_what_has_measured_it() {
    let benches = source::files(&workspace().join("benches/benches"), "rs");
    let examples = source::files(&workspace().join("gateway-bin/examples"), "rs");
    let mut groups = BTreeSet::new();
    for file in &benches {
        let text = fs::read_to_string(file).expect("benches are readable");
        let named = text.split("benchmark_group(\"").skip(1);
        groups
            .extend(named.filter_map(|rest| rest.split_once('"')).map(|(name, _)| name.to_owned()));
    }
    let stem = |file: &PathBuf| file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let whole: BTreeSet<String> = benches.iter().chain(&examples).filter_map(stem).collect();
    let is_known = |mark: &str| {
        let name = mark.strip_prefix("bench ").unwrap_or(mark);
        let name = name.split([' ', ':', ',']).next().unwrap_or_default();
        let name = name.trim_end_matches('.').trim_matches('`');
        let in_group =
            |group: &String| name.strip_prefix(&**group).is_some_and(|rest| rest.starts_with('/'));
        whole.contains(name) || groups.contains(name) || groups.iter().any(in_group)
    };
    let mut faults = Vec::new();
    for folder in source::crate_folders(&workspace()) {
        for file in source::files(&folder, "rs") {
            let text = fs::read_to_string(&file).expect("sources are readable");
            let name = file.strip_prefix(workspace()).unwrap_or(&file).display().to_string();
            // Here the mark is spelled out.
            let text = if name.ends_with("tests/tidy.rs") { String::new() } else { text };
            let marks = text.lines().filter_map(|line| line.split_once("// PERF: "));
            let unknown = marks.filter(|(_, mark)| !is_known(mark));
            faults.extend(unknown.map(|(_, mark)| format!("{name}: {mark}")));
        }
    }
    report(
        &faults,
        "Begin the mark with `bench <name>` of benches/benches or the name of an example of \
         gateway-bin that shows the gain; without a measurement it is a plain comment.",
    );
}

#[test]
fn every_case_has_a_comment_and_an_outcome() {
    let root = workspace().join("testdata");
    let mut faults = Vec::new();
    for file in source::files(&root, "yaml") {
        let below = file.strip_prefix(&root).expect("the file lies below").to_string_lossy();
        let text = fs::read_to_string(&file).expect("cases are readable");
        let is_case = !["cli/", "crds/", "include/", "lint/", "validate/", "yaml/"]
            .iter()
            .any(|folder| below.starts_with(folder));
        if let Some(case) = below.strip_suffix(".out.yaml") {
            if !root.join(format!("{case}.yaml")).exists() {
                faults.push(format!("testdata/{below} is the outcome of no case"));
            }
        } else if is_case {
            if !text.starts_with("# ") {
                faults.push(format!("testdata/{below} does not begin with a comment"));
            }
            let outcome = root.join(below.replace(".yaml", ".out.yaml"));
            if !outcome.exists() {
                faults.push(format!("testdata/{below} has no outcome"));
            }
        }
    }
    report(
        &faults,
        "A case begins with what it shows and which rule that is; its outcome is written by hand \
         from the specification (testdata/README.md).",
    );
}

#[test]
fn every_fuzz_target_has_a_replay_and_seeds() {
    let fuzz = workspace().join("fuzz");
    let mut faults = Vec::new();
    let replays = fs::read_to_string(fuzz.join("tests/replay.rs")).unwrap_or_default();
    for file in source::files(&fuzz.join("fuzz_targets"), "rs") {
        let target = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        if !replays.contains(&format!("\"{target}\"")) {
            faults.push(format!("fuzz target {target} is not replayed in fuzz/tests/replay.rs"));
        }
        let seeds = fuzz.join("seeds").join(&target);
        if fs::read_dir(&seeds).map_or(0, Iterator::count) == 0 {
            faults.push(format!("fuzz target {target} has no inputs in {}", seeds.display()));
        }
    }
    report(&faults, "Add the target to fuzz/tests/replay.rs and inputs to fuzz/seeds/<target>/.");
}
