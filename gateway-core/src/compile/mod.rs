//! The match engine: from the topology to a table that finds the rule of a request.
//!
//! In: a [`Topology`](crate::resolve::topology::Topology). Out: a [`RouteTable`], immutable and
//! cheap to clone. Not here: any judgement about resources (`resolve`), the order of precedence
//! ([`Precedence`](crate::matcher::Precedence)), and what becomes of a request that matched
//! (`decide`).
//!
//! ```text
//! RouteTable ─ bind ─ listener by host (exact, longest wildcard, any) ─ never another listener
//!   └ listener ─ hosts, sharded ─ from the most specific that covers the request's host
//!       └ host table ─ exact path ─ regular expressions ─ prefixes, longest first
//!           └ span of candidates by rank, behind a selector if there are many
//! ```
//!
//! A request that no route of its exact host serves falls through to the wildcards that cover the
//! host and then to routes of any host, all of the same listener.

mod build;
mod candidate;
mod edit;
mod found;
mod hasher;
mod host_index;
mod host_table;
mod inspect;
mod literal;
mod regex_set;
mod route_set;
mod selector;
mod seniority;
mod span_index;
mod stats;
mod table;

pub use edit::Edit;
pub use found::{BindId, Found, Ingress, Miss};
pub(crate) use inspect::RankedMatch;
pub(crate) use literal::{LiteralStart, Rest};
pub use stats::Stats;
pub use table::RouteTable;
