//! Connections that TLS has let in, once their listener asks something else of clients.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use crate::{
    client_certificates::trusting,
    peers::{Authority, config_map, connect, echo, web},
    world::{World, config, gateway, route, run, service, soon},
};

const WEB: &str = "name: web, port: 443, protocol: HTTPS, hostname: '*.example', tls: {certificateRefs: [{name: cert}]";

/// HTTPS with these additions: to `spec.tls`, to the options of the listener, and more listeners.
fn secured(tls: &str, options: &str, more: &[&str]) -> String {
    let web = format!("{WEB}, options: {{{options}}}}}");
    let listeners = gateway(&[&[web.as_str()], more].concat());
    listeners.replace("  listeners:", &format!("  tls: {{{tls}}}\n  listeners:"))
}

fn validated(by: &str) -> String {
    format!("frontend: {{default: {{{}}}}}", trusting(by, ""))
}

/// Asks for something and leaves the connection open; false if it has ended.
async fn ask(stream: &mut TlsStream<TcpStream>) -> bool {
    soon(async {
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        if stream.write_all(request).await.is_err() {
            return false;
        }
        let mut heard = Vec::new();
        // The body of the backend ends with the head that it has heard.
        while !heard.ends_with(b"\r\n\r\n") || heard.iter().filter(|b| **b == b'\n').count() < 6 {
            if !matches!(stream.read_buf(&mut heard).await, Ok(1..)) {
                return false;
            }
        }
        heard.starts_with(b"HTTP/1.1 200 ")
    })
    .await
}

/// Whether a connection that was made under `before` ends when `after` is served.
#[track_caller]
fn check(
    before: impl Fn(&Authorities) -> String,
    after: impl Fn(&Authorities) -> String,
    ends: bool,
) {
    run(async {
        let known = Authorities::new();
        let manifests = [
            known.server.sign(&["a.example"]).secret("cert"),
            config_map("ca-0", &known.clients[0].pem()),
            config_map("ca-1", &known.clients[1].pem()),
            route(
                "HTTPRoute",
                "route",
                "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80}]}]",
            ),
            service("web", web("web").await),
            before(&known),
        ];
        let mut world = World::start(&manifests.concat()).await;
        let client = known.server.client(Some(&known.clients[0].sign(&["client"])));
        let mut stream = connect(world.tcp(443), "a.example", &client).await.expect("TLS");
        assert!(ask(&mut stream).await, "served at first");
        world.apply(&after(&known)).await;
        if ends {
            let mut rest = Vec::new();
            // With or without close_notify.
            let _ = soon(stream.read_to_end(&mut rest)).await;
            assert_eq!(rest, b"");
        }
        assert_eq!(ask(&mut stream).await, !ends);
    });
}

struct Authorities {
    server: Authority,
    clients: [Authority; 2],
}

impl Authorities {
    fn new() -> Self {
        Self { server: Authority::new(), clients: [Authority::new(), Authority::new()] }
    }
}

#[test]
fn who_was_let_in_without_certificate_has_to_come_again() {
    check(|_| secured("", "", &[]), |_| secured(&validated("ca-0"), "", &[]), true);
}

#[test]
fn who_was_let_in_by_another_authority_has_to_come_again() {
    let before = |_: &Authorities| secured(&validated("ca-0"), "", &[]);
    check(before, |_| secured(&validated("ca-1"), "", &[]), true);
    check(before, |known| config_map("ca-0", &known.clients[1].pem()), true);
}

#[test]
fn who_was_let_in_by_an_older_protocol_has_to_come_again() {
    let option = "gateway-rs.github.io/min-tls-version: '1.3'";
    check(|_| secured("", "", &[]), |_| secured("", option, &[]), true);
}

#[test]
fn who_has_a_stricter_listener_of_its_own_now_has_to_come_again() {
    let strict = "name: own, port: 443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: \
                  [{name: cert}], options: {gateway-rs.github.io/min-tls-version: '1.3'}}";
    let same = "name: own, port: 443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: \
                [{name: cert}]}";
    check(|_| secured("", "", &[]), |_| secured("", "", &[strict]), true);
    check(|_| secured("", "", &[]), |_| secured("", "", &[same]), false);
    check(|_| secured("", "", &[strict]), |_| secured("", "", &[]), true);
}

#[test]
fn a_renewed_certificate_and_other_listeners_end_nothing() {
    let before = |_: &Authorities| secured(&validated("ca-0"), "", &[]);
    check(before, |known| known.server.sign(&["a.example"]).secret("cert"), false);
    check(
        before,
        |_| secured(&validated("ca-0"), "", &["name: plain, port: 80, protocol: HTTP"]),
        false,
    );
}

#[test]
fn streams_go_on_for_the_drain_time_only() {
    run(async {
        let known = Authorities::new();
        let listener = "name: pass, port: 443, protocol: TLS, hostname: a.example, \
                        tls: {mode: Terminate, certificateRefs: [{name: cert}]}";
        let manifests = [
            secured("", "", &[listener]),
            known.server.sign(&["a.example"]).secret("cert"),
            config_map("ca-0", &known.clients[0].pem()),
            route(
                "TLSRoute",
                "route",
                "parentRefs: [{name: gw, sectionName: pass}], hostnames: [a.example], \
                 rules: [{backendRefs: [{name: echo, port: 80}]}]",
            ),
            service("echo", echo("echo").await),
        ];
        let config = gateway_bin::run::Config { drain: Duration::from_millis(50), ..config() };
        let mut world = World::start_with(&manifests.concat(), &config).await;
        let client = known.server.client(None);
        let mut stream = connect(world.tcp(443), "a.example", &client).await.expect("TLS");
        let mut greeting = [0; 4];
        soon(stream.read_exact(&mut greeting)).await.expect("a greeting");
        world.apply(&secured(&validated("ca-0"), "", &[listener])).await;
        assert!(!matches!(soon(stream.read(&mut greeting)).await, Ok(1..)));
        world.until_metric("gateway_streams_total", "cause=\"closed\"", 1).await;
    });
}
