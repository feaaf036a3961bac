//! Replays the saved inputs of every fuzz target, and some made up on the spot.

use std::{fs, path::Path};

use gateway_testkit::scenario::bytes_of_seed;

/// Runs `target` on the files of `seeds/<name>`, and on bytes that mean nothing.
#[track_caller]
fn replay(name: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut count = 0;
    for file in files {
        let path = file.expect("the folder of seeds is readable").path();
        target(&fs::read(path).expect("seeds are readable"));
        count += 1;
    }
    assert!(count > 0, "no seed in {}", folder.display());
    for seed in 0..50 {
        target(&bytes_of_seed(seed, 20 * usize::try_from(seed).unwrap_or(0)));
    }
}

#[test]
fn host_match() {
    replay("host_match", gateway_fuzz::host_match);
}

#[test]
fn path_match() {
    replay("path_match", gateway_fuzz::path_match);
}

#[test]
fn query_match() {
    replay("query_match", gateway_fuzz::query_match);
}

#[test]
fn rewrite() {
    replay("rewrite", gateway_fuzz::rewrite);
}

#[test]
fn snapshot_vs_reference() {
    replay("snapshot_vs_reference", gateway_fuzz::snapshot_vs_reference);
}

#[test]
fn yaml() {
    replay("yaml", gateway_fuzz::yaml);
}
