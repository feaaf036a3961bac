//! The golden corpus on the reference model.

use gateway_testkit::{corpus::check_corpus, reference::Reference};

#[test]
fn reference() {
    check_corpus("reference", false, |case| Some(Reference::new(&case.resources)));
}
