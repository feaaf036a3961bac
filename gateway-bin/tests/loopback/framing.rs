//! Requests that two parsers could read in two ways never reach a backend.

use crate::common::{
    OK, Path, RawBackend, RawClient, Setup, exchange, run, start, start_with, status,
};

/// Sends `request` followed by what an attacker would smuggle, and expects a refusal that closes
/// the connection with nothing seen by the backend.
#[track_caller]
fn refused(request: &str, expect: u16) {
    let request = request.to_owned();
    run(async move {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let answer = exchange(running.address, format!("{request}{smuggled}")).await;
        assert_eq!(status(&answer), expect, "{request:?} got {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?} got {answer:?}");
        assert_eq!(backend.seen(), [""; 0], "{request:?}");
    });
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n{body}")
}

#[test]
fn contradicting_lengths() {
    let (length, coded) = ("Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n");
    refused(&post(&[length, coded].concat(), "0\r\n\r\n"), 400);
    refused(&post(&[coded, length].concat(), "0\r\n\r\n"), 400);
    refused(
        &post(&["content-length: 5\r\n", "TRANSFER-ENCODING: chunked\r\n"].concat(), "0\r\n\r\n"),
        400,
    );
    refused(&post(&[length, length].concat(), "hello"), 400);
    refused(&post(&[length, "Content-Length: 6\r\n"].concat(), "hello"), 400);
    refused(&post("Content-Length: 5, 5\r\n", "hello"), 400);
    refused(&post("Content-Length: +5\r\n", "hello"), 400);
    refused(&post("Content-Length: -1\r\n", ""), 400);
    refused(&post("Content-Length: 0x5\r\n", "hello"), 400);
    refused(&post("Content-Length: 99999999999999999999\r\n", ""), 400);
}

#[test]
fn doubtful_transfer_codings() {
    for coding in [
        "chunked, chunked",
        "cow, chunked",
        ",chunked",
        "gzip",
        "identity",
        "chunked, identity",
        "\"chunked\"",
        "xchunked",
    ] {
        refused(&post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"), 400);
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n";
    refused(&post(twice, "0\r\n\r\n"), 400);
    refused(&post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"), 400);
    refused(&post("Transfer-Encoding:\u{b}chunked\r\n", "0\r\n\r\n"), 400);
    refused(
        "POST /a HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    );
}

#[test]
fn doubtful_lines() {
    refused("GET /a HTTP/1.1\nHost: a.example\n\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a.example\nX: y\r\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a.example\r\nX: y\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a.example\r\nX: a\r\n b\r\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\n Host: a.example\r\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a.example\r\nX: a\rb\r\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a.example\r\nX: a\0b\r\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a.example\r\nX Y: a\r\n\r\n", 400);
    refused("GET /a HTTP/1.1\r\nHost: a.example\r\nno colon\r\n\r\n", 400);
    refused("GET /a\r\n\r\n", 400);
    refused("GET  /a HTTP/1.1\r\nHost: a.example\r\n\r\n", 400);
    refused("GET /a HTTP/3.7\r\nHost: a.example\r\n\r\n", 400);
    refused("GET /a HTTP/1.1 x\r\nHost: a.example\r\n\r\n", 400);
}

/// A body that breaks its own framing: the head may be forwarded, nothing behind it may.
#[track_caller]
fn broken_body(body: &str) {
    let request = post("Transfer-Encoding: chunked\r\n", body);
    run(async move {
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        // What is only incomplete ends by the clock.
        let running = start_with(&setup, &crate::limits::hasty()).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(format!("{request}GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
        let answer = client.rest().await;
        assert_ne!(status(&answer), 200, "{request:?} got {answer:?}");
        assert_eq!(backend.seen(), [""; 0], "{request:?}");
    });
}

#[test]
fn broken_chunks() {
    for body in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5;x\ny\r\nhello\r\n0\r\n\r\n",
        "0\r\nbroken trailer\r\n\r\n",
    ] {
        broken_body(body);
    }
}

#[test]
fn good_bodies_are_forwarded_and_pipelined_requests_answered_in_order() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        let first =
            post("Transfer-Encoding: chunked\r\n", "5;ext=1\r\nhello\r\n0\r\nX-T: 1\r\n\r\n");
        let second = post("Content-Length: 5\r\n", "hello");
        client.send(format!("{first}{second}GET /third HTTP/1.1\r\nHost: b.example\r\n\r\n")).await;
        for _ in 0..3 {
            assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        }
        let seen = backend.seen();
        assert!(seen[0].ends_with("5\r\nhello\r\n0\r\n\r\n"), "{}", seen[0]);
        assert!(seen[1].ends_with("\r\n\r\nhello"), "{}", seen[1]);
        assert!(seen[2].starts_with("GET /third "), "{}", seen[2]);
    });
}

#[test]
fn a_body_left_unread_does_not_become_a_request() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/served", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        // No route: the answer comes before the body was read.
        client.send("POST /none HTTP/1.1\r\nHost: a.example\r\nContent-Length: 60\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 404);
        // The connection may have been closed, which is as good.
        let _ = client
            .try_send("GET /served HTTP/1.1\r\nHost: a.example\r\nX: 0123456789abc\r\n\r\n")
            .await;
        let _ = client
            .try_send("GET /served HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
            .await;
        client.rest().await;
        assert!(backend.seen().len() <= 1, "{:?}", backend.seen());
    });
}

#[test]
fn trailers_end_where_the_gateway_says() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        // A bare line feed among trailers: whatever it is taken for, no request comes of it.
        let body = "0\r\nX: y\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";
        client.send(post("Transfer-Encoding: chunked\r\n", body)).await;
        client.answer().await.expect("an answer");
        client.send("GET /next HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n").await;
        client.rest().await;
        let seen = backend.seen();
        assert!(seen.iter().all(|request| !request.starts_with("GET /smuggled")), "{seen:?}");
    });
}
