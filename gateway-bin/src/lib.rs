//! The program `gateway`: a Gateway API proxy.
pub mod args;
pub mod cli;
pub mod error;
pub mod guard;
pub mod render;
pub mod source;
pub mod upstream;
