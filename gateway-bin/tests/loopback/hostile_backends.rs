//! Backends that answer badly: a 502 or an abort, never a clean end, never another client's bytes.

use std::sync::atomic::Ordering;

use crate::common::{Path, RawBackend, RawClient, Reply, Setup, exchange, run, start, status};

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";

#[track_caller]
fn check(answer: impl Into<Vec<u8>>, expect: u16) {
    let answer = answer.into();
    run(async move {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(200)]).into_owned();
        let backend = RawBackend::new(move |_| Reply::Close(answer.clone())).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let got = exchange(running.address, GET).await;
        assert_eq!(status(&got), expect, "{shown:?} became {got:?}");
    });
}

#[test]
fn answers_of_doubtful_end() {
    check(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        502,
    );
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", 502);
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 502);
    check("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok", 502);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 502);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: cow\r\n\r\n0\r\n\r\n", 502);
    check("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502);
    // Without a length the end of the connection ends the body, which is a clean end.
    check("HTTP/1.1 200 OK\r\n\r\nok", 200);
}

#[test]
fn answers_that_are_none() {
    check("", 502);
    check("hello", 502);
    check("<html>HTTP/0.9</html>", 502);
    check("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", 502);
    check("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 502);
    check("HTTP/1.1 99999 OK\r\n\r\n", 502);
    check("HTTP/1.1 200 OK\r\n", 502);
    check(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        502,
    );
    check("HTTP/1.1 101 Switching Protocols\r\n\r\n", 502);
    check(format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "a".repeat(100_000)), 502);
    check(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(2_000)), 502);
}

#[test]
fn interim_answers_without_end() {
    let mut flood = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(10_000);
    flood.push_str("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    run(async move {
        let backend = RawBackend::new(move |_| Reply::Close(flood.clone().into_bytes())).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let got = exchange(running.address, GET).await;
        assert!(got.matches("HTTP/1.1 103").count() <= 32, "{}", got.len());
        assert!(got.contains("HTTP/1.1 502"), "{}", got.len());
    });
}

#[test]
fn fields_of_the_backends_hop_are_gone() {
    run(async {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive, X-Internal\r\n\
                      X-Internal: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n\
                      Upgrade: h2c\r\nX-Kept: 1\r\n\r\nok";
        let backend = RawBackend::answering(answer).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let got = exchange(running.address, GET).await.to_ascii_lowercase();
        for absent in ["x-internal", "keep-alive", "proxy-connection", "upgrade"] {
            assert!(!got.contains(absent), "{absent} in {got}");
        }
        assert!(got.contains("x-kept: 1\r\n"), "{got}");
    });
}

#[test]
fn a_truncated_answer_has_no_clean_end() {
    run(async {
        let backend = RawBackend::new(|request| {
            Reply::Close(match request.contains("/chunked") {
                true => {
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".to_vec()
                }
                false => b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_vec(),
            })
        })
        .await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        for path in ["/chunked", "/length"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let got = exchange(running.address, request).await;
            assert!(got.contains("hello"), "{got}");
            assert!(!got.ends_with("0\r\n\r\n"), "{got}");
        }
    });
}

#[test]
fn bytes_behind_an_answer_reach_nobody() {
    run(async {
        let extra = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\
                     HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        let backend = RawBackend::answering(extra).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        for _ in 0..5 {
            let mut client = RawClient::connect(running.address).await;
            client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
            let got = client.answer().await.expect("an answer");
            assert_eq!(status(&got), 200);
            assert!(!got.contains("evil"), "{got}");
        }
        // Each connection with surplus bytes was given up.
        assert_eq!(backend.connections.load(Ordering::SeqCst), 5);
    });
}
