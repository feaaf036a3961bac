//! What is fuzzed, as plain functions: each takes any bytes and panics if something that must hold
//! does not.
//!
//! `cargo fuzz run <target>` (nightly) looks for such bytes; what it finds goes to `seeds/<target>`
//! and is replayed by `cargo test` from then on. Texts are split at line ends, so that inputs can
//! be read and written by hand.

mod host;
mod path;
mod query;
mod rewrite;
mod scenario;
mod yaml;

pub use host::host_match;
pub use path::path_match;
pub use query::query_match;
pub use rewrite::rewrite;
pub use scenario::snapshot_vs_reference;
pub use yaml::yaml;

/// Runs `target` on the content of each file that the command line names.
///
/// # Errors
/// If a file cannot be read.
pub fn replay_arguments(target: fn(&[u8])) -> std::io::Result<()> {
    for file in std::env::args_os().skip(1) {
        target(&std::fs::read(file)?);
    }
    Ok(())
}

/// The first `N` lines of `data` as text; missing ones are empty.
fn lines<const N: usize>(data: &[u8]) -> [String; N] {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n').map(str::to_owned);
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}
