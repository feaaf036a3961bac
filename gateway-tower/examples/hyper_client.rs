//! A client that routes by itself: `gateway_core` alone, without a gateway in between.
//!
//! ```text
//! cargo run -p gateway-tower --example hyper_client
//! ```
//!
//! The same resources that a gateway would read tell the client which Service a request belongs to
//! and how it is rewritten; the EndpointSlice tells where that is. Two functions do the work:
//! `decide`, and `Filter::apply_request` for each filter of the rule.

#![expect(clippy::print_stdout, reason = "shows the answer")]

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use gateway_core::{
    api::{
        EndpointSlice, Gateway, HttpHeaderFilter, HttpRoute, HttpRouteFilter, HttpRouteRule,
        Listener, Service,
    },
    build::build,
    compile::{Ingress, RouteTable},
    decide::{Decision, decide},
    endpoints::Endpoints,
    filter::Flow,
    matcher::RequestHead,
    scope::ControllerScope,
    snapshot::Snapshot,
};
use http::{Request, Response, header::HOST};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Any error: a client has many ways to fail.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = Client::new(listener.local_addr()?);
    tokio::spawn(serve(listener));
    println!("{}", client.get("http://shop.example.com/cart/7?x=1").await?);
    println!("{:?}", client.get("http://shop.example.com/admin").await);
    Ok(())
}

/// Routes and the addresses of backends.
struct Client {
    table: RouteTable,
    endpoints: Endpoints,
}

impl Client {
    /// A client of one Service whose only endpoint is `address`.
    fn new(address: SocketAddr) -> Self {
        let service = Service::new("shop", "cart").port(80);
        let slice = EndpointSlice::for_service(&service)
            .port(address.port())
            .address(address.ip().to_string());
        let endpoints = Endpoints::new([&service], [&slice]);
        let header = HttpHeaderFilter::default().set("x-client", "routed");
        let rule = HttpRouteRule::new()
            .path_prefix("/cart")
            .filter(HttpRouteFilter::request_headers(header))
            .filter(HttpRouteFilter::replace_prefix("/v2"))
            .backend("cart", 80);
        let snapshot = Snapshot::from_iter([
            Gateway::new("shop", "clients").listener(Listener::http("any", 80)).into(),
            HttpRoute::new("shop", "cart").parent("clients").rule(rule).into(),
            service.into(),
        ]);
        Self { table: build(&snapshot, &ControllerScope::all()).table, endpoints }
    }

    async fn get(&self, url: &str) -> Result<String, BoxError> {
        let (mut head, ()) = Request::get(url).body(())?.into_parts();
        let bind = self.table.bind_on_port(80).ok_or("the Gateway has no port 80")?;
        let ingress = Ingress::plain(bind);
        let decision =
            decide(&self.table, &ingress, &RequestHead::of(&head), |rule| rule.turns.next());
        let forward = match decision {
            Decision::Forward(forward) => forward,
            Decision::Respond(answer) => return Err(answer.cause.as_str().into()),
        };
        let facts = forward.found.facts();
        for filter in &forward.found.rule.filters {
            if let Flow::Respond(answer, _) = filter.apply_request(&mut head, &facts) {
                return Err(format!("a filter answers {}", answer.status()).into());
            }
        }
        let backend = forward.backend.map_err(|cause| cause.as_str())?;
        let backend = backend.target.as_ref().map_err(|_| "the backend is invalid")?;
        let address = self.endpoints.get(&backend.key).first().ok_or("no endpoint is ready")?;
        send(*address, Request::from_parts(head, Empty::new())).await
    }
}

/// Sends a request over a connection of its own.
async fn send(address: SocketAddr, mut request: Request<Empty<Bytes>>) -> Result<String, BoxError> {
    let host = request.uri().authority().ok_or("the URL has no host")?.as_str().parse()?;
    request.headers_mut().insert(HOST, host);
    let target = request.uri().path_and_query().ok_or("the URL has no path")?.as_str().parse()?;
    *request.uri_mut() = target;
    let socket = TokioIo::new(TcpStream::connect(address).await?);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(socket).await?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await?.into_body().collect().await?.to_bytes();
    connection.abort();
    Ok(String::from_utf8(answer.to_vec())?)
}

/// A backend that says what it got.
async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    loop {
        let (socket, _) = listener.accept().await?;
        let echo = hyper::service::service_fn(async |request: Request<_>| {
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
            let client = request.headers().get("x-client").and_then(|name| name.to_str().ok());
            let text = format!("{} {host:?} {client:?}", request.uri());
            let _: &hyper::body::Incoming = request.body();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(text)))
        });
        let serving = hyper::server::conn::http1::Builder::new();
        tokio::spawn(serving.serve_connection(TokioIo::new(socket), echo));
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::{Client, serve};

    #[tokio::test]
    async fn the_client_routes_and_rewrites() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let client = Client::new(listener.local_addr().expect("an address"));
        tokio::spawn(serve(listener));
        let answer = client.get("http://shop.example.com/cart/7?x=1").await.expect("an answer");
        assert_eq!(answer, r#"/v2/7?x=1 Some("shop.example.com") Some("routed")"#);
        let refused = client.get("http://shop.example.com/admin").await.expect_err("no route");
        assert_eq!(refused.to_string(), "no-route");
    }
}
