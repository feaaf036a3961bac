//! `RequestRedirect`: an answer that points elsewhere.

use http::{HeaderValue, Response, StatusCode, header, request};

use super::{PathModifier, RequestFacts};
use crate::matcher::{RequestHead, Scheme};

/// Where the client is sent, as far as it differs from the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// The scheme of the location; none: that of the request.
    pub scheme: Option<Scheme>,
    /// The host of the location; none: that of the request, without its port.
    pub hostname: Option<Box<str>>,
    /// How the path changes; none: as in the request. The query stays.
    pub path: Option<PathModifier>,
    /// The port of the location; none: that of the scheme if one is set, else the listener's.
    pub port: Option<u16>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

impl Default for Redirect {
    fn default() -> Self {
        let status = StatusCode::FOUND;
        Self { scheme: None, hostname: None, path: None, port: None, status }
    }
}

impl Redirect {
    pub(super) fn answer(&self, head: &request::Parts, facts: &RequestFacts) -> Response<()> {
        let mut answer = Response::new(());
        match HeaderValue::try_from(self.location(head, facts)) {
            Ok(location) => {
                *answer.status_mut() = self.status;
                answer.headers_mut().insert(header::LOCATION, location);
            }
            // The host came from the request and is no field value; there is nowhere to point to.
            Err(_) => *answer.status_mut() = StatusCode::BAD_REQUEST,
        }
        answer
    }

    // SPEC: HTTPRequestRedirectFilter: port rules; the well-known port of the scheme is left out.
    fn location(&self, head: &request::Parts, facts: &RequestFacts) -> String {
        let request = RequestHead::of(head);
        let scheme = self.scheme.unwrap_or(facts.scheme);
        let host = self.hostname.as_deref().unwrap_or_else(|| request.host());
        let port = match (self.port, self.scheme) {
            (Some(port), _) => port,
            (None, Some(scheme)) => scheme.default_port(),
            (None, None) => facts.listener_port,
        };
        let mut location = format!("{}://{host}", scheme.as_str());
        if port != scheme.default_port() {
            location.push(':');
            location.push_str(&port.to_string());
        }
        match &self.path {
            Some(modifier) => location.push_str(&modifier.apply(request.path, facts)),
            None => location.push_str(request.path),
        }
        if let Some(query) = request.query {
            location.push('?');
            location.push_str(query);
        }
        location
    }
}
