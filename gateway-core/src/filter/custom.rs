//! Filters of the embedding application, named by an `extensionRef`.

use std::fmt;

use http::{Response, request, response};

use super::RequestFacts;

/// A filter that the application brings along.
///
/// Register it under a group and kind with `ControllerScope::with_filter`; a route then names an
/// object of that kind. Both methods run inline with each request: they must neither block nor
/// panic.
pub trait CustomFilter: fmt::Debug + Send + Sync {
    /// Sees a request before it is forwarded; an answer here ends it.
    fn request(&self, head: &mut request::Parts, facts: &RequestFacts) -> Option<Response<()>> {
        let _ = (head, facts);
        None
    }

    /// Sees the backend's answer before the client does.
    fn response(&self, head: &mut response::Parts) {
        let _ = head;
    }
}
