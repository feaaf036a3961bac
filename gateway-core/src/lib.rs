//! The Kubernetes Gateway API as a library.
pub mod api;
pub mod diagnostic;
#[cfg(feature = "yaml")]
pub mod source;
