//! The answers that the gateway gives by itself.
//!
//! In: a [`Cause`], which knows its statuses. Out: a response with a short text, or what gRPC clients
//! understand. Not here: redirects and preflights, which filters write.

use bytes::Bytes;
use gateway_core::decide::Cause;
use http::{HeaderValue, Response, StatusCode, header};

/// The answer to a request that is not forwarded. `grpc`: it is a gRPC request.
///
/// ```
/// use gateway_core::decide::Cause;
/// let answer = gateway_tower::answer(Cause::NoEndpoint, false);
/// assert_eq!(answer.status(), 503);
/// let answer = gateway_tower::answer(Cause::NoEndpoint, true);
/// assert_eq!((answer.status().as_u16(), &answer.headers()["grpc-status"]), (200, &"14".parse()?));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[must_use]
pub fn answer(cause: Cause, grpc: bool) -> Response<Bytes> {
    if grpc {
        return grpc_answer(cause.grpc_status(), text(cause));
    }
    let mut answer = Response::new(Bytes::from_static(text(cause).as_bytes()));
    *answer.status_mut() =
        StatusCode::from_u16(cause.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// What the client reads. Never the name of a backend: it is none of the client's business.
fn text(cause: Cause) -> &'static str {
    match cause {
        Cause::NoListener => "no listener for this host",
        Cause::NoRoute => "no route for this request",
        Cause::Misdirected => "this connection is for another host",
        Cause::BadRequest => "the request is malformed",
        Cause::NoBackend => "the route has no backend",
        Cause::InvalidBackend => "the backend of the route is invalid",
        Cause::InvalidFilter => "a filter of the route is invalid",
        Cause::AuthDenied => "not allowed",
        Cause::AuthUnavailable => "the authorization service did not answer",
        Cause::BodyTooLarge => "the body is too large to be authorized",
        Cause::NoEndpoint => "no endpoint is ready",
        Cause::UpstreamConnect => "the backend cannot be reached",
        Cause::UpstreamTls => "the backend cannot be trusted",
        Cause::UpstreamProtocol => "the answer of the backend is malformed",
        Cause::UpstreamReset => "the backend broke off",
        Cause::UpstreamTimeout => "the backend did not answer in time",
        Cause::RequestTimeout => "the request took too long",
        Cause::RetryBudget => "the backend fails too often to be tried again",
        Cause::Overload => "too many requests at once",
        _ => "",
    }
}

// SPEC: gRPC over HTTP/2, Trailers-Only: the status stands in the head of an answer without body.
pub(crate) fn grpc_answer(code: u8, message: &str) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(code)));
    if let Ok(message) = HeaderValue::from_str(message)
        && !message.is_empty()
    {
        headers.insert("grpc-message", message);
    }
    answer
}

/// The answer of a filter as the client understands it: a gRPC client takes a refusal as a gRPC
/// status.
pub(crate) fn filter_answer(answer: Response<()>, grpc: bool) -> Response<Bytes> {
    if grpc && (answer.status().is_client_error() || answer.status().is_server_error()) {
        return grpc_answer(grpc_status_of(answer.status()), "a filter of the route refused this");
    }
    answer.map(|()| Bytes::new())
}

// SPEC: gRPC, "HTTP to gRPC Status Code Mapping".
pub(crate) fn grpc_status_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        // 500 is not in that table; the gateway gives it for rules that cannot serve.
        429 | 500 | 502..=504 => 14,
        _ => 2,
    }
}
