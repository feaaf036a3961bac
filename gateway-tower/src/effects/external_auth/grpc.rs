//! The question as a gRPC call of `envoy.service.auth.v3.Authorization/Check`.

use bytes::{BufMut, Bytes, BytesMut};
use gateway_core::filter::ExternalAuth;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::{BodyExt, Limited};

use super::{Verdict, check};
use crate::{
    BoxError, GatewayBody, ProxyBody, Purpose, SelectedBackend, Upstream, dispatch::Dispatch,
};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The longest answer that is read.
const LONGEST_ANSWER: usize = 256 * 1024;
/// Whether the message is compressed, and its length.
const PREFIX: usize = 5;

impl<U> Dispatch<'_, U> {
    pub(super) async fn ask_grpc<B>(
        &self,
        auth: &ExternalAuth,
        question: Vec<u8>,
    ) -> Verdict<U::Body>
    where
        U: Upstream<B>,
    {
        let to = SelectedBackend::new(&auth.backend, Purpose::ExternalAuth);
        let host = format!("{}.{}", auth.backend.key.name, auth.backend.key.namespace);
        let Some(call) = call(&host, &question) else { return Verdict::Unknown };
        let Ok(answer) = self.shared.upstream.send(to, call).await else {
            return Verdict::Unknown;
        };
        let Some(message) = read(answer.response).await else { return Verdict::Unknown };
        match check::response(&message) {
            Ok(check::Response::Ok(changes)) => Verdict::Allow(changes),
            Ok(check::Response::Denied(denied)) => {
                let mut answer = Response::new(GatewayBody::own(denied.body));
                *answer.status_mut() = denied.status;
                answer.headers_mut().extend(denied.headers);
                Verdict::Deny(Box::new(answer))
            }
            Err(_) => Verdict::Unknown,
        }
    }
}

/// The unary call with one message; none if the message is too long for gRPC.
fn call<B>(host: &str, message: &[u8]) -> Option<Request<ProxyBody<B>>> {
    let mut body = BytesMut::with_capacity(PREFIX + message.len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).ok()?);
    body.put_slice(message);
    let mut call = Request::new(ProxyBody::whole(body.freeze()));
    *call.method_mut() = Method::POST;
    *call.version_mut() = Version::HTTP_2;
    *call.uri_mut() = Uri::from_static(CHECK);
    let headers = call.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(host).ok()?);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Some(call)
}

/// The message of a call that went well.
async fn read<R>(answer: Response<R>) -> Option<Bytes>
where
    R: http_body::Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    if answer.status() != http::StatusCode::OK || is_failure(answer.headers()) {
        return None;
    }
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await.ok()?;
    let is_success = body.trailers().is_some_and(|trailers| trailers.contains_key("grpc-status"))
        && !body.trailers().is_some_and(is_failure);
    let body = body.to_bytes();
    let (prefix, message) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    let is_whole = prefix[0] == 0 && usize::try_from(length).ok()? == message.len();
    (is_success && is_whole).then(|| body.slice(PREFIX..))
}

fn is_failure(headers: &HeaderMap) -> bool {
    headers.get("grpc-status").is_some_and(|status| status != "0")
}
