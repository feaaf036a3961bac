//! What the README promises: its tables are those of the code, each row has its goldens, and where
//! tests are named they exist.

mod evidence;

use std::{fmt::Write as _, fs, path::Path};

use evidence::{EVIDENCE, Evidence, PROVEN};
use gateway_core::feature::{FEATURES, Support, support_table};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// With `BLESS=1` in the environment the tables are written instead.
#[test]
fn the_readme_has_the_tables_of_the_code() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("the README is there");
    let written = with_table(&readme, "support table", &support_table());
    let written = with_table(&written, "evidence table", &evidence_table());
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, written).expect("writable");
    } else {
        assert!(
            readme == written,
            "README.md is out of date: BLESS=1 cargo test -p gateway-testkit --test readme"
        );
    }
}

fn with_table(readme: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let (before, rest) = readme.split_once(&begin).expect("the table's begin is marked");
    let (_, after) = rest.split_once(&end).expect("the table's end is marked");
    format!("{before}{begin}\n{table}\n{end}{after}")
}

fn evidence_table() -> String {
    let mut table = String::from("| feature | goldens | with real traffic |\n|---|---|---|\n");
    for Evidence { feature, goldens: (folder, cases), tests } in EVIDENCE {
        let golden = |case: &&str| format!("[{case}](testdata/{folder}/{case}.yaml)");
        let goldens: Vec<String> = cases.iter().map(golden).collect();
        let test = |(file, names): &(&str, &[&str])| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("[{file}](gateway-bin/tests/{file}): {}", names.join(", "))
        };
        let tests: Vec<String> = tests.iter().map(test).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(table, "| {feature} | {} | {} |", goldens.join(", "), tests.join("; "));
    }
    table
}

#[test]
fn what_is_supported_is_shown_by_goldens() {
    for feature in FEATURES {
        let folder = root().join("testdata").join(feature.goldens);
        let cases = fs::read_dir(&folder).map_or(0, Iterator::count);
        assert!(
            feature.support != Support::Served || !feature.goldens.is_empty() && cases > 0,
            "{} is claimed without a case in {}",
            feature.name,
            folder.display()
        );
    }
}

#[test]
fn tls_and_all_below_http_is_shown_by_goldens_and_by_traffic() {
    let proven = FEATURES.iter().map(|feature| feature.name);
    let proven = proven.filter(|name| PROVEN.iter().any(|begin| name.starts_with(begin)));
    let have: Vec<&str> = EVIDENCE.iter().map(|evidence| evidence.feature).collect();
    assert_eq!(proven.collect::<Vec<_>>(), have, "one row for each feature, in their order");
    for Evidence { feature, goldens: (folder, cases), tests } in EVIDENCE {
        assert!(!cases.is_empty() && !tests.is_empty(), "{feature} is not shown");
        for case in *cases {
            for ending in ["yaml", "out.yaml"] {
                let path = root().join("testdata").join(folder).join(format!("{case}.{ending}"));
                assert!(path.is_file(), "{feature} names {}", path.display());
            }
        }
        for (file, names) in *tests {
            let path = root().join("gateway-bin/tests").join(file);
            let text = fs::read_to_string(&path);
            let text = text.unwrap_or_else(|_| panic!("{feature} names {}", path.display()));
            for name in *names {
                assert!(has_test(&text, name), "{feature} names {name} of {}", path.display());
            }
        }
    }
}

/// Whether the source has this function with a `#[test]` of some kind right above it.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().collect();
    lines.windows(2).any(|pair| {
        let is_test = pair[0].starts_with("#[") && pair[0].ends_with("test]");
        let function = pair[1].trim_start_matches("async ");
        is_test
            && function.strip_prefix("fn ").is_some_and(|rest| {
                rest.strip_prefix(name).is_some_and(|rest| rest.starts_with('('))
            })
    })
}
