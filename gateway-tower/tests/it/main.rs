//! The crate as its users see it, with backends that do as they are told and a clock that stands
//! still until somebody waits.

mod external_auth;
mod layer;
mod mirrors;
mod retries;
mod route_service;
mod sessions;
mod support;
mod timeouts;
