//! What the README promises: the support table is that of the code, and each row has its goldens.

use std::{fs, path::Path};

use gateway_core::feature::{FEATURES, Support, support_table};

const BEGIN: &str = "<!-- support table: begin -->\n";
const END: &str = "<!-- support table: end -->";

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// With `BLESS=1` in the environment the table is written instead.
#[test]
fn the_readme_has_the_support_table_of_the_code() {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).expect("the README is there");
    let (before, rest) = readme.split_once(BEGIN).expect("the table's begin is marked");
    let (table, after) = rest.split_once(END).expect("the table's end is marked");
    let wanted = format!("\n{}\n", support_table());
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("writable");
    } else {
        assert!(
            table == wanted,
            "README.md is out of date: BLESS=1 cargo test -p gateway-testkit --test readme"
        );
    }
}

#[test]
fn what_is_supported_is_shown_by_goldens() {
    for feature in FEATURES {
        let is_claimed = feature.support == Support::Served;
        let folder = root().join("testdata").join(feature.goldens);
        let cases = fs::read_dir(&folder).map_or(0, Iterator::count);
        assert!(
            !is_claimed || !feature.goldens.is_empty() && cases > 0,
            "{} is claimed without a case in {}",
            feature.name,
            folder.display()
        );
    }
}
