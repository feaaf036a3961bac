//! `RequestMirror`: a copy of the request for another backend, whose answer nobody waits for.

use std::sync::Arc;

use crate::backend::Backend;

/// Where a copy goes, and for which share of the requests.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The backend of the copy.
    pub backend: Arc<Backend>,
    /// The share of requests that is copied, as numerator and denominator; `(1, 1)` is all.
    pub fraction: (u32, u32),
    /// Counts requests, so that the share comes out exactly.
    pub turns: crate::backend::Turns,
}
