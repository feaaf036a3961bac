//! `gateway run --config-from`, the program itself: it serves what a controller hands out, also while
//! there is none.

#![cfg(feature = "kubernetes")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use gateway_core::{
    api::{EndpointSlice, Gateway, HttpRoute, HttpRouteRule, Kind, Listener, ObjectKey, Service},
    snapshot::Snapshot,
};
use gateway_kube::config_stream::{
    Account, Authenticate, Authority, Identity, Offer, Publisher, Refusal, Resolver, serve,
};
use serde_json::json;
use tokio::runtime::Runtime;

/// So long that only what never happens fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Knows one token.
struct Token;

impl Authenticate for Token {
    async fn authenticate(&self, token: &str) -> Result<Identity, Refusal> {
        match token {
            "secret" => Ok(Identity { account: account(), pod: "pod-1".into() }),
            _ => Err(Refusal::Invalid("the token is not valid".to_owned())),
        }
    }
}

fn account() -> Account {
    Account { namespace: "infra".into(), name: "public-gateway".into() }
}

struct Controller {
    publisher: Publisher,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Controller {
    fn start(authority: &Authority, address: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let publisher = Publisher::default();
        publisher.open(true);
        let resolver = Resolver::new(authority.issue("127.0.0.1").unwrap());
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address)).unwrap();
        let address = listener.local_addr().unwrap();
        let handed = publisher.clone();
        runtime
            .spawn(async move { serve(listener, resolver, handed, Token, Arc::new(|_| {})).await });
        Self { publisher, address, runtime: Some(runtime) }
    }

    fn publish(&self, snapshot: Snapshot) {
        let gateway = ObjectKey::new(Kind::Gateway, "infra", "public");
        let offer = Offer { gateway, snapshot: Arc::new(snapshot), pods: 1 };
        self.publisher.publish(BTreeMap::from([(account(), offer)]));
    }
}

/// A Gateway whose route leads `path` to `backend`.
fn snapshot(path: &str, backend: SocketAddr) -> Snapshot {
    let route = HttpRoute::new("infra", "route")
        .parent("public")
        .rule(HttpRouteRule::new().path_prefix(path).backend("echo", 80));
    let slice = json!({
        "metadata": {
            "namespace": "infra",
            "name": "echo-1",
            "labels": {"kubernetes.io/service-name": "echo"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [backend.ip().to_string()]}],
        "ports": [{"port": backend.port()}],
    });
    let slice: EndpointSlice = serde_json::from_value(slice).unwrap();
    [
        Gateway::new("infra", "public").listener(Listener::http("web", 80)).into(),
        route.into(),
        Service::new("infra", "echo").port(80).into(),
        slice.into(),
    ]
    .into_iter()
    .collect()
}

/// Answers every request with 200.
fn backend() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line.is_empty() {
                        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                        if (&socket).write_all(answer).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

/// The running program.
struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(controller: SocketAddr, folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["run", "--bind=127.0.0.1", "--port=80=0", "--admin=127.0.0.1:0"])
            .args(["--workers=1", "--access-log=off", "--drain-timeout=1s"])
            .arg(format!("--config-from=https://{controller}"))
            .arg(format!("--token-file={}", folder.join("token").display()))
            .arg(format!("--ca-file={}", folder.join("ca.crt").display()))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Self { child, lines }
    }

    /// What comes after `part` in the next line that has it.
    #[track_caller]
    fn says(&self, part: &str) -> String {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => match line.split_once(part) {
                    Some((_, rest)) => return rest.to_owned(),
                    None => said.push(line),
                },
                Err(_) => panic!("{part:?} is not in {said:#?}"),
            }
        }
    }
}

fn get(at: SocketAddr, path: &str) -> u16 {
    let mut socket = TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Asks until the answer has this status.
#[track_caller]
fn until(at: SocketAddr, path: &str, status: u16) {
    let end = Instant::now() + PATIENCE;
    while get(at, path) != status {
        assert!(Instant::now() < end, "{path} never answers {status}");
        thread::yield_now();
    }
}

#[test]
fn a_data_plane_outlives_its_controller() {
    let (authority, backend) = (Authority::new().unwrap(), backend());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "secret\n").unwrap();
    fs::write(folder.path().join("ca.crt"), authority.certificate()).unwrap();
    let controller = Controller::start(&authority, "127.0.0.1:0");
    controller.publish(snapshot("/old", backend));
    let program = Program::start(controller.address, folder.path());
    let at: SocketAddr = program.says("port 80 is served on ").parse().unwrap();
    until(at, "/old", 200);
    assert_eq!(get(at, "/new"), 404);

    // The controller hears of it, and routes change.
    let mut told = controller.publisher.told();
    let gateway = ObjectKey::new(Kind::Gateway, "infra", "public");
    let reported = told.wait_for(|_| !controller.publisher.reports()[&gateway].is_empty());
    drop(controller.runtime.as_ref().unwrap().block_on(reported).unwrap());
    let reports = controller.publisher.reports();
    let report = &reports[&gateway][0];
    assert_eq!((report.binds[0].port, &report.binds[0].error), (80, &None));
    controller.publish(snapshot("/new", backend));
    until(at, "/new", 200);
    assert_eq!(get(at, "/old"), 404);

    // Without controller all goes on; another one takes over.
    let address = controller.address.to_string();
    drop(controller);
    program.says("the configuration cannot be followed");
    assert_eq!(get(at, "/new"), 200);
    let controller = Controller::start(&authority, &address);
    controller.publish(snapshot("/newest", backend));
    until(at, "/newest", 200);
    assert_eq!(get(at, "/new"), 404);
}
