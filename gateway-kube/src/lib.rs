//! Kubernetes for the gateway: watches in, status out.
//!
//! In: an API server. Out: resources for [`gateway_core`], and what became of them written back.
//! Not here: any judgement (`gateway-core`), any socket (`gateway-bin`).
//!
//! ```mermaid
//! flowchart LR
//!   A[API server] -->|list, watch| W[watch] --> S[store] -->|changes| C[controller]
//!   C -->|table, sockets| D[DataPlane] -->|what became of them| C
//!   C -->|status| Q[writer] -->|patch, while leader| A
//! ```
//!
//! [`run`] is the whole of it. It knows nothing of the data plane but [`DataPlane`], and tells the
//! operator what happens by [`Notice`]s.

mod address;
pub mod balanced;
mod cache;
mod complaint;
pub mod config_stream;
mod connect;
mod controller;
mod crd;
pub mod dedicated;
mod discover;
mod error;
mod finalizer;
mod leadership;
mod lease;
mod merge;
mod notice;
mod object;
mod pool;
pub mod rbac;
mod reference;
mod run;
mod signpost;
mod silence;
mod store;
mod unreadable;
mod watch;
mod writer;

pub use connect::{Access, Connection, connect};
pub use error::Error;
pub use leadership::Leadership;
pub use lease::Election;
pub use notice::{Notice, Notices};
pub use pool::{AddressPool, AddressRange};
pub use run::{Changed, DataPlane, Settings, run};
pub use signpost::Signposts;
