//! Connections that change their protocol.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway_bin::AccessLog;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::common::{
    OK, Path, RawBackend, RawClient, Reply, Setup, config, exchange, run, start, start_with,
    status, wait_until,
};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";

const GREETING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                        Upgrade: websocket\r\n\r\nhello";

/// Upgrades every request, greets, then sends back what comes.
async fn echo() -> (SocketAddr, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let head = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&head);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\r\n\r\n") {
                if socket.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            *seen.lock().expect("no panic") = String::from_utf8_lossy(&bytes).into_owned();
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                          Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\nhello";
            socket.write_all(answer.as_bytes()).await.expect("sent");
            let (mut read, mut write) = socket.split();
            let _ = tokio::io::copy(&mut read, &mut write).await;
            let _ = write.shutdown().await;
        }
    });
    (address, head)
}

#[test]
fn bytes_flow_both_ways_after_101() {
    run(async {
        let (address, head) = echo().await;
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(UPGRADE).await;
        let answer = client.answer().await.expect("101").to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 101 "), "{answer}");
        assert!(answer.contains("upgrade: websocket\r\n"), "{answer}");
        assert!(answer.contains("sec-websocket-accept: y\r\n"), "{answer}");
        client.expect("hello").await;
        let long = "x".repeat(200_000);
        client.send(&long).await;
        client.expect(&long).await;
        client.socket.shutdown().await.expect("half closed");
        assert_eq!(client.rest().await, "");
        let head = head.lock().expect("no panic").clone();
        assert!(head.contains("connection: upgrade\r\n"), "{head}");
        wait_until(|| running.gateway.connections() == 0).await;
    });
}

#[test]
fn a_backend_may_decline() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        // What follows the request is the next request, not bytes of a tunnel.
        client.send(format!("{UPGRADE}GET /next HTTP/1.1\r\nHost: b.example\r\n\r\n")).await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        assert!(backend.seen()[1].contains("host: b.example\r\n"));
    });
}

#[test]
fn what_was_not_asked_for_is_no_upgrade() {
    run(async {
        let (address, head) = echo().await;
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        for request in [
            "GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade, http2-settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ] {
            let closing = request.replace("\r\n\r\n", "\r\nX-A: b\r\nConnection: close\r\n\r\n");
            assert_eq!(status(&exchange(running.address, closing).await), 502);
            let head = head.lock().expect("no panic").clone();
            assert!(!head.contains("upgrade"), "{head}");
        }
    });
}

#[test]
fn tunnels_count_as_connections_and_outlive_the_beginning_of_the_end() {
    run(async {
        let (address, _) = echo().await;
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(UPGRADE).await;
        client.answer().await.expect("101");
        client.expect("hello").await;
        assert_eq!(running.gateway.connections(), 1);
        let drained = tokio::spawn(running.gateway.drain());
        tokio::task::yield_now().await;
        client.send("still there").await;
        client.expect("still there").await;
        client.socket.shutdown().await.expect("half closed");
        assert_eq!(client.rest().await, "");
        assert_eq!(drained.await.expect("no panic"), 0);
    });
}

#[test]
fn tunnels_take_no_place_of_requests() {
    run(async {
        let backend = RawBackend::new(|request| match request.starts_with("GET /chat") {
            true => Reply::Hang(GREETING.into()),
            false => Reply::Keep(OK.into()),
        });
        let paths = vec![Path::new("/", backend.await.address)];
        let mut config = config();
        (config.workers, config.limits.requests) = (1, 1);
        let running = start_with(&Setup::http(paths), &config).await;
        let mut tunnels = Vec::new();
        for _ in 0..3 {
            let mut client = RawClient::connect(running.address).await;
            client.send(UPGRADE).await;
            assert_eq!(status(&client.answer().await.expect("101")), 101);
            client.expect("hello").await;
            tunnels.push(client);
        }
        let get = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        assert_eq!(status(&exchange(running.address, get).await), 200);
        wait_until(|| running.gateway.connections() == 3).await;
    });
}

#[test]
fn a_tunnel_without_bytes_ends() {
    run(async {
        let (address, _) = echo().await;
        let mut config = config();
        config.limits.tunnel_idle = Duration::from_millis(500);
        let running = start_with(&Setup::http(vec![Path::new("/", address)]), &config).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(UPGRADE).await;
        client.answer().await.expect("101");
        client.expect("hello").await;
        assert_eq!(client.rest().await, "");
        wait_until(|| running.gateway.connections() == 0).await;
    });
}

/// The lines of the access log of a tunnel that `end` ends after the backend has said `hello`.
async fn logged(name: &str, end: impl AsyncFnOnce(RawClient)) -> String {
    let backend = RawBackend::new(|_| Reply::Hang(GREETING.into())).await;
    let file = std::env::temp_dir().join(format!("gateway-tunnel-{name}-{}", std::process::id()));
    let mut config = config();
    config.access_log = AccessLog::File(file.clone());
    config.limits.tunnel_idle = Duration::from_millis(500);
    config.drain = Duration::from_millis(50);
    let running = start_with(&Setup::http(vec![Path::new("/", backend.address)]), &config).await;
    let mut client = RawClient::connect(running.address).await;
    client.send(UPGRADE).await;
    client.answer().await.expect("101");
    client.expect("hello").await;
    end(client).await;
    running.gateway.drain().await;
    let log = std::fs::read_to_string(&file).expect("a log");
    std::fs::remove_file(&file).expect("removed");
    log
}

#[test]
fn the_bytes_of_a_tunnel_are_logged_however_it_ends() {
    run(async {
        let reset = async |client: RawClient| {
            client.socket.set_zero_linger().expect("a socket");
            drop(client);
        };
        let mut kept = None;
        let ended = async |client| kept = Some(client);
        let idle = async |mut client: RawClient| assert_eq!(client.rest().await, "");
        for (name, log) in [
            ("reset", logged("reset", reset).await),
            ("ended", logged("ended", ended).await),
            ("idle", logged("idle", idle).await),
        ] {
            assert!(log.contains("\"bytes\":5,"), "{name}: {log}");
            assert!(log.contains("\"complete\":false"), "{name}: {log}");
        }
    });
}
