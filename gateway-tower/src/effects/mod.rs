//! The filters that need IO, one a file.
//!
//! In: what `gateway_core::filter` describes. Out: copies sent, permissions asked. Not here: when;
//! the filters run in the order of the route.

mod external_auth;
mod mirror;
