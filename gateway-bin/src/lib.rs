//! The program `gateway`: a Gateway API proxy.
pub mod error;
pub mod guard;
pub mod upstream;
