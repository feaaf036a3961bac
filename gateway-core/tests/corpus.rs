//! The golden corpus on the library: status of every object, decision for every request.
//!
//! `BLESS=1` writes the outcomes of cases that have none; check each line against the
//! specification. `BLESS=force` replaces those that differ.

use gateway_testkit::{corpus::check_corpus, library::Library};

#[test]
fn library() {
    check_corpus("library", true, |case| Some(Library::new(&case.resources)));
}
