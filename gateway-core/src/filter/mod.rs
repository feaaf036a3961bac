//! What happens to a request and its answer besides being forwarded, one filter a file.
//!
//! In: filters of a rule or a backend, already checked (`resolve` reads them from the resources).
//! Out: changed `http` heads, an answer instead of forwarding, or an [`Effect`] for the caller to
//! carry out. Not here: IO. Mirrors and external authorization are described, never performed.

mod cors;
mod custom;
mod describe;
mod external_auth;
mod header_modifier;
mod mirror;
mod path_modifier;
mod redirect;
mod url_rewrite;

use std::sync::Arc;

use http::{Response, request, response};

pub use cors::{Cors, CorsOrigin};
pub use custom::CustomFilter;
pub use external_auth::{AuthProtocol, ExternalAuth};
pub use header_modifier::HeaderModifier;
pub use mirror::Mirror;
pub use path_modifier::PathModifier;
pub use redirect::Redirect;
pub use url_rewrite::UrlRewrite;

use crate::matcher::Scheme;

/// One filter of a rule or a backend, in the order of the route.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Filter {
    /// Changes request headers before forwarding.
    RequestHeaderModifier(HeaderModifier),
    /// Changes response headers of the backend's answer.
    ResponseHeaderModifier(HeaderModifier),
    /// Sends a copy of the request elsewhere.
    RequestMirror(Arc<Mirror>),
    /// Answers with a redirect.
    RequestRedirect(Redirect),
    /// Changes host or path before forwarding.
    UrlRewrite(UrlRewrite),
    /// Answers preflights and permits origins to read answers.
    Cors(Arc<Cors>),
    /// Asks another service whether the request may pass.
    ExternalAuth(Arc<ExternalAuth>),
    /// A filter of the embedding application, named by an `extensionRef`.
    Custom(Arc<dyn CustomFilter>),
    /// The route asks for something that does not exist or is not supported: every request is
    /// answered with 500. Skipping it could open what the filter was to protect.
    Invalid,
}

/// What a filter knows of the request besides its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// Whether the listener received the request over TLS.
    pub scheme: Scheme,
    /// The port of the listener in the Gateway, which need not be the port of the socket.
    pub listener_port: u16,
    /// Bytes of the path that the matched prefix covers, without trailing slash; none if the match
    /// was not a prefix.
    pub matched_prefix: Option<usize>,
}

/// What comes after a filter has seen a request.
#[derive(Debug)]
pub enum Flow<'f> {
    /// On to the next filter, then to the backend.
    Continue,
    /// This is the answer; nothing is forwarded.
    Respond(Box<Response<()>>, FilterCause),
    /// The caller has something to do, then goes on with the next filter.
    Effect(Effect<'f>),
}

/// Why a filter answered; a label for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FilterCause {
    /// A `RequestRedirect`.
    Redirect,
    /// A CORS preflight.
    CorsPreflight,
    /// [`Filter::Invalid`], or a rewrite that leaves no valid request.
    InvalidFilter,
    /// A filter of the embedding application.
    Custom,
}

/// Something that a filter asks the caller to do, because it needs IO.
#[derive(Clone, Copy, Debug)]
pub enum Effect<'f> {
    /// Send a copy of the request as it is now; go on at once.
    Mirror(&'f Arc<Mirror>),
    /// Ask; go on only if allowed, else answer what the service answered.
    ExternalAuth(&'f Arc<ExternalAuth>),
}

impl Filter {
    /// Runs the request side of the filter.
    pub fn apply_request(&self, head: &mut request::Parts, facts: &RequestFacts) -> Flow<'_> {
        match self {
            Self::RequestHeaderModifier(modifier) => modifier.apply_to_request(&mut head.headers),
            Self::UrlRewrite(rewrite) => {
                if rewrite.apply(head, facts).is_err() {
                    return refuse();
                }
            }
            Self::RequestRedirect(redirect) => {
                return Flow::Respond(
                    Box::new(redirect.answer(head, facts)),
                    FilterCause::Redirect,
                );
            }
            Self::Cors(cors) => {
                if let Some(answer) = cors.preflight(head) {
                    return Flow::Respond(Box::new(answer), FilterCause::CorsPreflight);
                }
            }
            Self::RequestMirror(mirror) => return Flow::Effect(Effect::Mirror(mirror)),
            Self::ExternalAuth(auth) => return Flow::Effect(Effect::ExternalAuth(auth)),
            Self::Custom(filter) => {
                if let Some(answer) = filter.request(head, facts) {
                    return Flow::Respond(Box::new(answer), FilterCause::Custom);
                }
            }
            Self::Invalid => return refuse(),
            Self::ResponseHeaderModifier(_) => {}
        }
        Flow::Continue
    }

    /// Runs the response side of the filter. `origin` is the `Origin` field of the request as the
    /// client sent it.
    pub fn apply_response(&self, head: &mut response::Parts, origin: Option<&http::HeaderValue>) {
        match self {
            Self::ResponseHeaderModifier(modifier) => modifier.apply_to_response(&mut head.headers),
            Self::Cors(cors) => cors.decorate(&mut head.headers, origin),
            Self::Custom(filter) => filter.response(head),
            _ => {}
        }
    }

    /// Whether the filter does anything to answers.
    #[must_use]
    pub fn changes_response(&self) -> bool {
        matches!(self, Self::ResponseHeaderModifier(_) | Self::Cors(_) | Self::Custom(_))
    }
}

fn refuse<'f>() -> Flow<'f> {
    let mut answer = Response::new(());
    *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    Flow::Respond(Box::new(answer), FilterCause::InvalidFilter)
}
