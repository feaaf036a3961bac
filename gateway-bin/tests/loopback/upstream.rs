//! Connections to backends: reused, replaced, limited, given up.

use std::sync::atomic::Ordering;

use crate::common::{
    OK, Path, RawBackend, RawClient, Refusing, Reply, Setup, backend_key, config, exchange, run,
    start, start_with, status, wait_until,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const GET_CLOSE: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

#[test]
fn connections_are_reused() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let mut config = config();
        config.workers = 1;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = start_with(&setup, &config).await;
        for _ in 0..5 {
            assert_eq!(status(&exchange(running.address, GET_CLOSE).await), 200);
        }
        assert_eq!(backend.connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_connection_that_the_backend_has_closed_costs_no_request() {
    run(async {
        let backend = RawBackend::new(|_| Reply::Close(OK.into())).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        for _ in 0..20 {
            client.send(GET).await;
            assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        }
    });
}

#[test]
fn refused_connections_and_missing_endpoints() {
    run(async {
        let dead = Refusing::new();
        let setup = Setup::http(vec![Path::new("/", dead.address)]);
        let mut running = start(&setup).await;
        assert_eq!(status(&exchange(running.address, GET_CLOSE).await), 502);
        let mut update = setup.update();
        update.endpoints.insert(backend_key(&setup.paths[0]), Vec::new());
        running.gateway.apply(&update).await;
        assert_eq!(status(&exchange(running.address, GET_CLOSE).await), 503);
    });
}

#[test]
fn another_endpoint_is_tried_when_one_refuses() {
    run(async {
        let dead = Refusing::new();
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let mut running = start(&setup).await;
        let mut update = setup.update();
        update.endpoints.insert(backend_key(&setup.paths[0]), vec![dead.address, backend.address]);
        running.gateway.apply(&update).await;
        for _ in 0..30 {
            assert_eq!(status(&exchange(running.address, GET_CLOSE).await), 200);
        }
    });
}

#[test]
fn connections_of_a_backend_are_limited() {
    run(async {
        let backend = RawBackend::new(|_| Reply::Hang(Vec::new())).await;
        let mut config = config();
        config.upstream.connections = 3;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = start_with(&setup, &config).await;
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut client = RawClient::connect(running.address).await;
            client.send(GET).await;
            waiting.push(client);
        }
        wait_until(|| backend.seen().len() == 3).await;
        assert_eq!(status(&exchange(running.address, GET_CLOSE).await), 503);
        // Clients that go away make room, since their requests are given up.
        drop(waiting);
        backend.wait_closed(3).await;
    });
}

#[test]
fn a_client_that_goes_away_ends_the_work_for_it() {
    run(async {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345".to_vec();
        let backend = RawBackend::new(move |request| {
            Reply::Hang(if request.contains("/early") { Vec::new() } else { head.clone() })
        })
        .await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut before_answer = RawClient::connect(running.address).await;
        before_answer.send("GET /early HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        wait_until(|| backend.seen().len() == 1).await;
        drop(before_answer);
        backend.wait_closed(1).await;

        let mut amid_answer = RawClient::connect(running.address).await;
        amid_answer.send("GET /late HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert!(amid_answer.some().await.contains("200 OK"));
        drop(amid_answer);
        backend.wait_closed(2).await;
    });
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    run(async {
        let refusal = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut head = [0; 32];
                let _ = socket.read_exact(&mut head).await;
                let _ = socket.write_all(refusal.as_bytes()).await;
                // Wait for the gateway to end, so that no reset overtakes the answer.
                let mut rest = [0; 4096];
                while let Ok(1..) = socket.read(&mut rest).await {}
            }
        });
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client
            .send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\nhello")
            .await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 413);
    });
}

#[test]
fn a_name_can_stand_for_the_endpoints() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let mut path = Path::new("/", backend.address);
        path.external = Some("localhost");
        let running = start(&Setup::http(vec![path.clone()])).await;
        for _ in 0..3 {
            assert_eq!(status(&exchange(running.address, GET_CLOSE).await), 200);
        }
        path.external = Some("does-not-exist.invalid");
        let running = start(&Setup::http(vec![path])).await;
        assert_eq!(status(&exchange(running.address, GET_CLOSE).await), 503);
    });
}
