//! `gateway run` while its files change: under a stream of requests each one is answered, by one
//! configuration or the next, and never by a mixture.
//!
//! A configuration says its number in a field of answers and has odd numbers served by one backend,
//! even ones by another; so a mixture shows. Nothing is timed: each step waits until every client has
//! seen it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// So long that only what never comes fails.
const PATIENCE: Duration = Duration::from_secs(30);
const CLIENTS: usize = 4;
/// The routes: one from a file, one from a mounted ConfigMap.
const PATHS: [&str; 2] = ["/file", "/mounted"];

#[test]
fn no_request_fails_while_files_change() {
    let folder = tempfile::tempdir().unwrap();
    let (file, mount) = (folder.path().join("file.yaml"), folder.path().join("mount"));
    let backends = [Backend::start("even"), Backend::start("odd")];
    replace(&file, &(common(&backends) + &route("/file", 1)));
    fs::create_dir(&mount).unwrap();
    swap(&mount, 1);
    symlink("..data/routes.yaml", mount.join("routes.yaml")).unwrap();

    let running = Running::start(&[&file, &mount]);
    let mut crowd = Crowd::start(running.address);
    crowd.wait_for([1, 1]);
    replace(&file, &(common(&backends) + &route("/file", 2)));
    crowd.wait_for([2, 1]);
    swap(&mount, 2);
    crowd.wait_for([2, 2]);

    // The last good version stays, the place of the mistake is told, and the other file goes on.
    replace(&file, &(common(&backends) + "kind: [\n"));
    let line = common(&backends).lines().count() + 1;
    running.wait_for_line(&format!("{}:{line}:", file.display()));
    swap(&mount, 3);
    crowd.wait_for([2, 3]);
    replace(&file, &(common(&backends) + &route("/file", 3)));
    crowd.wait_for([3, 3]);

    let served = crowd.end();
    assert!(served >= CLIENTS * 8, "{served}");
    assert_eq!(running.end(), Some(0));
}

/// Writes a file as editors do, so that it is never seen half written.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, file).unwrap();
}

/// Puts new content behind a link in one step, as a kubelet does with a mounted ConfigMap.
fn swap(mount: &Path, number: usize) {
    let version = format!("..version-{number}");
    fs::create_dir(mount.join(&version)).unwrap();
    fs::write(mount.join(&version).join("routes.yaml"), route("/mounted", number)).unwrap();
    let (new, data) = (mount.join("..data_tmp"), mount.join("..data"));
    symlink(&version, &new).unwrap();
    let before = fs::read_link(&data);
    fs::rename(new, data).unwrap();
    if let Ok(before) = before {
        fs::remove_dir_all(mount.join(before)).unwrap();
    }
}

fn common(backends: &[Backend; 2]) -> String {
    let mut text = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: gateway
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
"
    .to_owned();
    for Backend { name, port } in backends {
        text.push_str(&format!(
            "\
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{ports: [{{port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
---
"
        ));
    }
    text
}

fn route(path: &str, number: usize) -> String {
    let name = &path[1..];
    format!(
        "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{{name: gw}}]
  rules:
  - matches: [{{path: {{value: {path}}}}}]
    filters:
    - type: ResponseHeaderModifier
      responseHeaderModifier: {{set: [{{name: x-number, value: \"{number}\"}}]}}
    backendRefs: [{{name: {}, port: 80}}]
",
        expected_body(number)
    )
}

fn expected_body(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "even" } else { "odd" }
}

/// A server that answers everything with its name.
struct Backend {
    name: &'static str,
    port: u16,
}

impl Backend {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        thread::spawn(move || {
            for socket in listener.incoming() {
                let (answer, socket) = (answer.clone(), socket.unwrap());
                thread::spawn(move || {
                    let mut lines = BufReader::new(&socket).lines();
                    while let Some(Ok(line)) = lines.next() {
                        if line.is_empty() && (&socket).write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { name, port }
    }
}

/// A running `gateway run`. It is killed unless it ended before.
struct Running {
    child: Child,
    address: SocketAddr,
    lines: Receiver<String>,
}

impl Running {
    fn start(paths: &[&Path]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(["run", "--port", "80=0", "--bind", "127.0.0.1", "--admin", "127.0.0.1:0"])
            .args(["--access-log", "off"])
            .args(paths)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = said
            .find_map(|line| line.unwrap().strip_prefix("port 80 is served on ")?.parse().ok())
            .unwrap();
        let (sender, lines) = channel();
        thread::spawn(move || {
            // Reads on when nobody listens, so that the program never waits for its standard error.
            said.map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Self { child, address, lines }
    }

    fn wait_for_line(&self, part: &str) {
        while !self.lines.recv_timeout(PATIENCE).unwrap().contains(part) {}
    }

    fn end(mut self) -> Option<i32> {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
    }
}

/// Clients that ask for both paths again and again.
struct Crowd {
    clients: Vec<JoinHandle<usize>>,
    /// Which client has seen which numbers.
    seen: Receiver<(usize, [usize; 2])>,
    stop: Arc<AtomicBool>,
}

impl Crowd {
    fn start(address: SocketAddr) -> Self {
        let (sender, seen) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let client = |number| {
            let (sender, stop) = (sender.clone(), Arc::clone(&stop));
            thread::spawn(move || ask_on(address, number, &sender, &stop))
        };
        Self { clients: (0..CLIENTS).map(client).collect(), seen, stop }
    }

    /// Waits until every client has seen `numbers`.
    fn wait_for(&mut self, numbers: [usize; 2]) {
        let mut waiting = [true; CLIENTS];
        while waiting.contains(&true) {
            let (client, seen) = self.seen.recv_timeout(PATIENCE).unwrap();
            waiting[client] &= seen != numbers;
        }
    }

    /// How many pairs of requests were answered.
    fn end(self) -> usize {
        self.stop.store(true, Ordering::SeqCst);
        self.clients.into_iter().map(|client| client.join().unwrap()).sum()
    }
}

/// Asks on two connections, one that stays and one that is new each time.
fn ask_on(
    address: SocketAddr,
    client: usize,
    seen: &Sender<(usize, [usize; 2])>,
    stop: &AtomicBool,
) -> usize {
    let mut kept = TcpStream::connect(address).unwrap();
    let (mut served, mut last) = (0, [0; 2]);
    while !stop.load(Ordering::SeqCst) {
        let mut new = TcpStream::connect(address).unwrap();
        let connections =
            if served % 2 == 0 { [&mut kept, &mut new] } else { [&mut new, &mut kept] };
        for ((path, connection), last) in PATHS.iter().zip(connections).zip(&mut last) {
            let number = ask(connection, path);
            assert!(number >= *last, "{path} went back from {last} to {number}");
            *last = number;
        }
        served += 1;
        // Nobody listens any more once the test has failed.
        let _ = seen.send((client, last));
    }
    served
}

/// The number of the configuration that answered.
fn ask(connection: &mut TcpStream, path: &str) -> usize {
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = BufReader::new(connection);
    let (mut lines, mut number, mut length) = (Vec::new(), None, 0);
    loop {
        let mut line = String::new();
        assert!(answer.read_line(&mut line).unwrap() > 0, "no answer, but {lines:?}");
        match line.trim_end().split_once(": ") {
            Some(("x-number", value)) => number = value.parse().ok(),
            Some(("content-length", value)) => length = value.parse().unwrap(),
            _ if line == "\r\n" => break,
            _ => {}
        }
        lines.push(line);
    }
    let mut body = vec![0; length];
    answer.read_exact(&mut body).unwrap();
    assert!(lines[0].starts_with("HTTP/1.1 200 "), "{lines:?}");
    let number = number.unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(String::from_utf8_lossy(&body), expected_body(number), "{lines:?}");
    number
}
