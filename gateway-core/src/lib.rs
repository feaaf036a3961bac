//! The Kubernetes Gateway API as a library.

pub mod api;
pub mod backend;
pub mod build;
pub mod compile;
pub mod decide;
pub mod diagnostic;
pub mod endpoints;
pub mod explain;
pub mod feature;

pub mod filter;
pub mod lint;
pub mod matcher;
pub mod resolve;
pub mod scope;
pub mod snapshot;
#[cfg(feature = "yaml")]
pub mod source;
pub mod validate;
