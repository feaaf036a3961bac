//! The golden corpus on the reference model, and that its objects are such as a cluster takes.

use std::collections::BTreeSet;

use gateway_testkit::{
    corpus::{check_corpus, load},
    reference::Reference,
};

#[test]
fn reference() {
    check_corpus("reference", false, |case| Some(Reference::new(&case.resources)));
}

/// The schemas take every object, but for what a case says it shows.
#[test]
fn schemas() {
    let mut wrong = String::new();
    for case in load().unwrap_or_else(|error| panic!("{error}")) {
        let found: BTreeSet<_> = case.refused.iter().map(|it| it.code.to_string()).collect();
        if found != case.invalid {
            let (name, invalid) = (case.name, case.invalid);
            wrong.push_str(&format!("{name}: says {invalid:?}, the schemas say {found:?}\n"));
            case.refused.iter().for_each(|refused| wrong.push_str(&format!("  {refused}\n")));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
