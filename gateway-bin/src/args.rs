//! The command line.
//!
//! In: words from the shell. Out: typed arguments, one struct for each subcommand. Not here: what
//! the subcommands do. A wrong command line ends the program with code 2 and a usage text.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use crate::stream::proxy_protocol::IpRange;
use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "kubernetes")]
mod follow;
#[cfg(feature = "kubernetes")]
mod install;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod value;

#[cfg(feature = "kubernetes")]
pub use follow::FollowArgs;
#[cfg(feature = "kubernetes")]
pub use install::InstallArgs;
#[cfg(feature = "kubernetes")]
pub use kubernetes::{KubernetesArgs, ServiceType, Shape};
#[cfg(feature = "kubernetes")]
pub(crate) use value::format_duration;
pub use value::{AccessLog, HeaderLine, PortMapping, RequestLine, parse_duration};

use value::parse_idle;

/// The program's arguments.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "gateway",
    version,
    about = "A Kubernetes Gateway API proxy that runs from plain files, or in a cluster",
    after_help = "Examples:\n  \
        gateway demo                       try it: sample routes, sample backends\n  \
        gateway check gateway.yaml            find mistakes before you deploy\n  \
        gateway run gateway.yaml           serve the Gateways of a file\n\n\
        Exit codes: 0 all well, 1 errors or findings, 2 wrong usage."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A subcommand.
#[derive(Clone, Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, read at the start")]
pub enum Command {
    /// Serve all Gateways found in files and folders or in a cluster, and follow their changes
    Run(RunArgs),
    /// Start a sample shop behind the gateway and print requests to try
    Demo(DemoArgs),
    /// Report every mistake and every doubtful spot in files and folders
    Check(CheckArgs),
    /// Tell step by step what would happen to a request, and why
    Explain(ExplainArgs),
    /// Print the status that a cluster would show for each object
    Status(StatusArgs),
    /// Start an HTTP and gRPC backend that answers with what it received
    Echo(EchoArgs),
    /// Print the manifests that make a cluster run the gateway
    #[cfg(feature = "kubernetes")]
    Install(InstallArgs),
}

/// Arguments of `gateway run`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    gateway run gateway.yaml --port-offset 8000      port 80 becomes 8080, 443 becomes 8443\n  \
    gateway run routes/ --port 80=8080 --bind 127.0.0.1\n  \
    gateway run /etc/gateway --admin 127.0.0.1:15000 --access-log off")]
pub struct RunArgs {
    /// Files and folders with YAML or JSON; folders are read with all their subfolders
    #[cfg_attr(feature = "kubernetes", arg(required_unless_present_any = ["kubernetes", "config_from"]))]
    #[cfg_attr(not(feature = "kubernetes"), arg(required = true))]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Address for Gateways that name none
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub bind: IpAddr,

    /// Added to every listener's port, so that ports below 1024 need no privilege
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub port_offset: u16,

    /// Serve the listener port FROM on port TO; may be repeated, wins over --port-offset
    #[arg(long = "port", value_name = "FROM=TO")]
    pub ports: Vec<PortMapping>,

    /// Address of /healthz, /readyz, /metrics, /status, /config and /explain
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:15000")]
    pub admin: SocketAddr,

    /// Port of /healthz, /readyz and /metrics alone, at the address of --bind
    #[arg(long, value_name = "PORT")]
    pub probes: Option<u16>,

    /// Threads that serve requests [default: one for each CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub workers: Option<u16>,

    /// Proxies in front of this one whose X-Forwarded-* headers are believed
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub trusted_hops: u8,

    /// Tell backends who a client is by its verified certificate, in X-Forwarded-Client-Cert
    #[arg(long)]
    pub forward_client_cert: bool,

    /// Connections from this range begin with a PROXY header, version 1 or 2; may be repeated
    #[arg(long = "proxy-protocol-from", value_name = "CIDR")]
    pub proxies: Vec<IpRange>,

    /// Listener ports at which they do, such as 443,8443 [default: all]
    #[arg(long = "proxy-protocol-ports", value_name = "PORTS", value_delimiter = ',')]
    #[arg(requires = "proxies", value_parser = clap::value_parser!(u16).range(1..))]
    pub proxy_ports: Vec<u16>,

    /// One JSON line for each request: off, stdout or the path of a file
    #[arg(long, value_name = "off|stdout|FILE", default_value = "stdout")]
    pub access_log: AccessLog,

    /// Let Services of type ExternalName lead to their DNS names
    #[arg(long)]
    pub allow_external_name: bool,

    /// How long running requests may go on after SIGTERM, for example 30s or 1m30s
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub drain_timeout: Duration,

    /// How long a TCP, TLS or WebSocket connection may be open without a byte either way
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_idle)]
    pub stream_idle_timeout: Duration,

    /// Connections of all clients together, within half of the files that the system allows; one
    /// listener takes at most 10000 of them, or a fifth if that is more
    #[arg(long, value_name = "N", default_value = "50000")]
    pub max_connections: NonZeroUsize,

    /// Requests that are answered at a time; more are answered with 503. Each worker has an equal
    /// part, but 200 at least, and one listener as much of it as is left for all: alone half
    #[arg(long, value_name = "N", default_value = "100000")]
    pub max_requests: NonZeroUsize,

    /// The cluster, instead of files.
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    pub kubernetes: KubernetesArgs,

    /// A controller, instead of files.
    #[cfg(feature = "kubernetes")]
    #[command(flatten)]
    pub follow: FollowArgs,
}

/// Arguments of `gateway demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// Port of the HTTP listener on 127.0.0.1, TLS is 363 above; 0 takes free ones
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub port: u16,

    /// Show TLS instead: HTTPS, client certificates, passthrough and gRPC, with an authority made on
    /// the spot
    #[arg(long)]
    pub tls: bool,

    /// Send the sample requests, verify the answers, then exit
    #[arg(long)]
    pub check: bool,
}

/// Arguments of `gateway check`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    gateway check gateway.yaml\n  \
    kubectl get gateways,httproutes,services -A -o yaml | gateway check -\n  \
    gateway check routes.yaml --output json")]
pub struct CheckArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: Input,

    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `gateway explain`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    gateway explain shop.yaml --request 'GET http://shop.example.com/cart?x=1'\n  \
    gateway explain shop.yaml --request 'POST https://shop.example.com/pay' -H 'x-canary: always'")]
pub struct ExplainArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: Input,

    /// Method and address of the request
    #[arg(long, short, value_name = "'METHOD URL'")]
    pub request: RequestLine,

    /// A header of the request; may be repeated
    #[arg(long = "header", short = 'H', value_name = "'NAME: VALUE'")]
    pub headers: Vec<HeaderLine>,

    /// Server name of the TLS handshake [default: the host of an https request]
    #[arg(long, value_name = "NAME")]
    pub sni: Option<String>,

    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `gateway status`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    gateway status examples/\n  \
    gateway status gateway.yaml --output yaml")]
pub struct StatusArgs {
    /// What to look at.
    #[command(flatten)]
    pub input: Input,

    /// How to print
    #[arg(long, short, value_enum, default_value_t)]
    pub output: StatusOutput,
}

/// Arguments of `gateway echo`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "A request may ask for a special answer:\n  \
    ?delay=200ms or X-Echo-Delay: 200ms              wait first\n  \
    ?status=503 or X-Echo-Status: 503                answer with this status\n  \
    X-Echo-Set-Header: name:value, other:value       send these headers")]
pub struct EchoArgs {
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 3000)]
    pub port: u16,

    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub bind: IpAddr,

    /// Name given in every answer
    #[arg(long, value_name = "NAME", default_value = "echo")]
    pub name: String,
}

/// What `check`, `explain` and `status` look at.
#[derive(Clone, Debug, Args)]
pub struct Input {
    /// Files and folders with YAML or JSON, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Judge as `gateway run` with the same flag: Services of type ExternalName may be used
    #[arg(long)]
    pub allow_external_name: bool,
}

/// How findings and explanations are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// How status is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StatusOutput {
    /// A table for each object
    #[default]
    Text,
    /// One JSON document
    Json,
    /// As on a cluster
    Yaml,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::{Cli, Command};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_path_is_needed_and_help_is_no_error() {
        for command in ["run", "check", "status"] {
            let error = Cli::try_parse_from(["gateway", command]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
        }
        let help = Cli::try_parse_from(["gateway", "run", "--help"]).unwrap_err();
        assert_eq!(help.exit_code(), 0);
    }

    #[test]
    fn proxy_protocol_at_some_ports() {
        let words =
            "gateway run a --proxy-protocol-from 10.0.0.0/8 --proxy-protocol-ports 443,8443";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!((run.proxies.len(), run.proxy_ports), (1, vec![443, 8443]));
        let alone = ["gateway", "run", "a", "--proxy-protocol-ports", "443"];
        assert_eq!(Cli::try_parse_from(alone).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn run_has_safe_defaults() {
        let cli = Cli::try_parse_from(["gateway", "run", "a", "b"]).unwrap();
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.paths.len(), 2);
        assert!(run.admin.ip().is_loopback());
        assert_eq!((run.trusted_hops, run.allow_external_name), (0, false));
        assert_eq!((run.proxies.len(), run.proxy_ports.len()), (0, 0));
        assert_eq!(run.drain_timeout, Duration::from_secs(30));
        assert_eq!(run.stream_idle_timeout, Duration::from_secs(3600));
        let never = Cli::try_parse_from(["gateway", "run", "a", "--stream-idle-timeout", "0s"]);
        assert_eq!(never.unwrap_err().exit_code(), 2);
    }
}
