//! `ExternalAuth`: another service decides whether a request may pass.

use std::sync::Arc;

use http::HeaderName;

use crate::backend::Backend;

/// Whom to ask and what to tell.
///
/// If the service cannot be asked, the request is refused.
#[derive(Clone, Debug)]
pub struct ExternalAuth {
    /// The service that decides.
    pub backend: Arc<Backend>,
    /// How it is asked.
    pub protocol: AuthProtocol,
    /// Bytes of the request body that the service sees; 0 sends none, a longer body is refused.
    pub max_body_bytes: usize,
}

/// The protocol of the question.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthProtocol {
    /// Envoy's `ext_authz` v3 `Check` over gRPC.
    Grpc {
        /// Request headers that are told; empty tells all.
        allowed_headers: Vec<HeaderName>,
    },
    /// An HTTP request of the same method and path: 200 allows, all else is the answer.
    Http {
        /// Put before the path of the request.
        path: Box<str>,
        /// Request headers that are told besides Host, Method, Path, Content-Length and
        /// Authorization.
        allowed_headers: Vec<HeaderName>,
        /// Headers of the service's answer that the backend gets to see.
        allowed_response_headers: Vec<HeaderName>,
    },
}
