//! `RequestMirror`: sends a copy of a request elsewhere.
//!
//! In: the request as the filters before have made it. Out: the request, whose body now also feeds
//! the copy. The original never waits for the copy and never fails with it; when the copy falls
//! behind, it is given up. The answer to the copy is read and forgotten.

use std::sync::Arc;

use bytes::Bytes;
use gateway_core::filter::Mirror;
use http::{HeaderName, Request, header, request};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use crate::{
    BoxError, ProxyBody, Purpose, SelectedBackend, Upstream,
    dispatch::Dispatch,
    request_body::{Incoming, tap},
    route_service::Shared,
};

/// Fields that would turn the copy into something that outlives its answer.
const NOT_COPIED: [HeaderName; 3] = [header::CONNECTION, header::EXPECT, header::UPGRADE];

impl<U> Dispatch<'_, U> {
    /// Starts a copy if this request belongs to the share of the mirror.
    pub(crate) fn mirror<B>(
        &self,
        mirror: &Mirror,
        head: &request::Parts,
        body: Incoming<B>,
    ) -> Incoming<B>
    where
        U: Upstream<B>,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if !mirror.takes_next() {
            return body;
        }
        let Ok(permit) = Arc::clone(&self.shared.mirrors).try_acquire_owned() else { return body };
        let (copied, body) = if body.is_end_stream() {
            (ProxyBody::empty(), body)
        } else {
            let (sender, copied) = tap(body.size_hint(), self.shared.settings.mirror_buffer);
            let mut source = body.into_source();
            source.add_tap(sender);
            (copied, Incoming::Shared(source))
        };
        let to = SelectedBackend::new(&mirror.backend, Purpose::Mirror);
        let shared = Arc::clone(self.shared);
        tokio::spawn(send(shared, to, copy_of(head, copied), permit));
        body
    }
}

/// A request of the same head. Extensions belong to the original: one of them may be its upgrade.
fn copy_of<B>(head: &request::Parts, body: ProxyBody<B>) -> Request<ProxyBody<B>> {
    let mut copy = Request::new(body);
    *copy.method_mut() = head.method.clone();
    *copy.uri_mut() = head.uri.clone();
    *copy.version_mut() = head.version;
    *copy.headers_mut() = head.headers.clone();
    for name in NOT_COPIED {
        copy.headers_mut().remove(name);
    }
    copy
}

async fn send<U, B>(
    shared: Arc<Shared<U>>,
    to: SelectedBackend,
    copy: Request<ProxyBody<B>>,
    permit: OwnedSemaphorePermit,
) where
    U: Upstream<B>,
    B: Send + 'static,
{
    let exchange = async {
        let Ok(answer) = shared.upstream.send(to, copy).await else { return };
        // Read to its end, so that the connection can be used again.
        let mut body = std::pin::pin!(answer.response.into_body());
        while let Some(Ok(_)) = body.frame().await {}
    };
    // Whatever comes of it, nobody waits for it.
    let _ = timeout(shared.settings.mirror_timeout, exchange).await;
    drop(permit);
}
