//! The golden corpus: cases of `testdata`, what came of them, and what should have.
//!
//! In: files and an [`Engine`] to run them on. Out: differences that can be read. Not here: any
//! knowledge of what is right; that is in the outcome files. Their format is described in
//! `testdata/README.md`.

pub(crate) mod case;
mod compare;
mod outcome;
mod render;
pub(crate) mod request;
mod run;
mod status;

pub use case::{Case, CorpusError, load, load_case, testdata};
pub use compare::Difference;
pub use outcome::{
    Address, Conditions, Decision, Forward, ListenerOutcome, ObjectOutcome, Outcome, Respond,
    changed_headers, header_lines,
};
pub use request::Request;
pub use run::{Engine, check_corpus, run};
pub use status::{ObjectStatus, object_outcome};
