//! The subcommands other than `run`: each takes its arguments and gives an exit code.

pub mod check;
pub mod client;
pub mod demo;
pub mod echo;
pub mod explain;
mod inspection;
#[cfg(feature = "kubernetes")]
pub mod install;
mod statement;
pub mod status;

use std::io::{self, Write as _};

use gateway_core::diagnostic::Severity;

use crate::render;

/// Prints the errors of files on standard error; gives their number.
fn report_errors(inspection: &inspection::Inspection) -> usize {
    let mut errors = inspection.diagnostics();
    errors.retain(|diagnostic| diagnostic.severity == Severity::Error);
    let text = render::text(&errors, &inspection.texts(&errors), render::colours());
    // Nobody is left to be told that this failed.
    let _ = io::stderr().write_all(text.as_bytes());
    errors.len()
}
