//! `gateway explain`: what would become of a request, and why.
//!
//! In: paths and a request. Out: the steps as a tree or as JSON, for each socket on the port; code 1
//! if the files have errors or nobody takes the request. Not here: the steps (`gateway-core`).

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr},
    process::ExitCode,
};

use gateway_core::{
    build::Build,
    compile::Ingress,
    explain::Explanation,
    matcher::{RequestHead, Scheme},
    snapshot::{BindAddress, BindKey, Transport},
};
use http::{Request, Version, header::HOST, request::Parts, uri::Authority};
use serde::Serialize;
use serde_json::json;

use super::inspection::Inspection;
use crate::{
    args::{ExplainArgs, HeaderLine, Output, RequestLine},
    guard::{Framing, Limits, Peer, Refusal, admit},
};

/// A request to explain.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Method and address.
    pub request: &'a RequestLine,
    /// Its headers.
    pub headers: &'a [HeaderLine],
    /// Server name of the TLS handshake, if it is not the host of the address.
    pub sni: Option<&'a str>,
}

/// What becomes of a request that comes in by one socket.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    /// Where the socket listens, as the Gateway says it.
    pub address: String,
    /// The port of the listeners.
    pub port: u16,
    /// Step by step.
    pub explanation: Explanation,
}

/// Prints the steps. Code 1 if the files have errors or nobody takes the request.
pub fn run(args: &ExplainArgs) -> ExitCode {
    let inspection = Inspection::of(&args.input);
    let errors = super::report_errors(&inspection);
    let ask = Ask { request: &args.request, headers: &args.headers, sni: args.sni.as_deref() };
    let explained = explain(&inspection.build, ask);
    let printed = match args.output {
        Output::Text => text(&inspection.build, ask, &explained),
        Output::Json => json_text(&explained),
    };
    let is_taken = explained.is_ok_and(|explained| !explained.is_empty());
    match io::stdout().write_all(printed.as_bytes()) {
        Ok(()) if errors == 0 && is_taken => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Explains a request for each socket on its port.
///
/// # Errors
///
/// Why the request is refused before any route is looked for.
pub fn explain(build: &Build, ask: Ask<'_>) -> Result<Vec<Explained>, Refusal> {
    let head = admitted(ask)?;
    let server_name = ask.sni.or_else(|| ask.request.uri.host());
    let keys = build.topology.binds.iter().map(|bind| &bind.key);
    let keys = keys.filter(|key| key.transport == Transport::Tcp && key.port == ask.request.port());
    let explained = keys.filter_map(|key| {
        let bind = build.table.bind(key)?;
        let ingress = match ask.request.is_https() {
            true => Ingress::tls(bind, server_name),
            false => Ingress::plain(bind),
        };
        let head = RequestHead::of(&head);
        let explanation = gateway_core::explain::explain(&build.table, &ingress, &head);
        Some(Explained { address: address(key), port: key.port, explanation })
    });
    Ok(explained.collect())
}

/// The head as routes see it, which is also the one that backends get.
fn admitted(ask: Ask<'_>) -> Result<Parts, Refusal> {
    let mut request = Request::new(());
    *request.method_mut() = ask.request.method.clone();
    *request.uri_mut() = ask.request.uri.clone();
    // The address stands for Host; a connection is not at hand, so there is no framing to judge.
    *request.version_mut() = Version::HTTP_2;
    for header in ask.headers {
        request.headers_mut().append(header.name.clone(), header.value.clone());
    }
    let (mut head, ()) = request.into_parts();
    // As with curl, the address says which socket and a Host header which host.
    let host = head.headers.get(HOST).map(|host| Authority::try_from(host.as_bytes()));
    if let Some(Ok(authority)) = host {
        let mut parts = head.uri.into_parts();
        parts.authority = Some(authority);
        head.uri = http::Uri::from_parts(parts).unwrap_or_else(|_| ask.request.uri.clone());
    }
    let scheme = if ask.request.is_https() { Scheme::Https } else { Scheme::Http };
    let peer = Peer::new(IpAddr::V4(Ipv4Addr::LOCALHOST), scheme);
    admit(&mut head, &peer, Framing::default(), &Limits::default())?;
    Ok(head)
}

fn text(build: &Build, ask: Ask<'_>, explained: &Result<Vec<Explained>, Refusal>) -> String {
    let explained = match explained {
        Ok(explained) => explained,
        Err(Refusal { status, reason, .. }) => {
            return format!("answered with {status} before any route is looked for: {reason}\n");
        }
    };
    let mut text = String::new();
    for step in explained {
        if explained.len() > 1 {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "on {}:", step.address);
        }
        let _ = write!(text, "{}", step.explanation);
    }
    if explained.is_empty() {
        let ports: BTreeSet<u16> = build.topology.binds.iter().map(|bind| bind.key.port).collect();
        let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
        let ports = if ports.is_empty() { "none".to_owned() } else { ports.join(", ") };
        let port = ask.request.port();
        let _ = writeln!(text, "nothing listens on port {port}; ports with listeners: {ports}");
    }
    text
}

fn json_text(explained: &Result<Vec<Explained>, Refusal>) -> String {
    let document = match explained {
        Ok(sockets) => json!({"sockets": sockets}),
        Err(refusal) => {
            json!({"refused": {"status": refusal.status.as_u16(), "reason": refusal.reason}})
        }
    };
    format!("{document:#}\n")
}

fn address(key: &BindKey) -> String {
    match &key.address {
        BindAddress::Default => "the default address".to_owned(),
        BindAddress::Ip(ip) => ip.to_string(),
        BindAddress::Hostname(name) => name.to_string(),
        BindAddress::Own(gateway) => format!("the address of {gateway}"),
    }
}
