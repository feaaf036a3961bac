use gateway_testkit::{
    differential::{describe, difference},
    scenario::Scenario,
};

/// Bytes of a scenario. The library does with its requests what the specification says.
pub fn snapshot_vs_reference(data: &[u8]) {
    let scenario = Scenario::from_bytes(data, 20);
    assert!(difference(&scenario).is_none(), "{}", describe(&scenario));
}
