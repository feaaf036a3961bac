//! Arguments of `gateway install`.
//!
//! In: words from the shell. Out: typed arguments. Not here: the manifests.

use clap::Args;

use super::kubernetes::{DEFAULT_IMAGE, ServiceType, Shape};

/// What is installed.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    gateway install | kubectl apply -f -\n  \
    gateway install --service-type LoadBalancer | kubectl apply -f -\n  \
    gateway install --shape dedicated --namespace infra | kubectl apply -f -\n\n\
    The CRDs of the Gateway API are not among them. The Helm chart in deploy/chart has more settings.")]
pub struct InstallArgs {
    /// Where Gateways run
    #[arg(long, value_enum, default_value_t)]
    pub shape: Shape,

    /// Give each Gateway of the shared shape a Service of this type [default: all share one of type
    /// LoadBalancer, with the ports 80 and 443]
    #[arg(long, value_name = "TYPE", value_enum, ignore_case = true)]
    pub service_type: Option<ServiceType>,

    /// Namespace of the gateway's own objects
    #[arg(long, value_name = "NAMESPACE", default_value = "gateway-system", value_parser = namespace)]
    pub namespace: String,

    /// The image
    #[arg(long, value_name = "IMAGE", default_value = DEFAULT_IMAGE, value_parser = image)]
    pub image: String,

    /// Number of pods
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub replicas: u16,
}

fn namespace(text: &str) -> Result<String, String> {
    let is_label = gateway_core::api::is_dns_label(text);
    is_label.then(|| text.to_owned()).ok_or_else(|| "expected the name of a namespace".to_owned())
}

fn image(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    let is_image = !text.is_empty() && text.chars().all(is_plain);
    is_image
        .then(|| text.to_owned())
        .ok_or_else(|| "expected an image such as host/name:tag".to_owned())
}
