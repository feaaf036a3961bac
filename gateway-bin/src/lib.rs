//! The program `gateway`: a Gateway API proxy that runs from files, or in a cluster.
//!
//! The library is what the program is made of, so that tests can drive it in process. Updates go
//! in at [`run::Gateway::apply`]; requests come in at sockets.

pub mod admin;
pub mod args;
pub mod certificates;
pub mod cli;
#[cfg(feature = "kubernetes")]
mod dedicated;
pub mod error;
#[cfg(feature = "kubernetes")]
mod follow;
pub mod guard;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod listen;
pub mod program;
mod proxy;
mod question;
pub mod render;
pub mod run;
pub mod source;
pub mod stream;
mod telemetry;
pub mod upstream;
mod worker;

use gateway_core::{build::Build, endpoints::Endpoints};

pub use listen::Addresses;
pub use telemetry::AccessLog;

/// Everything that is served from one moment on.
#[derive(Clone, Debug)]
pub struct Update {
    /// Routes, sockets and listeners, and the status of all objects.
    pub build: Build,
    /// Where backends are.
    pub endpoints: Endpoints,
}
