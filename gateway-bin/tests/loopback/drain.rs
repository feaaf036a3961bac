//! The gateway ends without ending a request.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::net::TcpListener;

use crate::common::{
    OK, Path, RawBackend, RawClient, Reply, Running, Setup, config, run, start, start_with, status,
    wait_until,
};

/// A backend that answers once `go` is set, and how many requests have arrived.
async fn slow_backend(go: &Arc<AtomicBool>) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    let (go, arrived) = (Arc::clone(go), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (go, count) = (Arc::clone(&go), Arc::clone(&count));
            tokio::spawn(async move {
                let mut head = [0; 1024];
                let _ = socket.read(&mut head).await;
                count.fetch_add(1, Ordering::SeqCst);
                wait_until(|| go.load(Ordering::SeqCst)).await;
                let _ = socket.write_all(OK.as_bytes()).await;
                let _ = socket.read(&mut head).await;
            });
        }
    });
    (address, arrived)
}

#[test]
fn requests_end_and_connections_close() {
    run(async {
        let go = Arc::new(AtomicBool::new(false));
        let (slow, arrived) = slow_backend(&go).await;
        let fast = RawBackend::answering(OK).await;
        let paths = vec![Path::new("/slow", slow), Path::new("/fast", fast.address)];
        let running = start(&Setup::http(paths)).await;
        let address = running.address;

        let mut idle = RawClient::connect(address).await;
        idle.send("GET /fast HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&idle.answer().await.expect("an answer")), 200);
        let mut busy = RawClient::connect(address).await;
        busy.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        wait_until(|| arrived.load(Ordering::SeqCst) == 1).await;

        let drained = tokio::spawn(running.gateway.drain());
        assert_eq!(idle.rest().await, "");
        go.store(true, Ordering::SeqCst);
        let answer = busy.rest().await;
        assert_eq!(status(&answer), 200, "{answer}");
        assert!(answer.to_ascii_lowercase().contains("connection: close\r\n"), "{answer}");
        assert_eq!(drained.await.expect("no panic"), 0);
        assert!(tokio::net::TcpStream::connect(address).await.is_err());
    });
}

#[test]
fn http2_clients_are_told_to_go() {
    run(async {
        let go = Arc::new(AtomicBool::new(false));
        let (slow, arrived) = slow_backend(&go).await;
        let running = start(&Setup::http(vec![Path::new("/", slow)])).await;
        let mut client = crate::http2::client(running.address).await;
        let answer = client.get("http://a.example/").await;
        wait_until(|| arrived.load(Ordering::SeqCst) == 1).await;
        let drained = tokio::spawn(running.gateway.drain());
        go.store(true, Ordering::SeqCst);
        assert_eq!(answer.await.expect("an answer").status(), 200);
        assert_eq!(drained.await.expect("no panic"), 0);
        client.ended().await;
    });
}

#[test]
fn the_deadline_ends_what_does_not_end() {
    run(async {
        let go = Arc::new(AtomicBool::new(false));
        let (slow, arrived) = slow_backend(&go).await;
        let mut config = config();
        config.drain = Duration::from_millis(50);
        let setup = Setup::http(vec![Path::new("/", slow)]);
        let running = start_with(&setup, &config).await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        wait_until(|| arrived.load(Ordering::SeqCst) == 1).await;
        assert_eq!(running.gateway.drain().await, 1);
        assert_eq!(client.rest().await, "");
    });
}

#[test]
fn a_client_that_has_said_nothing_holds_nobody_up() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut silent = RawClient::connect(running.address).await;
        wait_until(|| running.gateway.connections() == 1).await;
        // The time limit of the drain, and that of an idle connection, are longer than patience.
        assert_eq!(running.gateway.drain().await, 0);
        assert_eq!(silent.rest().await, "");
    });
}

/// A gateway with a short drain time before a backend whose answer never ends, and its listener.
async fn endless() -> (Running, Setup) {
    let begins = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n";
    let backend = RawBackend::new(move |_| Reply::Hang(begins.into())).await;
    let setup = Setup::http(vec![Path::new("/", backend.address)]);
    let mut config = config();
    config.drain = Duration::from_millis(50);
    (start_with(&setup, &config).await, setup)
}

async fn close_listener(running: &mut Running, setup: &Setup) {
    let mut update = setup.update();
    update.build.topology.binds.clear();
    running.gateway.apply(&update).await;
}

#[test]
fn an_answer_without_end_outlives_its_listener_for_the_drain_time_only() {
    run(async {
        let (mut running, setup) = endless().await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert!(client.some().await.starts_with("HTTP/1.1 200 "));
        close_listener(&mut running, &setup).await;
        assert!(!client.rest().await.ends_with("0\r\n\r\n"), "an end that the backend never sent");
        wait_until(|| running.gateway.connections() == 0).await;
    });
}

#[test]
fn a_stream_without_end_outlives_its_listener_for_the_drain_time_only() {
    run(async {
        let (mut running, setup) = endless().await;
        let mut client = crate::http2::client(running.address).await;
        let answer = client.get("http://a.example/").await.await.expect("an answer");
        assert_eq!(answer.status(), 200);
        close_listener(&mut running, &setup).await;
        client.ended().await;
        wait_until(|| running.gateway.connections() == 0).await;
    });
}
