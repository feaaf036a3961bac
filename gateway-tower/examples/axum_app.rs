//! Routes from YAML in front of an axum application.
//!
//! ```text
//! cargo run -p gateway-tower --example axum_app
//! curl -i http://127.0.0.1:8080/shop/cart            # rewritten to /cart, with a header from the route
//! curl -i http://127.0.0.1:8080/old                  # redirected
//! curl -i http://127.0.0.1:8080/shop/cart -X DELETE  # no route: 404
//! ```
//!
//! The layer is put around the whole router, so that axum routes what the gateway has rewritten.

#![expect(clippy::print_stdout, reason = "tells where to look")]

use axum::{Extension, Router, routing::any};
use gateway_core::{build::build, scope::ControllerScope, snapshot::Snapshot, source::Sources};
use gateway_tower::{BoxError, GatewayLayer, NoBackend, OwnedIngress, OwnedMatch, TableHandle};
use http::{HeaderMap, Uri};
use tokio::net::TcpListener;
use tower_layer::Layer;

// The application is the only backend, so the rules name none.
const ROUTES: &str = r"
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: app}
spec:
  gatewayClassName: embedded
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: app}]
  rules:
  - name: cart
    matches:
    - path: {type: PathPrefix, value: /shop}
      method: GET
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-env, value: canary}]}
    - type: URLRewrite
      urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
  - matches:
    - path: {type: Exact, value: /old}
    filters:
    - type: RequestRedirect
      requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /shop}, statusCode: 301}
";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("try: curl -i http://{}/shop/cart", listener.local_addr()?);
    serve(listener).await
}

async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    let app = Router::new().route("/{*path}", any(cart));
    let gateway = GatewayLayer::new(TableHandle::new(table(ROUTES)?))
        .ingress(OwnedIngress::port(80))
        .on_no_backend(NoBackend::Forward)
        .layer(app);
    // Around a router, and served by one, so that axum converts requests and answers.
    axum::serve(listener, Router::new().fallback_service(gateway)).await?;
    Ok(())
}

/// Sees the request as the route has made it, and the match.
async fn cart(matched: Extension<OwnedMatch>, headers: HeaderMap, uri: Uri) -> String {
    let env = headers.get("x-env").and_then(|env| env.to_str().ok()).unwrap_or("none");
    format!("{} by {}, x-env: {env}\n", uri.path(), *matched)
}

/// What the YAML comes to; mistakes in it are reported with their lines.
fn table(yaml: &str) -> Result<gateway_core::compile::RouteTable, BoxError> {
    let loaded = Sources::default().load("routes.yaml", yaml);
    let resources = loaded.resources.into_iter().map(|(resource, _)| resource);
    let build = build(&Snapshot::from_iter(resources), &ControllerScope::all());
    match loaded.diagnostics.iter().chain(&build.diagnostics).next() {
        Some(mistake) => Err(mistake.to_string().into()),
        None => Ok(build.table),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };

    use super::serve;

    #[tokio::test]
    async fn requests_pass_the_routes_first() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async { serve(listener).await.expect("serves") });
        for (request_line, status, part) in [
            ("GET /shop/cart HTTP/1.1", "200 OK", "/cart by default/shop#cart, x-env: canary"),
            (
                "GET /old?x=1 HTTP/1.1",
                "301 Moved Permanently",
                "location: http://app.example/shop?x=1",
            ),
            ("DELETE /shop/cart HTTP/1.1", "404 Not Found", "no route for this request"),
            ("GET /cart HTTP/1.1", "404 Not Found", "no route for this request"),
        ] {
            let mut client = TcpStream::connect(address).await.expect("a connection");
            let request =
                format!("{request_line}\r\nhost: app.example\r\nconnection: close\r\n\r\n");
            client.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.expect("an answer");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert!(answer.contains(part), "{answer}");
        }
    }
}
