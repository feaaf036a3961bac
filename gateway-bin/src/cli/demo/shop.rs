//! The shop: manifests, backends that echo, and the gateway in front of them.
//!
//! In: the port to listen on. Out: a running shop. Not here: what is asked of it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    api::{EndpointSlice, Secret, Service},
    build::build,
    endpoints::endpoints,
    scope::ControllerScope,
    snapshot::Snapshot,
    source::Sources,
};
use rustls::ServerConfig;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::steps::Ports;
use crate::{
    Update,
    cli::echo::{self, Identity},
    listen::Addresses,
    run::{Config, Gateway},
    telemetry::AccessLog,
};

const MANIFESTS: [(&str, &str); 3] = [
    ("gateway.yaml", include_str!("../../../demo/gateway.yaml")),
    ("grpc.yaml", include_str!("../../../demo/grpc.yaml")),
    ("shop.yaml", include_str!("../../../demo/shop.yaml")),
];

/// The ports of the listeners in `gateway.yaml`.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// From the port for plain requests to the one for TLS: 8080 and 8443.
pub(super) const TO_TLS: u16 = 363;

/// The running shop. Its backends end when it is dropped.
pub(super) struct Shop {
    pub(super) ports: Ports,
    /// PEM.
    pub(super) certificate: String,
    gateway: Gateway,
    backends: JoinSet<()>,
}

impl Shop {
    /// Opens the shop on `port` of 127.0.0.1; 0 takes free ones.
    pub(super) async fn open(port: u16) -> io::Result<Self> {
        let mut snapshot = manifests()?;
        let (secret, certificate) = certificate()?;
        snapshot.insert(secret.into());
        let mut backends = JoinSet::new();
        let services: Vec<Service> =
            snapshot.services().values().map(|service| Service::clone(service)).collect();
        for service in services {
            snapshot.insert(backend(&service, None, &mut backends).await?.into());
        }
        let build = build(&snapshot, &ControllerScope::all());
        let mut gateway = Gateway::start(&config(port)).map_err(io::Error::other)?;
        gateway.apply(&Update { build, endpoints: endpoints(&snapshot) }).await;
        let ports = Ports { http: served(&gateway, HTTP)?, https: served(&gateway, HTTPS)? };
        Ok(Self { ports, certificate, gateway, backends })
    }

    pub(super) async fn close(mut self) {
        self.gateway.drain().await;
        self.backends.shutdown().await;
    }
}

fn manifests() -> io::Result<Snapshot> {
    let mut sources = Sources::default();
    let mut snapshot = Snapshot::default();
    for (name, text) in MANIFESTS {
        let loaded = sources.load(name, text);
        if let Some(mistake) = loaded.diagnostics.first() {
            return Err(io::Error::other(mistake.to_string()));
        }
        for (resource, _) in loaded.resources {
            snapshot.insert(resource);
        }
    }
    Ok(snapshot)
}

fn certificate() -> io::Result<(Secret, String)> {
    let names = ["*.example.com".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    let certificate = made.cert.pem();
    let secret = Secret::tls("infra", "shop-tls", &certificate, made.signing_key.serialize_pem());
    Ok((secret, certificate))
}

/// Starts an echo for a Service, over TLS if it is told how; gives its EndpointSlice.
pub(super) async fn backend(
    service: &Service,
    tls: Option<Arc<ServerConfig>>,
    backends: &mut JoinSet<()>,
) -> io::Result<EndpointSlice> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = listener.local_addr()?.port();
    let name = &service.metadata.name;
    let identity = Identity {
        namespace: service.metadata.namespace.clone(),
        service: name.clone(),
        pod: format!("{name}-1"),
        is_flaky: name == "flaky",
    };
    backends.spawn(echo::serve_over(listener, identity, tls.map(TlsAcceptor::from)));
    Ok(EndpointSlice::for_service(service).port(port).address("127.0.0.1"))
}

fn config(port: u16) -> Config {
    let tls = if port == 0 { 0 } else { port.checked_add(TO_TLS).unwrap_or(0) };
    Config {
        addresses: Addresses {
            default: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: [(HTTP, port), (HTTPS, tls)].into(),
            ..Addresses::default()
        },
        access_log: AccessLog::Off,
        drain: Duration::from_secs(1),
        ..Config::default()
    }
}

/// The port of the socket of a listener.
pub(super) fn served(gateway: &Gateway, port: u16) -> io::Result<u16> {
    let addresses = gateway.addresses();
    let found = addresses.iter().find(|(key, _)| key.port == port);
    let address = found.and_then(|(_, addresses)| addresses.first());
    address.map(std::net::SocketAddr::port).ok_or_else(|| {
        let message = "its port is taken; choose another with --port, or 0 for any free one";
        io::Error::new(io::ErrorKind::AddrInUse, message)
    })
}

#[cfg(test)]
mod tests {
    use gateway_core::{api::Resource, build::build, scope::ControllerScope};

    use super::manifests;

    #[test]
    fn the_manifests_are_without_a_mistake() {
        let mut snapshot = manifests().unwrap();
        snapshot.insert(Resource::from(super::certificate().unwrap().0));
        let build = build(&snapshot, &ControllerScope::all());
        assert!(build.diagnostics.is_empty(), "{:?}", build.diagnostics);
    }
}
