//! Routes choose among services of one process, and change while it runs.
//!
//! ```text
//! cargo run -p gateway-tower --example dispatcher
//! ```
//!
//! Two versions of a service share the traffic 9 to 1. Then a new table is published, and the new
//! version gets all of it.

#![expect(clippy::print_stdout, reason = "shows who has answered")]

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use bytes::Bytes;
use gateway_core::{
    api::{Gateway, HttpRoute, HttpRouteRule, Listener, Service},
    build::build,
    compile::RouteTable,
    scope::ControllerScope,
    snapshot::Snapshot,
};
use gateway_tower::{BoxError, LocalBackends, OwnedIngress, RouteService, TableHandle};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let backends = LocalBackends::new()
        .with("shop/cart-v1:8080", Version("v1"))?
        .with("shop/cart-v2:8080", Version("v2"))?;
    let service = RouteService::new(TableHandle::new(table(9, 1)), backends);
    println!("9 to 1: {:?}", count(&service).await?);
    service.table().publish(table(0, 1));
    println!("0 to 1: {:?}", count(&service).await?);
    Ok(())
}

/// A Gateway, a route with two weighted backends, and the Services that they are. An application
/// that reads YAML gets the same from `gateway_core::source`.
fn table(v1: i32, v2: i32) -> RouteTable {
    let rule = HttpRouteRule::new()
        .backend("cart-v1", 8080)
        .weight(v1)
        .backend("cart-v2", 8080)
        .weight(v2);
    let snapshot = Snapshot::from_iter([
        Gateway::new("shop", "public").listener(Listener::http("web", 80)).into(),
        HttpRoute::new("shop", "cart").parent("public").rule(rule).into(),
        Service::new("shop", "cart-v1").port(8080).into(),
        Service::new("shop", "cart-v2").port(8080).into(),
    ]);
    build(&snapshot, &ControllerScope::all()).table
}

type Backends = LocalBackends<Full<Bytes>>;

/// Who answers how many of a hundred requests.
async fn count(service: &RouteService<Backends>) -> Result<BTreeMap<String, u32>, BoxError> {
    let ingress = OwnedIngress::port(80);
    let mut counts = BTreeMap::new();
    for _ in 0..100 {
        let request = Request::get("http://shop.example/cart").body(Full::default())?;
        let exchange = service.dispatch(&ingress, request).await;
        let answer = exchange.response.into_body().collect().await?.to_bytes();
        *counts.entry(String::from_utf8(answer.to_vec())?).or_insert(0) += 1;
    }
    Ok(counts)
}

/// Answers with its name. Any tower service will do: an axum router, a stack with middleware.
#[derive(Clone)]
struct Version(&'static str);

impl<B> tower_service::Service<Request<B>> for Version {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        ready(Ok(Response::new(Full::from(self.0))))
    }
}

#[cfg(test)]
mod tests {
    use gateway_tower::{LocalBackends, RouteService, TableHandle};

    use super::{Version, count, table};

    #[tokio::test]
    async fn shares_follow_the_published_table() {
        let backends = LocalBackends::new()
            .with("shop/cart-v1:8080", Version("v1"))
            .and_then(|backends| backends.with("shop/cart-v2:8080", Version("v2")))
            .expect("names of backends");
        let service = RouteService::new(TableHandle::new(table(9, 1)), backends);
        let counts = count(&service).await.expect("answers");
        assert_eq!(counts, [("v1".into(), 90), ("v2".into(), 10)].into());
        service.table().publish(table(0, 1));
        assert_eq!(count(&service).await.expect("answers"), [("v2".into(), 100)].into());
    }
}
