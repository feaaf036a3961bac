//! What the pods of Gateways are told of what their controller was told.
//!
//! In: the controller's arguments. Out: those that concern how a Gateway is served, as far as they
//! are not what the pods do by themselves. Not here: what pods need to find the controller.

use crate::{
    args::{AccessLog, RunArgs, format_duration},
    guard::Limits,
    stream::StreamOptions,
};

/// The arguments for `gateway run` in a pod.
pub(super) fn arguments(args: &RunArgs) -> Vec<String> {
    // All are named, so that nobody adds one without a thought of the pods.
    let RunArgs {
        workers,
        trusted_hops,
        forward_client_cert,
        proxies,
        proxy_ports,
        access_log,
        allow_external_name,
        stream_idle_timeout,
        max_connections,
        max_requests,
        // Of this process, or what pods are given in another way.
        paths: _,
        bind: _,
        port_offset: _,
        ports: _,
        admin: _,
        probes: _,
        drain_timeout: _,
        kubernetes: _,
        follow: _,
    } = args;
    let limits = Limits::default();
    let mut told = Vec::new();
    let mut tell = |flag: &str, value: String| told.push(format!("--{flag}={value}"));
    if let Some(workers) = workers {
        tell("workers", workers.to_string());
    }
    if usize::from(*trusted_hops) != limits.trusted_hops {
        tell("trusted-hops", trusted_hops.to_string());
    }
    proxies.iter().for_each(|range| tell("proxy-protocol-from", range.to_string()));
    if !proxy_ports.is_empty() {
        let ports: Vec<_> = proxy_ports.iter().map(u16::to_string).collect();
        tell("proxy-protocol-ports", ports.join(","));
    }
    // There is no folder in a pod that the file could be in.
    if *access_log == AccessLog::Off {
        tell("access-log", "off".to_owned());
    }
    if *stream_idle_timeout != StreamOptions::default().idle {
        tell("stream-idle-timeout", format_duration(*stream_idle_timeout));
    }
    if max_connections.get() != limits.connections {
        tell("max-connections", max_connections.to_string());
    }
    if max_requests.get() != limits.requests {
        tell("max-requests", max_requests.to_string());
    }
    let switches = [
        ("forward-client-cert", forward_client_cert),
        ("allow-external-name", allow_external_name),
    ];
    told.extend(switches.iter().filter(|(_, on)| **on).map(|(flag, _)| format!("--{flag}")));
    told
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{CommandFactory, Parser};

    use super::arguments;
    use crate::args::{Cli, Command, RunArgs};

    /// What pods are told just so.
    const TOLD: &[&str] = &[
        "--workers=3",
        "--trusted-hops=2",
        "--proxy-protocol-from=10.0.0.0/8",
        "--proxy-protocol-from=fd00::/8",
        "--proxy-protocol-ports=443,8443",
        "--access-log=off",
        "--stream-idle-timeout=1h30m",
        "--max-connections=7",
        "--max-requests=8",
        "--forward-client-cert",
        "--allow-external-name",
    ];

    /// What concerns the controller alone.
    const OWN: &[&str] = &[
        "address-pool",
        "admin",
        "cache",
        "config-address",
        "config-port",
        "context",
        "controller-name",
        "image",
        "kubeconfig",
        "kubernetes",
        "namespace",
        "no-leader-election",
        "pod-label",
        "pod-ports",
        "service-type",
        "shape",
    ];

    /// What pods are given in another way: by `gateway-kube`, after the objects that it makes.
    const MADE: &[&str] = &[
        "bind",
        "ca-file",
        "config-from",
        "drain-timeout",
        "port",
        "port-offset",
        "probes",
        "token-file",
    ];

    fn run<'w>(words: impl IntoIterator<Item = &'w str>) -> RunArgs {
        let cli = Cli::try_parse_from(["gateway", "run"].into_iter().chain(words));
        match cli.expect("the words are right").command {
            Command::Run(args) => args,
            other => panic!("not run: {other:?}"),
        }
    }

    #[test]
    fn pods_are_told_what_concerns_them() {
        let controller = ["--kubernetes", "--shape=dedicated"];
        assert_eq!(arguments(&run(controller)), [""; 0]);
        let told = arguments(&run(controller.into_iter().chain(TOLD.iter().copied())));
        assert_eq!(told, TOLD);
        // A pod understands them, and would say the same.
        let pod = ["--config-from=https://c:1", "--token-file=t", "--ca-file=c"];
        let pod = run(pod.into_iter().chain(told.iter().map(String::as_str)));
        assert_eq!(arguments(&pod), TOLD);
    }

    #[test]
    fn a_file_for_the_log_is_none_of_a_pod() {
        let args = run(["--kubernetes", "--access-log=/var/log/gateway"]);
        assert_eq!(arguments(&args), [""; 0]);
    }

    #[test]
    fn no_flag_is_forgotten() {
        let command = Cli::command();
        let run = command.find_subcommand("run").expect("there is such a command");
        let flags: BTreeSet<&str> = run
            .get_arguments()
            .filter_map(clap::Arg::get_long)
            .filter(|flag| *flag != "help")
            .collect();
        let name = |told: &&'static str| told[2..].split('=').next().unwrap_or_default();
        let told = TOLD.iter().map(name).collect::<BTreeSet<_>>();
        let all: Vec<&str> = told.iter().chain(OWN).chain(MADE).copied().collect();
        let known: BTreeSet<&str> = all.iter().copied().collect();
        assert_eq!(known.len(), all.len(), "a flag is in one of the lists only");
        assert_eq!(flags, known);
    }
}
