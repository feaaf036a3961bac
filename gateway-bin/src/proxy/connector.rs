//! The dispatcher's way to backends.

use gateway_tower::{
    ProxyBody, Purpose, SelectedBackend, UpstreamAnswer, UpstreamError as TowerError,
    UpstreamErrorKind as Kind,
};
use http::Request;

use crate::{
    guard::body::RequestBody,
    upstream::{AnswerBody, Target, Upstream, UpstreamBody, UpstreamError},
};

impl gateway_tower::Upstream<RequestBody> for Upstream {
    type Body = AnswerBody;

    async fn send(
        &self,
        to: SelectedBackend,
        request: Request<ProxyBody<RequestBody>>,
    ) -> Result<UpstreamAnswer<AnswerBody>, TowerError> {
        let (mut head, body) = request.into_parts();
        if to.purpose != Purpose::Forward {
            // Callbacks and upgrades are for the client's own request.
            head.extensions.clear();
        }
        let request = Request::from_parts(head, UpstreamBody::new(body));
        let (session, avoid) = (to.session.as_ref(), &*to.avoid);
        let target = Target { backend: &to.backend, session, avoid };
        match self.send_to(&target, request).await {
            Ok((response, endpoint)) => Ok(UpstreamAnswer { response, endpoint: Some(endpoint) }),
            Err(error) => Err(translate(error)),
        }
    }
}

fn translate(error: UpstreamError) -> TowerError {
    let kind = match &error {
        UpstreamError::NoEndpoint | UpstreamError::Lookup(_) => Kind::NoEndpoint,
        UpstreamError::TooManyConnections => Kind::Overload,
        UpstreamError::Connect(..) => Kind::Connect,
        UpstreamError::ConnectTimeout(_) => Kind::Timeout,
        UpstreamError::Tls(_) => Kind::Tls,
        UpstreamError::Answer(_) => Kind::Protocol,
        UpstreamError::RequestBody(_) => Kind::RequestBody,
        UpstreamError::Broken(_, error) if error.is_parse() => Kind::Protocol,
        UpstreamError::Broken(..) => Kind::Reset,
    };
    let endpoint = error.endpoint();
    let translated = TowerError::new(kind).because(error);
    match endpoint {
        Some(endpoint) => translated.at(endpoint),
        None => translated,
    }
}
