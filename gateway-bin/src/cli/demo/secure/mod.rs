//! `gateway demo --tls`: HTTPS, client certificates, passthrough and gRPC, in one process.
//!
//! In: a port. Out: printed requests to try, or with `--check` whether they are answered as
//! promised. Not here: the manifests (`gateway-bin/demo/tls.yaml`), the requests (`steps`).

mod certificates;
mod steps;

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use gateway_core::{
    api::{Resource, Service},
    build::build,
    endpoints::endpoints,
    scope::ControllerScope,
    snapshot::Snapshot,
    source::Sources,
};
use tokio::task::JoinSet;

use self::{
    certificates::{Authority, Files},
    steps::{Ports, STEPS, Step},
};
use super::{
    shop::{TO_TLS, backend, served},
    verify::differs,
};
use crate::{
    Update,
    certificates::Certificates,
    cli::client::{Reply, send_tls_as},
    guard::Limits,
    listen::Addresses,
    run::{Config, Gateway},
    telemetry::AccessLog,
};

const MANIFEST: &str = include_str!("../../../../demo/tls.yaml");

/// The ports of the listeners in the manifest.
const OPEN: u16 = 443;
const MEMBERS: u16 = 8443;

/// Listeners with certificates of their own.
const HOSTS: [&str; 4] = ["shop", "grpc", "ledger", "members"];

/// The client that the demo's members' door knows.
const CLIENT: &str = "alice.example.com";

pub(super) async fn show(port: u16, is_check: bool) -> io::Result<ExitCode> {
    let demo = Demo::open(port).await?;
    let code = if is_check {
        demo.check().await?
    } else {
        demo.print()?;
        tokio::signal::ctrl_c().await?;
        ExitCode::SUCCESS
    };
    demo.close().await;
    Ok(code)
}

/// The running demo. Its backends end when it is dropped.
struct Demo {
    ports: Ports,
    /// PEM.
    authority: String,
    client: String,
    files: Files,
    gateway: Gateway,
    backends: JoinSet<()>,
}

impl Demo {
    async fn open(port: u16) -> io::Result<Self> {
        let authority = Authority::new()?;
        let mut snapshot = objects(&authority)?;
        let mut backends = JoinSet::new();
        let services: Vec<Service> =
            snapshot.services().values().map(|service| Service::clone(service)).collect();
        for service in services {
            let tls = match service.metadata.name.as_str() {
                "vault" => Some(authority.server("vault.example.com")?),
                "safe" => Some(authority.server("safe.internal")?),
                _ => None,
            };
            snapshot.insert(backend(&service, tls, &mut backends).await?.into());
        }
        let check = Arc::new(Certificates::default());
        let build = build(&snapshot, &ControllerScope::all().certificate_check(check));
        let mut gateway = Gateway::start(&config(port)).map_err(io::Error::other)?;
        gateway.apply(&Update { build, endpoints: endpoints(&snapshot) }).await;
        let ports = Ports { open: served(&gateway, OPEN)?, members: served(&gateway, MEMBERS)? };
        let (client, authority) = (authority.client(CLIENT)?, authority.certificate());
        let files = Files::write(&authority, &client)?;
        Ok(Self { ports, authority, client, files, gateway, backends })
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let Ports { open, members } = self.ports;
        writeln!(out, "TLS is served on 127.0.0.1:{open}, to members on 127.0.0.1:{members}.")?;
        writeln!(
            out,
            "The routes are in gateway-bin/demo/tls.yaml. The certificates were made just now;\n\
             those that curl needs are in {} until the demo ends.\n\
             Try, in another terminal:\n",
            self.files.folder().display()
        )?;
        for step in STEPS {
            let line = step.curl(self.ports, &self.files.authority(), &self.files.client());
            writeln!(out, "# {}\n{line}\n", step.shows)?;
        }
        writeln!(out, "Ctrl-C ends the demo.")
    }

    async fn check(&self) -> io::Result<ExitCode> {
        let mut failed = 0;
        for step in STEPS {
            let differences = self.verify(step).await;
            let verdict = if differences.is_empty() { "ok    " } else { "FAILED" };
            let mut out = io::stdout().lock();
            writeln!(out, "{verdict} {}", step.shows)?;
            for difference in &differences {
                writeln!(out, "       {difference}")?;
            }
            failed += usize::from(!differences.is_empty());
        }
        let (kept, all) = (STEPS.len() - failed, STEPS.len());
        writeln!(io::stdout(), "{kept} of {all} requests are answered as promised")?;
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// What is not as it should be.
    async fn verify(&self, step: &Step) -> Vec<String> {
        match (self.ask(step).await, step.expect) {
            (Ok(reply), Some(expect)) => expect
                .iter()
                .filter_map(|expect| differs(expect, std::slice::from_ref(&reply)))
                .collect(),
            (Ok(reply), None) => {
                vec![format!("answered with {}, expected no answer", reply.status)]
            }
            (Err(error), Some(_)) => vec![format!("no answer: {error}")],
            (Err(_), None) => Vec::new(),
        }
    }

    async fn ask(&self, step: &Step) -> io::Result<Reply> {
        let address = (Ipv4Addr::LOCALHOST, self.ports.of(step.door)).into();
        let client = step.as_client.then_some(self.client.as_bytes());
        let request = step.request().map_err(io::Error::other)?;
        send_tls_as(address, self.authority.as_bytes(), client, request).await
    }

    async fn close(mut self) {
        self.gateway.drain().await;
        self.backends.shutdown().await;
    }
}

/// The manifest, with the certificates that it names.
fn objects(authority: &Authority) -> io::Result<Snapshot> {
    let mut snapshot = Snapshot::default();
    let loaded = Sources::default().load("tls.yaml", MANIFEST);
    if let Some(mistake) = loaded.diagnostics.first() {
        return Err(io::Error::other(mistake.to_string()));
    }
    for (resource, _) in loaded.resources {
        snapshot.insert(resource);
    }
    for host in HOSTS {
        let secret = authority.secret(&format!("{host}-tls"), &format!("{host}.example.com"))?;
        snapshot.insert(Resource::from(secret));
    }
    snapshot.insert(Resource::from(authority.config_map("demo-ca")));
    Ok(snapshot)
}

fn config(port: u16) -> Config {
    let next = |by: u16| if port == 0 { 0 } else { port.checked_add(by).unwrap_or(0) };
    Config {
        addresses: Addresses {
            default: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: [(OPEN, next(TO_TLS)), (MEMBERS, next(TO_TLS + 1))].into(),
            ..Addresses::default()
        },
        limits: Limits { client_certificates: true, ..Limits::default() },
        access_log: AccessLog::Off,
        drain: Duration::from_secs(1),
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_core::{build::build, scope::ControllerScope};

    use super::{Authority, objects};
    use crate::certificates::Certificates;

    #[test]
    fn the_manifest_is_without_a_mistake() {
        let snapshot = objects(&Authority::new().unwrap()).unwrap();
        let check = Arc::new(Certificates::default());
        let build = build(&snapshot, &ControllerScope::all().certificate_check(check));
        assert!(build.diagnostics.is_empty(), "{:?}", build.diagnostics);
    }
}
