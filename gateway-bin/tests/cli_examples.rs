//! The examples for users of files, and the demo, do what they say.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use bytes::Bytes;
use gateway_bin::cli::{
    client::{Reply, send},
    echo::{Echo, Identity, serve},
};
use http::Request;

fn gateway() -> Command {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

#[test]
fn check_finds_nothing_in_the_examples() {
    let mut count = 0;
    for example in fs::read_dir(examples()).unwrap() {
        let path = example.unwrap().path();
        let output = gateway().arg("check").arg(&path).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.ends_with(" in 1 file: 0 errors, 0 warnings, 0 notes\n"), "{printed}");
        assert!(output.status.success(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 5, "{count}");
}

#[test]
fn the_demo_shows_what_it_says() {
    for more in [&[][..], &["--tls"]] {
        let output =
            gateway().args(["demo", "--port", "0", "--check"]).args(more).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{printed}");
    }
}

/// A running `gateway run`. It is killed unless it ended before.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    /// Serves a file, its listener port 80 on a free one.
    fn start(path: &Path) -> Self {
        let mut child = gateway()
            .args(["run", "--port", "80=0", "--bind", "127.0.0.1", "--admin", "127.0.0.1:0"])
            .args(["--access-log", "off"])
            .arg(path)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| line.unwrap().strip_prefix("port 80 is served on ")?.parse().ok())
            .unwrap();
        // Goes on reading, so that the program never waits for its standard error.
        std::thread::spawn(move || lines.count());
        Self { child, address }
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

/// Serves an example, its backends on a free port instead of 3000, and sends it a request.
fn ask(example: &str, url: &str) -> Reply {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = runtime.block_on(listener).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(serve(listener, Identity { service: "app".into(), ..Identity::default() }));

    let text = fs::read_to_string(examples().join(example)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(example);
    fs::write(&path, text.replace("port: 3000", &format!("port: {port}"))).unwrap();

    let running = Running::start(&path);
    let request = Request::get(url).body(Bytes::new()).unwrap();
    let reply = runtime.block_on(send(running.address, request)).unwrap();
    assert_eq!(running.end(), Some(0));
    reply
}

#[test]
fn a_gateway_of_2024_runs_as_it_stands() {
    let reply = ask("v1beta1-2024.yaml", "http://app.dev.example.com/hello");
    assert_eq!(reply.status.as_u16(), 200);
    let echo: Echo = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&*echo.host, &*echo.path), ("app.dev.example.com", "/hello"));

    let reply = ask("v1beta1-2024.yaml", "http://app.example.com/hello");
    assert_eq!(reply.status.as_u16(), 404);
}

#[test]
fn the_simple_example_runs() {
    let reply = ask("simple.yaml", "http://shop.example.com/cart?x=1");
    let echo: Echo = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&*echo.path, &*echo.headers["x-part"]), ("/cart?x=1", &["cart".to_owned()][..]));
}
