//! The data plane below HTTP.
pub mod relay;
