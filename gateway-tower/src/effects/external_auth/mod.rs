//! `ExternalAuth`: asks another service whether a request may pass.
//!
//! In: the request as the filters before have made it. Out: the request, perhaps with changed
//! headers, or the answer of the service for the client. Whatever goes wrong with the question
//! refuses the request.

mod check;
mod grpc;
mod http;
mod protobuf;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request};
use bytes::Bytes;
use gateway_core::{
    decide::Cause,
    filter::{AuthProtocol, ExternalAuth, HeaderModifier},
};
use http_body::Body;

use crate::{
    BoxError, GatewayBody, Upstream, answer,
    dispatch::{Dispatch, Refusal},
    request_body::{Incoming, TooLarge},
};

impl<'r, U> Dispatch<'r, U> {
    /// Goes on with the request if the service allows it.
    pub(crate) async fn authorize<B>(
        &self,
        auth: &ExternalAuth,
        head: &mut request::Parts,
        body: Incoming<B>,
    ) -> Result<Incoming<B>, Box<Refusal<'r, U::Body>>>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (shown, body) = show(body, auth.max_body_bytes).await.map_err(Refusal::new)?;
        let limit = self.shared.settings.auth_timeout;
        let verdict = match &auth.protocol {
            AuthProtocol::Http { path, allowed_headers, allowed_response_headers } => {
                let question = http::question(head, path, allowed_headers, shown);
                let asked = self.ask_http(auth, question, allowed_response_headers);
                tokio::time::timeout(limit, asked).await
            }
            AuthProtocol::Grpc { allowed_headers } => {
                let facts = check::Facts {
                    peer: self.ingress.peer(),
                    scheme: self.facts.scheme.as_str(),
                    body: shown,
                };
                let question = check::request(head, allowed_headers, &facts);
                tokio::time::timeout(limit, self.ask_grpc(auth, question)).await
            }
        };
        match verdict {
            Ok(Verdict::Allow(changes)) => {
                changes.apply(&mut head.headers);
                Ok(body)
            }
            Ok(Verdict::Deny(denial)) => Err(self.deny(*denial)),
            // SPEC: if the service cannot be asked, the filter fails closed.
            Ok(Verdict::Unknown) | Err(_) => Err(Refusal::new(Cause::AuthUnavailable)),
        }
    }

    fn deny<B>(&self, denial: ::http::Response<GatewayBody<B>>) -> Box<Refusal<'r, B>> {
        if !self.is_grpc {
            return Refusal::with(Cause::AuthDenied, denial);
        }
        let code = answer::grpc_status_of(denial.status());
        let answer = answer::grpc_answer(code, "not allowed");
        Refusal::with(Cause::AuthDenied, answer.map(GatewayBody::own))
    }
}

/// The part of the body that the service may see: all of it, or nothing.
// SPEC: a body of more than `forwardBody.maxSize` bytes refuses the request.
async fn show<B>(body: Incoming<B>, limit: usize) -> Result<(Bytes, Incoming<B>), Cause>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    if limit == 0 || body.is_end_stream() {
        return Ok((Bytes::new(), body));
    }
    let mut source = body.into_source();
    match source.read_ahead(limit).await {
        Ok(Ok(whole)) => Ok((whole, Incoming::Shared(source))),
        Ok(Err(TooLarge)) => Err(Cause::BodyTooLarge),
        Err(_) => Err(Cause::BadRequest),
    }
}

/// What the service said.
enum Verdict<B> {
    Allow(Changes),
    Deny(Box<::http::Response<GatewayBody<B>>>),
    /// Nothing that can be understood.
    Unknown,
}

/// What the service wants to be different in the request.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    set: Vec<(HeaderName, HeaderValue)>,
    append: Vec<(HeaderName, HeaderValue)>,
    remove: Vec<HeaderName>,
}

impl Changes {
    /// Changes `headers`, with the same exceptions as a RequestHeaderModifier. A list of values
    /// under one name replaces what was there as a whole.
    fn apply(self, headers: &mut HeaderMap) {
        let may_change = HeaderModifier::may_change_in_request;
        for (name, _) in self.set.iter().filter(|(name, _)| may_change(name)) {
            headers.remove(name);
        }
        for name in self.remove.iter().filter(|name| may_change(name)) {
            headers.remove(name);
        }
        for (name, value) in self.set.into_iter().chain(self.append) {
            if may_change(&name) {
                // Fails beyond 32,768 fields, which no server lets through.
                let _ = headers.try_append(name, value);
            }
        }
    }
}

fn status_or(code: u16, default: StatusCode) -> StatusCode {
    StatusCode::from_u16(code).ok().filter(|status| status.as_u16() >= 200).unwrap_or(default)
}
