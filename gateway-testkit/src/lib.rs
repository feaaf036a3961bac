//! What the tests of the workspace share.
//!
//! - [`corpus`]: the golden cases of `testdata` and their runner, the same for every engine.
//! - [`mod@reference`]: the specification as plain code, to compare the engine with.
//! - [`library`]: gateway-core as an engine, and [`differential`]: both beside each other.
//! - [`scenario`]: resources and requests made from bytes, for properties, fuzzing and benches.
//!
//! Not here: anything that ships.

pub mod corpus;
pub mod differential;
pub mod library;
pub mod reference;
pub mod scenario;

/// The example of the README, as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
