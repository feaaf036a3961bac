//! The configuration of data planes that may not read the cluster: streamed to them by the controller.
//!
//! In: for each Gateway a snapshot of what it needs. Out: the same snapshot in its pods, followed
//! change by change over gRPC, and in return what became of it there. Not here: what is needed
//! ([`needs`] apart), and serving it.
//!
//! A pod says who it is by a token of its service account that is made for this purpose alone
//! ([`AUDIENCE`]); it gets the configuration of the Gateway whose service account that is. It knows
//! the controller by an authority of the controller's own. Whoever cannot be reached is tried again,
//! and meanwhile what was received last is served.

mod arrival;
mod authority;
mod client;
mod message;
mod needs;
mod publisher;
mod reviewed;
mod revisions;
mod server;
mod service;
mod share;
mod strangers;
mod token;

/// Whom the tokens of data planes are for.
pub const AUDIENCE: &str = "gateway-rs.github.io/config";

pub use authority::{Authority, AuthorityError, keep_authority, renew};
pub use client::{Event, Following, Reply, follow};
pub use needs::needs;
pub(crate) use needs::{SERVICE_NAME, needs_of, still_permitted};
pub use publisher::{Account, BindReport, Offer, Publisher, Report};
pub use revisions::{Received, RevisionReceiver, RevisionSender, revisions};
pub use server::{Resolver, serve};
pub use service::{Authenticate, Identity, Refusal};
pub use token::TokenReviews;
