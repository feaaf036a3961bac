//! Where the configuration comes from.
//!
//! In: paths. Out: [`Revision`]s, one at the start and one for each change. Not here: what the
//! objects mean together.

mod content;
pub mod discover;
pub mod file;
pub mod watch;

use gateway_core::{diagnostic::Diagnostic, snapshot::Change};

pub use file::FileSource;

/// One step of the configuration to the next.
#[derive(Clone, Debug, Default)]
pub struct Revision {
    /// The objects that are new, differ or are gone.
    pub changes: Vec<Change>,
    /// All that is wrong with files and single objects now, also if it was so before.
    pub diagnostics: Vec<Diagnostic>,
}
