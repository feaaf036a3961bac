//! A GRPCRoute in front of a tonic server.
//!
//! ```text
//! cargo run -p gateway-tower --example tonic_service
//! ```
//!
//! The route lets `Check` of the health service pass and nothing else. Other calls are answered by
//! the gateway with UNIMPLEMENTED and never reach the server.

#![expect(clippy::print_stdout, reason = "shows the answers")]

use gateway_core::{build::build, scope::ControllerScope, snapshot::Snapshot, source::Sources};
use gateway_tower::{BoxError, GatewayLayer, NoBackend, OwnedIngress, TableHandle};
use tokio::net::TcpListener;
use tonic::{
    Code,
    transport::{Channel, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

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
kind: GRPCRoute
metadata: {name: health}
spec:
  parentRefs: [{name: app}]
  rules:
  - matches:
    - method: {service: grpc.health.v1.Health, method: Check}
    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: x-route, value: health}]}
";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener));
    let channel = Channel::from_shared(format!("http://{address}"))?.connect().await?;
    println!("Check: {}", check(channel.clone()).await?);
    println!("Watch: {:?}", watch(channel).await);
    Ok(())
}

async fn serve(listener: TcpListener) -> Result<(), BoxError> {
    let (_reporter, health) = tonic_health::server::health_reporter();
    let gateway = GatewayLayer::new(TableHandle::new(table(ROUTES)?))
        .ingress(OwnedIngress::port(80))
        .on_no_backend(NoBackend::Forward);
    let server = Server::builder().layer(gateway).add_service(health);
    server.serve_with_incoming(TcpIncoming::from(listener)).await?;
    Ok(())
}

/// Asks for the health of the server; what the route has added to the answer.
async fn check(channel: Channel) -> Result<String, BoxError> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    let route = answer.metadata().get("x-route").and_then(|route| route.to_str().ok());
    Ok(format!("{:?}, x-route: {}", answer.get_ref().status(), route.unwrap_or("none")))
}

/// Calls what no route allows.
async fn watch(channel: Channel) -> Code {
    let answer = HealthClient::new(channel).watch(HealthCheckRequest::default()).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
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
    use tokio::net::TcpListener;
    use tonic::{Code, transport::Channel};

    use super::{check, serve, watch};

    #[tokio::test]
    async fn only_routed_calls_reach_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async { serve(listener).await.expect("serves") });
        let channel = Channel::from_shared(format!("http://{address}")).expect("a URI");
        let channel = channel.connect().await.expect("a connection");
        let answer = check(channel.clone()).await.expect("an answer");
        assert_eq!(answer, "Serving, x-route: health");
        assert_eq!(watch(channel).await, Code::Unimplemented);
    }
}
