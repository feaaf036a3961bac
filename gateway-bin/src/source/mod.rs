//! Where the configuration comes from.
//!
//! In: paths. Out: [`Update`]s, one at the start and one for each change. Not here: what the
//! objects mean together.

mod content;
pub mod discover;
pub mod file;
pub mod watch;

use std::sync::Arc;

use gateway_core::{diagnostic::Diagnostic, snapshot::Snapshot};

pub use file::FileSource;

/// The whole configuration at one instant.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// All objects that an API server would take. Those that did not change since the last update
    /// are shared with it.
    pub snapshot: Arc<Snapshot>,
    /// What is wrong with files and single objects.
    pub diagnostics: Arc<[Diagnostic]>,
}
