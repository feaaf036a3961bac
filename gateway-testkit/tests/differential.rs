//! The library does what the reference says, on snapshots and requests made from random bytes.

use gateway_testkit::{
    differential::{describe, difference},
    scenario::Scenario,
};
use proptest::{
    collection::vec,
    prelude::any,
    test_runner::{Config, TestCaseError, TestRunner},
};

/// Together 100,000 requests in each run.
const SNAPSHOTS: u32 = 1_000;
const REQUESTS: usize = 100;

#[test]
fn the_library_does_what_the_reference_says() {
    // Scenarios are reduced by their parts, which bytes know nothing of.
    let config = Config { max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new(Config { cases: SNAPSHOTS, ..config });
    let outcome = runner.run(&vec(any::<u8>(), 2_000), |bytes| {
        let scenario = Scenario::from_bytes(&bytes, REQUESTS);
        match difference(&scenario) {
            None => Ok(()),
            Some(_) => Err(TestCaseError::fail(describe(&scenario))),
        }
    });
    if let Err(error) = outcome {
        let text = error.to_string();
        // The rest would be two thousand bytes.
        panic!("{}", text.split("\nminimal failing input").next().unwrap_or(&text));
    }
}
