//! Arguments of `gateway run --kubernetes`.
//!
//! In: words from the shell. Out: typed arguments. Not here: reading the kubeconfig.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gateway_core::scope::ControllerScope;
use gateway_kube::{AddressRange, balanced::PortRange};
use http::uri::Authority;

/// Which cluster is served, and how.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// Serve the Gateways of a cluster instead of files, and write their status
    #[arg(long, conflicts_with = "paths")]
    pub kubernetes: bool,

    /// File that says how to reach the cluster [default: KUBECONFIG, ~/.kube/config, or the pod's
    /// service account]
    #[arg(long, value_name = "FILE", conflicts_with = "paths")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", conflicts_with = "paths")]
    pub context: Option<String>,

    /// Serve the GatewayClasses with this spec.controllerName
    #[arg(
        long,
        value_name = "DOMAIN/PATH",
        default_value = ControllerScope::DEFAULT_CONTROLLER,
        conflicts_with = "paths",
        value_parser = controller_name
    )]
    pub controller_name: String,

    /// Namespace of the Lease by which replicas agree who writes status [default: that of the
    /// service account or context]
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "paths")]
    pub namespace: Option<String>,

    /// Write status without asking other replicas; for a single one
    #[arg(long, conflicts_with = "paths")]
    pub no_leader_election: bool,

    /// Addresses of this machine, one for each Gateway: 10.0.0.0/24, 10.0.0.5-10.0.0.9 or
    /// 10.0.0.1; may be repeated [default: all Gateways share --bind]
    #[arg(long = "address-pool", value_name = "RANGE", conflicts_with = "paths")]
    pub address_pool: Vec<AddressRange>,

    /// Give each Gateway a Service of this type, in the namespace of this process, whose address is
    /// the Gateway's; for processes that are pods [default: none]
    #[arg(
        long,
        value_name = "TYPE",
        value_enum,
        ignore_case = true,
        conflicts_with_all = ["paths", "address_pool"]
    )]
    pub service_type: Option<ServiceType>,

    /// Label of the pods that these Services lead to; may be repeated
    #[arg(
        long = "pod-label",
        value_name = "KEY=VALUE",
        default_values = ["app.kubernetes.io/name=gateway", "app.kubernetes.io/instance=gateway"],
        value_parser = label,
        conflicts_with = "paths"
    )]
    pub pod_labels: Vec<(String, String)>,

    /// Ports of the pods that stand for the ports of Gateways behind such Services
    #[arg(
        long,
        value_name = "FIRST-LAST",
        default_value = "20000-29999",
        conflicts_with = "paths"
    )]
    pub pod_ports: PortRange,

    /// Folder in which what is served is kept, so that a start without API server can serve it; it
    /// holds private keys [default: nothing is kept]
    #[arg(long, value_name = "FOLDER", conflicts_with = "paths")]
    pub cache: Option<PathBuf>,

    /// Where Gateways run
    #[arg(long, value_enum, default_value_t, conflicts_with = "paths")]
    pub shape: Shape,

    /// Image of the pods of dedicated Gateways: this program
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_IMAGE, conflicts_with = "paths")]
    pub image: String,

    /// Port from which pods of dedicated Gateways get their configuration, at the address of --bind
    #[arg(long, value_name = "PORT", default_value_t = 15443, conflicts_with = "paths")]
    pub config_port: u16,

    /// How these pods reach it [default: gateway.NAMESPACE.svc and --config-port]
    #[arg(long, value_name = "HOST:PORT", value_parser = host_and_port, conflicts_with = "paths")]
    pub config_address: Option<Authority>,
}

/// The image of this version.
pub(super) const DEFAULT_IMAGE: &str =
    concat!("ghcr.io/gateway-rs/gateway:", env!("CARGO_PKG_VERSION"));

/// Where the Gateways of a cluster run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// All in this process
    #[default]
    Shared,
    /// Each on pods of its own, in its namespace; this process is their controller
    Dedicated,
}

/// Types of Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServiceType {
    /// A load balancer that the cluster provides
    #[value(name = "LoadBalancer")]
    LoadBalancer,
    /// A port of every node
    #[value(name = "NodePort")]
    NodePort,
    /// An address inside of the cluster
    #[value(name = "ClusterIP")]
    ClusterIp,
}

impl ServiceType {
    /// As Kubernetes spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoadBalancer => "LoadBalancer",
            Self::NodePort => "NodePort",
            Self::ClusterIp => "ClusterIP",
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected a label such as app.kubernetes.io/name=gateway".to_owned()),
    }
}

fn host_and_port(text: &str) -> Result<Authority, String> {
    let authority = text.parse::<Authority>().ok();
    let authority = authority.filter(|of| of.port_u16().is_some() && !of.as_str().contains('@'));
    authority
        .ok_or_else(|| "expected a host and a port such as controller.infra.svc:15443".to_owned())
}

fn controller_name(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((domain, path)) if !path.is_empty() && gateway_core::api::is_dns_subdomain(domain) => {
            Ok(text.to_owned())
        }
        _ => Err("expected a domain and a path such as example.net/gateway-controller".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::args::{Cli, Command};

    #[track_caller]
    fn check(words: &str, expect: Result<(), &str>) {
        let words = ["gateway", "run"].into_iter().chain(words.split_whitespace());
        let parsed = Cli::try_parse_from(words);
        match (parsed, expect) {
            (Ok(cli), Ok(())) => assert!(matches!(cli.command, Command::Run(_))),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (parsed, expect) => panic!("{parsed:?}, expected {expect:?}"),
        }
    }

    #[test]
    fn a_cluster_or_files() {
        check("--kubernetes", Ok(()));
        check("--kubernetes --address-pool 10.0.0.0/24 --address-pool 10.1.0.1", Ok(()));
        check("--kubernetes a.yaml", Err("cannot be used with"));
        check("a.yaml --kubeconfig k", Err("cannot be used with"));
        check("--kubeconfig k", Err("<PATH>"));
        check("--kubernetes --address-pool 10.0.0.0/99", Err("0 to 32"));
        check("--kubernetes --controller-name gateway", Err("a domain and a path"));
        check("--kubernetes --service-type LoadBalancer --pod-label a=b", Ok(()));
        check("--kubernetes --service-type nodeport --pod-ports 2000-2999", Ok(()));
        check("--kubernetes --service-type ExternalName", Err("[possible values: LoadBalancer"));
        check("--kubernetes --service-type NodePort --pod-label a", Err("expected a label"));
        check("--kubernetes --service-type NodePort --pod-ports 9-1", Err("no range of ports"));
        check(
            "--kubernetes --service-type ClusterIP --address-pool 10.0.0.1",
            Err("cannot be used with"),
        );
        check("--kubernetes --shape dedicated --config-address c.infra.svc:15443", Ok(()));
        check(
            "--kubernetes --shape dedicated --config-address c.infra.svc",
            Err("a host and a port"),
        );
        check("a.yaml --shape dedicated", Err("cannot be used with"));
    }
}
