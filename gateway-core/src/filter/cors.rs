//! `CORS`: which origins may read answers, told to browsers.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

/// A policy for cross-origin requests (Fetch standard, section "CORS protocol").
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cors {
    /// The origins that are permitted.
    pub allow_origins: Vec<CorsOrigin>,
    /// Whether cookies and authorization may be sent along.
    pub allow_credentials: bool,
    /// Methods as written, in order; `*` alone is every method.
    pub allow_methods: Vec<Box<str>>,
    /// Request headers as written, in order; `*` alone is every header.
    pub allow_headers: Vec<Box<str>>,
    /// Response headers that scripts may read; `*` alone is every header.
    pub expose_headers: Vec<Box<str>>,
    /// Seconds for which a browser may remember a preflight.
    pub max_age: u32,
}

/// One entry of `allowOrigins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    /// `*`: every origin.
    Any,
    /// Scheme, host and port; the host may start with `*`.
    Origin {
        /// `http` or `https`, or another scheme in lower case.
        scheme: Box<str>,
        /// The host in lower case; `*.example.com` covers every name below `example.com`.
        host: crate::matcher::HostPattern,
        /// The port, with that of the scheme filled in where it is not written.
        port: Option<u16>,
    },
}

impl Cors {
    /// The answer to a preflight; none if `head` is none.
    pub(super) fn preflight(&self, head: &request::Parts) -> Option<Response<()>> {
        let _ = (
            head,
            HeaderMap::<HeaderValue>::new(),
            HeaderName::from_static("a"),
            Method::GET,
            StatusCode::OK,
            header::ORIGIN,
        );
        None
    }

    /// Adds the headers that let a browser hand the answer to its script.
    pub(super) fn decorate(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let _ = (headers, origin);
    }
}
