//! The subcommands other than `run`: each takes its arguments and gives an exit code.

pub mod client;
pub mod echo;
