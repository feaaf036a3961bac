//! `gateway install`: the manifests that make a cluster run the gateway.
//!
//! In: shape, namespace, image and number of pods. Out: YAML for `kubectl apply`. Not here: what is in
//! it. That is the chart's business, of which these files are a rendering; a test compares them.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::args::{InstallArgs, Shape};

const SHARED: &str = include_str!("../../../deploy/shared.yaml");
const BALANCED: &str = include_str!("../../../deploy/balanced.yaml");
const DEDICATED: &str = include_str!("../../../deploy/dedicated.yaml");

/// What the rendered files have where the arguments may want something else.
const NAMESPACE: &str = "gateway-system";
const IMAGE: &str = concat!("ghcr.io/gateway-rs/gateway:", env!("CARGO_PKG_VERSION"));
const SERVICE_TYPE: &str = "--service-type=LoadBalancer\n";
const REPLICAS: &str = "\n  replicas: 2\n";

/// Prints the manifests.
pub fn run(args: &InstallArgs) -> ExitCode {
    match io::stdout().write_all(manifests(args).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The manifests that the arguments ask for.
#[must_use]
pub fn manifests(args: &InstallArgs) -> String {
    let rendered = match (args.shape, args.service_type) {
        (Shape::Shared, None) => SHARED.to_owned(),
        (Shape::Shared, Some(kind)) => {
            BALANCED.replace(SERVICE_TYPE, &format!("--service-type={}\n", kind.as_str()))
        }
        (Shape::Dedicated, _) => DEDICATED.to_owned(),
    };
    rendered
        .replace(IMAGE, &args.image)
        .replace(REPLICAS, &format!("\n  replicas: {}\n", args.replicas))
        .replace(NAMESPACE, &args.namespace)
}
