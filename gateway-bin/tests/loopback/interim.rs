//! Answers before the answer, and bodies that wait for leave.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::common::{Path, RawBackend, RawClient, Setup, run, start, status};

#[test]
fn early_hints_are_passed_on_in_front_of_the_answer() {
    run(async {
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n\
                     HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        let backend = RawBackend::answering(hints).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        for _ in 0..3 {
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
            let mut answer = client.answer().await.expect("an answer");
            // Hints that come together with the answer may be too late to be passed on.
            if status(&answer) == 103 {
                assert!(answer.contains("link: </style.css>; rel=preload\r\n"), "{answer}");
                answer = client.answer().await.expect("an answer");
            }
            assert!(status(&answer) == 200 && answer.ends_with("ok"), "{answer}");
        }
    });
}

#[test]
fn hints_that_come_early_do_arrive() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 16];
            socket.read_exact(&mut head).await.expect("a head");
            let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
            socket.write_all(hints).await.expect("sent");
            wait.await.expect("the client has seen them");
            socket.write_all(crate::common::OK.as_bytes()).await.expect("sent");
            let _ = socket.read(&mut head).await;
        });
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        let hints = client.answer().await.expect("hints");
        assert_eq!(hints, "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
        go.send(()).expect("the backend waits");
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
    });
}

/// A backend that reads a head, sends `first`, and answers once `body` bytes came.
async fn backend(first: &'static str, body: usize, then: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"\r\n\r\n") {
                assert!(socket.read_buf(&mut bytes).await.expect("a head") > 0);
            }
            socket.write_all(first.as_bytes()).await.expect("sent");
            let mut got = vec![0; body];
            if socket.read_exact(&mut got).await.is_ok() {
                socket.write_all(then.as_bytes()).await.expect("sent");
            }
            while let Ok(1..) = socket.read(&mut [0; 64]).await {}
        }
    });
    address
}

const EXPECT: &str =
    "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";

#[test]
fn the_backend_gives_leave_for_the_body() {
    run(async {
        let address = backend("HTTP/1.1 100 Continue\r\n\r\n", 5, crate::common::OK).await;
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(EXPECT).await;
        assert_eq!(status(&client.answer().await.expect("leave")), 100);
        client.send("hello").await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
    });
}

#[test]
fn the_backend_gives_no_leave() {
    run(async {
        let refusal = "HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let address = backend(refusal, 1, "").await;
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(EXPECT).await;
        let answer = client.rest().await;
        assert_eq!(status(&answer), 417, "{answer}");
        assert!(!answer.contains("100 Continue"), "{answer}");
    });
}

#[test]
fn a_backend_that_says_nothing_is_sent_the_body_in_the_end() {
    run(async {
        let address = backend("", 5, crate::common::OK).await;
        let running = start(&Setup::http(vec![Path::new("/", address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(EXPECT).await;
        assert_eq!(status(&client.answer().await.expect("leave")), 100);
        client.send("hello").await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
    });
}
