//! Clients that mean no good: noise, halves of handshakes, and thousands that never go on. Whatever
//! they do to one listener, the others serve.

use std::{net::SocketAddr, time::Duration};

use rustix::process::{Resource, getrlimit, setrlimit};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use crate::{
    peers::{Authority, connect, converse, echo, get, say, tls_echo, udp_echo, web},
    world::{World, config, gateway, route, run, service, soon},
};

/// HTTP, HTTPS, a port that HTTPS shares with passthrough, TCP and UDP.
const PORTS: [u16; 4] = [80, 443, 8443, 9000];

struct Setup {
    authority: Authority,
    world: World,
}

impl Setup {
    async fn new(config: &gateway_bin::run::Config) -> Self {
        let authority = Authority::new();
        let pair = authority.sign(&["a.example", "pass.example"]);
        let https = |name: &str, port: u16| {
            format!(
                "name: {name}, port: {port}, protocol: HTTPS, hostname: a.example, \
                 tls: {{certificateRefs: [{{name: cert}}]}}"
            )
        };
        let to = |kind: &str, more: &str, backend: &str| {
            let spec = format!(
                "parentRefs: [{{name: gw}}], {more}rules: [{{backendRefs: [{{name: {backend}, port: 80}}]}}]"
            );
            route(kind, backend, &spec)
        };
        let manifests = [
            gateway(&[
                "name: web, port: 80, protocol: HTTP",
                &https("tls", 443),
                &https("beside", 8443),
                "name: pass, port: 8443, protocol: TLS, hostname: pass.example, tls: {mode: Passthrough}",
                "name: tcp, port: 9000, protocol: TCP",
                "name: udp, port: 5300, protocol: UDP",
            ]),
            pair.secret("cert"),
            to("HTTPRoute", "", "web"),
            to("TLSRoute", "hostnames: [pass.example], ", "pass"),
            to("TCPRoute", "", "bytes"),
            to("UDPRoute", "", "datagrams"),
            service("web", web("web").await),
            service("pass", tls_echo("pass", pair.server()).await),
            service("bytes", echo("bytes").await),
            service("datagrams", udp_echo("datagrams").await),
        ];
        let world = World::start_with(&manifests.concat(), config).await;
        Self { authority, world }
    }

    /// All listeners serve but those on the port `except`.
    async fn check_served(&self, except: Option<u16>) {
        let (world, config) = (&self.world, self.authority.client(None));
        for port in PORTS.into_iter().filter(|port| Some(*port) != except) {
            let address = world.tcp(port);
            match port {
                80 => {
                    let socket = TcpStream::connect(address).await.expect("a listener");
                    let answer = get(socket, "a.example", "").await;
                    assert_eq!(answer.map(|(status, _)| status), Some(200));
                }
                9000 => assert_eq!(say(address, "x").await.as_deref(), Some("bytesx")),
                _ => {
                    let stream = connect(address, "a.example", &config).await.expect("TLS");
                    let answer = get(stream, "a.example", "").await;
                    assert_eq!(answer.map(|(status, _)| status), Some(200));
                }
            }
            if port == 8443 {
                let stream = connect(address, "pass.example", &config).await.expect("TLS");
                assert_eq!(converse(stream, "x").await.as_deref(), Some("passx"));
            }
        }
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        client.send_to(b"x", world.udp(5300)).await.expect("sent");
        let mut answer = [0; 16];
        let (length, _) = soon(client.recv_from(&mut answer)).await.expect("an answer");
        assert_eq!(&answer[..length], b"datagramsx");
        assert_eq!(world.metric("gateway_panics_total", ""), 0);
    }

    fn hello(&self) -> Vec<u8> {
        let name = ServerName::try_from("a.example").expect("a name");
        let config = self.authority.client(None);
        let mut client = rustls::ClientConnection::new(config, name).expect("a client");
        let mut hello = Vec::new();
        client.write_tls(&mut hello).expect("a hello");
        hello
    }
}

/// Sends bytes and reads what comes until the connection ends. It may end at any time.
async fn send(address: SocketAddr, bytes: &[u8]) {
    let Ok(mut socket) = TcpStream::connect(address).await else { return };
    if socket.write_all(bytes).await.is_ok() && socket.shutdown().await.is_ok() {
        let mut heard = Vec::new();
        let _ = soon(socket.read_to_end(&mut heard)).await;
    }
}

/// A stream of bytes that is the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.next() % 600;
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }
}

#[test]
fn noise_and_cut_hellos_leave_all_listeners_serving() {
    run(async {
        let setup = Setup::new(&config()).await;
        let mut noise = Noise(0x5eed_1234_5678_9abc);
        let hello = setup.hello();
        for port in PORTS {
            let address = setup.world.tcp(port);
            for _ in 0..100 {
                send(address, &noise.bytes()).await;
                // The begin of a record of a handshake, and of HTTP/2, with noise behind.
                send(address, &[&[0x16, 3, 1][..], &noise.bytes()].concat()).await;
                send(address, &[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &noise.bytes()].concat())
                    .await;
            }
            for length in (0..hello.len()).step_by(7) {
                send(address, &hello[..length]).await;
                // Whole, with one byte turned.
                let mut turned = hello.clone();
                turned[length] ^= 0xff;
                send(address, &turned).await;
            }
        }
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        for _ in 0..100 {
            socket.send_to(&noise.bytes(), setup.world.udp(5300)).await.expect("sent");
        }
        setup.check_served(None).await;
    });
}

/// How many connections may be held at both ends: 10,000, or what the system allows.
fn most_connections() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without it fewer are held.
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let others = 1_000;
    usize::try_from(files.saturating_sub(others) / 2).unwrap_or(usize::MAX).min(10_000)
}

/// Scaled to the limit of open files: each connection takes two in this process.
#[test]
fn ten_thousand_half_open_connections_leave_the_other_listeners_serving() {
    run(async {
        let most = most_connections();
        let mut config = config();
        config.limits.connections_per_bind = most;
        // They stay for as long as the test looks.
        config.limits.handshake_time = Duration::from_secs(600);
        config.streams.hello_time = Duration::from_secs(600);
        let setup = Setup::new(&config).await;
        let hello = setup.hello();
        for port in [443, 8443] {
            let address = setup.world.tcp(port);
            let mut held = Vec::with_capacity(most);
            for place in 0..most {
                let mut socket = soon(TcpStream::connect(address)).await.expect("a listener");
                // Some say nothing, others a part of what they should.
                let said = place % 4 * hello.len() / 4;
                socket.write_all(&hello[..said]).await.expect("a connection");
                held.push(socket);
            }
            soon(async {
                while setup.world.gateway.connections() < most {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
            .await;
            setup.check_served(Some(port)).await;
            // One more is one too many, and there is room again once they are gone.
            send(address, &hello).await;
            setup.world.until_metric("gateway_connections_refused_total", "", 1).await;
            drop(held);
            soon(async {
                while setup.world.gateway.connections() > 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
            .await;
            setup.check_served(None).await;
        }
    });
}
