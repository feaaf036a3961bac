//! Backends that are services of the same process.
//!
//! In: tower services under the names that routes use. Out: an [`Upstream`]. Not here: endpoints; a
//! service is one.

use std::{
    collections::HashMap,
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use gateway_core::{api::Kind, backend::BackendKey};
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Either, combinators::UnsyncBoxBody};
use tower_service::Service;

use crate::{
    BoxError, ProxyBody, SelectedBackend, Upstream, UpstreamAnswer, UpstreamError,
    UpstreamErrorKind,
};

type LocalBody = UnsyncBoxBody<Bytes, BoxError>;
type LocalFuture = Pin<Box<dyn Future<Output = Result<Response<LocalBody>, BoxError>> + Send>>;
type LocalService<B> = Box<dyn Fn(Request<ProxyBody<B>>) -> LocalFuture + Send + Sync>;

/// Services by the names of backends, and what serves the backends beside them.
///
/// A service finds the [`SelectedBackend`] in the extensions of its request.
pub struct LocalBackends<B, F = NoUpstream> {
    services: HashMap<BackendKey, LocalService<B>>,
    fallback: F,
}

impl<B> LocalBackends<B> {
    /// None yet; requests to other backends are answered with 503.
    #[must_use]
    pub fn new() -> Self {
        Self { services: HashMap::new(), fallback: NoUpstream }
    }
}

impl<B, F> LocalBackends<B, F> {
    /// Serves the backend `name`, the `namespace/name:port` of a Service, by `service`.
    ///
    /// # Errors
    /// If `name` has another form.
    pub fn with<S, R>(mut self, name: &str, service: S) -> Result<Self, InvalidBackendName>
    where
        S: Service<Request<ProxyBody<B>>, Response = Response<R>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
        B: Send + 'static,
    {
        let key = parse_name(name).ok_or_else(|| InvalidBackendName(name.into()))?;
        // The lock is for services that cannot be shared; it is held for a clone.
        let service = Mutex::new(service);
        let call = move |request| -> LocalFuture {
            let mut service = service.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Box::pin(async move {
                poll_fn(|cx| service.poll_ready(cx)).await.map_err(Into::into)?;
                let response = service.call(request).await.map_err(Into::into)?;
                Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
            })
        };
        self.services.insert(key, Box::new(call));
        Ok(self)
    }

    /// Sends requests to all other backends by `fallback`.
    #[must_use]
    pub fn or<G>(self, fallback: G) -> LocalBackends<B, G> {
        LocalBackends { services: self.services, fallback }
    }
}

/// `namespace/name:port`, of kind Service.
fn parse_name(name: &str) -> Option<BackendKey> {
    let (namespace, rest) = name.split_once('/')?;
    let (name, port) = rest.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_name = |part: &str| !part.is_empty() && !part.contains(['/', ':']);
    (is_name(namespace) && is_name(name)).then(|| BackendKey {
        kind: Kind::Service,
        namespace: namespace.into(),
        name: name.into(),
        port,
    })
}

/// A name of a backend is not of the form `namespace/name:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no backend; write namespace/name:port, such as \"default/cart:8080\"")]
pub struct InvalidBackendName(Box<str>);

impl<B, F> Upstream<B> for LocalBackends<B, F>
where
    B: Send + 'static,
    F: Upstream<B>,
{
    type Body = Either<LocalBody, F::Body>;

    async fn send(
        &self,
        to: SelectedBackend,
        mut request: Request<ProxyBody<B>>,
    ) -> Result<UpstreamAnswer<Self::Body>, UpstreamError> {
        let Some(service) = self.services.get(&to.backend.key) else {
            let UpstreamAnswer { response, endpoint } = self.fallback.send(to, request).await?;
            return Ok(UpstreamAnswer { response: response.map(Either::Right), endpoint });
        };
        request.extensions_mut().insert(to);
        let response = service(request)
            .await
            .map_err(|error| UpstreamError::new(UpstreamErrorKind::Reset).because(error))?;
        Ok(UpstreamAnswer { response: response.map(Either::Left), endpoint: None })
    }
}

/// Serves nothing: every backend is without endpoints.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoUpstream;

impl<B: Send + 'static> Upstream<B> for NoUpstream {
    type Body = http_body_util::Empty<Bytes>;

    async fn send(
        &self,
        _: SelectedBackend,
        _: Request<ProxyBody<B>>,
    ) -> Result<UpstreamAnswer<Self::Body>, UpstreamError> {
        Err(UpstreamError::new(UpstreamErrorKind::NoEndpoint))
    }
}

impl<B> Default for LocalBackends<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B, F> fmt::Debug for LocalBackends<B, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.services.keys().map(ToString::to_string).collect::<Vec<_>>();
        f.debug_struct("LocalBackends").field("services", &names).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::parse_name;

    #[test]
    fn names() {
        let key = parse_name("shop/cart:8080").expect("a name");
        assert_eq!((&*key.namespace, &*key.name, key.port), ("shop", "cart", 8080));
        for name in ["", "cart", "cart:80", "shop/cart", "shop/cart:", "shop/:80", "/a:1", "a/b:0"]
        {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
