//! HTTP/2 in, by prior knowledge; and HTTP/2 out.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request, Response};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use crate::common::{OK, PATIENCE, Path, RawBackend, Setup, config, exchange, run, start, status};

/// A well-behaved client.
pub(crate) struct Client {
    send: SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

pub(crate) async fn client(address: SocketAddr) -> Client {
    let socket = TcpStream::connect(address).await.expect("a connection");
    let (send, connection) = h2::client::handshake(socket).await.expect("a handshake");
    Client { send, connection: tokio::spawn(connection) }
}

impl Client {
    pub(crate) async fn get(&mut self, target: &str) -> ResponseFuture {
        let request = Request::get(target).body(()).expect("a request");
        self.send(request, true).await.0
    }

    async fn send(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, h2::SendStream<Bytes>) {
        let mut ready = self.send.clone().ready().await.expect("a connection");
        ready.send_request(request, end).expect("sent")
    }

    /// Waits for the end of the connection.
    pub(crate) async fn ended(self) {
        drop(self.send);
        let _ = timeout(PATIENCE, self.connection).await.expect("the connection must end");
    }
}

async fn body(response: Response<h2::RecvStream>) -> (String, Option<HeaderMap>) {
    let mut stream = response.into_body();
    let mut all = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data.expect("data");
        let _ = stream.flow_control().release_capacity(data.len());
        all.extend_from_slice(&data);
    }
    let trailers = stream.trailers().await.expect("trailers");
    (String::from_utf8_lossy(&all).into_owned(), trailers)
}

/// A backend of HTTP/2 that sends back the body and ends with trailers.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.expect("a handshake");
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(echo_one(request, respond));
                }
            });
        }
    });
    address
}

async fn echo_one(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let te = request.headers().get("te").cloned();
    let mut head = Response::builder().header("x-uri", request.uri().to_string());
    if let Some(te) = te {
        head = head.header("x-te", te);
    }
    let head = head.body(()).expect("a head");
    let mut send = respond.send_response(head, false).expect("sent");
    let mut body = request.into_body();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        send.send_data(data, false).expect("sent");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("a value"));
    send.send_trailers(trailers).expect("sent");
}

#[test]
fn requests_side_by_side_over_http1_backends() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = client(running.address).await;
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(client.get("http://a.example/x?y").await);
        }
        for answer in answers {
            let answer = answer.await.expect("an answer");
            assert_eq!(answer.status(), 200);
            assert_eq!(body(answer).await.0, "ok");
        }
        let request = &backend.seen()[0];
        assert!(request.starts_with("GET /x?y HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("host: a.example\r\n"), "{request}");
    });
}

#[test]
fn cookies_are_joined_and_bodies_coded_anew() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = client(running.address).await;
        let request = Request::post("http://a.example/")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("x_dropped", "1")
            .body(())
            .expect("a request");
        let (answer, mut send) = client.send(request, false).await;
        send.send_data(Bytes::from_static(b"hello"), true).expect("sent");
        assert_eq!(answer.await.expect("an answer").status(), 200);
        let request = &backend.seen()[0];
        assert!(request.contains("cookie: a=1; b=2\r\n"), "{request}");
        assert!(!request.contains("x_dropped"), "{request}");
        assert!(request.contains("transfer-encoding: chunked\r\n"), "{request}");
        assert!(request.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{request}");
    });
}

#[test]
fn streams_and_trailers_go_through_both_ways() {
    run(async {
        let backend = echo().await;
        let running = start(&Setup::http(vec![Path::new("/", backend).http2()])).await;
        let mut client = client(running.address).await;
        let request = Request::post("http://a.example/pkg.Service/Method")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("a request");
        let (answer, mut send) = client.send(request, false).await;
        let answer = timeout(PATIENCE, answer).await.expect("a head before the body ends");
        let answer = answer.expect("an answer");
        assert_eq!(answer.headers()["x-uri"], "http://a.example/pkg.Service/Method");
        assert_eq!(answer.headers()["x-te"], "trailers");
        let mut stream = answer.into_body();
        for message in ["one", "two"] {
            send.send_data(Bytes::from(message), false).expect("sent");
            let data = stream.data().await.expect("an echo").expect("data");
            assert_eq!(data, message);
        }
        send.send_data(Bytes::new(), true).expect("sent");
        assert!(stream.data().await.is_none());
        let trailers = stream.trailers().await.expect("trailers").expect("trailers");
        assert_eq!(trailers["grpc-status"], "0");
    });
}

#[test]
fn a_gateway_that_has_no_route_tells_grpc_clients_so() {
    run(async {
        let backend = echo().await;
        let running = start(&Setup::http(vec![Path::new("/served", backend).http2()])).await;
        let mut client = client(running.address).await;
        let request = Request::post("http://a.example/none")
            .header("content-type", "application/grpc")
            .body(())
            .expect("a request");
        let answer = client.send(request, true).await.0.await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["grpc-status"]),
            (200, &"12".parse().expect("a value"))
        );
    });
}

#[test]
fn http1_clients_of_http2_backends() {
    run(async {
        let backend = echo().await;
        let running = start(&Setup::http(vec![Path::new("/", backend).http2()])).await;
        let request = "POST /a HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\
                       Content-Length: 5\r\n\r\nhello";
        let answer = exchange(running.address, request).await;
        assert_eq!(status(&answer), 200);
        assert!(answer.contains("x-uri: http://a.example/a\r\n"), "{answer}");
        assert!(answer.contains("5\r\nhello\r\n0\r\n"), "{answer}");
    });
}

#[test]
fn a_broken_preface_is_closed_without_a_word() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        for preface in ["INVALID CONNECTION PREFACE\r\n\r\n", "SSH 2.0 client\r\n"] {
            assert_eq!(exchange(running.address, preface).await, "", "{preface}");
        }
    });
}

// ---- frames by hand ----

const HEADERS: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

struct Raw(TcpStream);

impl Raw {
    async fn connect(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("sent");
        socket.write_all(&frame(4, 0, 0, &[])).await.expect("sent");
        Self(socket)
    }

    /// Sends until all is sent or the other side is gone.
    async fn flood(&mut self, bytes: &[u8]) {
        let _ = timeout(PATIENCE, self.0.write_all(bytes)).await.expect("no stall");
    }

    /// Frames until one of `wanted` on `stream`, or the end: kind and payload.
    async fn frame_on(&mut self, stream: u32, wanted: &[u8]) -> Option<(u8, Vec<u8>)> {
        let read = timeout(PATIENCE, async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.ok()?;
                let [a, b, c, kind, _, id @ ..] = head;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                self.0.read_exact(&mut payload).await.ok()?;
                if u32::from_be_bytes(id) == stream && wanted.contains(&kind) {
                    return Some((kind, payload));
                }
            }
        });
        read.await.expect("a frame in time")
    }

    async fn ended(&mut self) {
        let read = timeout(PATIENCE, async {
            let mut bytes = [0; 4096];
            while let Ok(1..) = self.0.read(&mut bytes).await {}
        });
        read.await.expect("the connection must end");
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Literal fields without indexing or Huffman coding.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127, "one byte of length");
            block.push(u8::try_from(text.len()).expect("short"));
            block.extend(text.as_bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":authority", "a.example"), (":path", "/")];

fn get_with(fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&[&GET[..], fields].concat()))
}

/// A head that must be refused: a reset stream, a 4xx, or the end of the connection.
#[track_caller]
fn refused(request: Vec<u8>) {
    run(async move {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut raw = Raw::connect(running.address).await;
        raw.flood(&request).await;
        match raw.frame_on(1, &[HEADERS, 3]).await {
            // `:status` 400 and 404 stand in the static table; others are literals.
            Some((HEADERS, payload)) => {
                let text = String::from_utf8_lossy(&payload);
                assert_ne!(payload.first(), Some(&0x88), "answered with 200");
                assert!(
                    payload[0] == 0x8c || text.contains('4') || payload[0] & 0x40 != 0,
                    "{payload:x?}"
                );
            }
            Some((3, _)) | None => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(backend.seen(), [""; 0]);
    });
}

#[test]
fn heads_that_would_break_http1() {
    refused(get_with(&[("x", "a\r\nx-evil: 1")]));
    refused(get_with(&[("x", "a\nb")]));
    refused(get_with(&[("x\r\ny", "a")]));
    refused(get_with(&[("x y", "a")]));
    refused(get_with(&[("X-Upper", "a")]));
    refused(get_with(&[("x:y", "a")]));
    refused(get_with(&[("connection", "close")]));
    refused(get_with(&[("transfer-encoding", "chunked")]));
    refused(get_with(&[("upgrade", "websocket")]));
    refused(get_with(&[("te", "gzip")]));
    refused(get_with(&[(":path", "/second")]));
    refused(get_with(&[("host", "b.example")]));
    refused(get_with(&[("content-length", "5")]));
    refused(get_with(&[("content-length", "0"), ("content-length", "5")]));
    let with = |place: usize, value| {
        let mut fields = GET;
        fields[place].1 = value;
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))
    };
    refused(with(0, "GET / HTTP/1.1\r\nx: y"));
    refused(with(0, "CONNECT"));
    refused(with(2, "u@a.example"));
    refused(with(2, "a.example\r\nx: y"));
    refused(with(3, "/ HTTP/1.1\r\nx: y"));
    refused(with(3, "/a/../b"));
    refused(with(3, "no-slash"));
    refused(with(3, ""));
    let without = |place: usize| {
        let mut fields = GET.to_vec();
        fields.remove(place);
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))
    };
    (0..4).for_each(|place| refused(without(place)));
}

#[test]
fn a_body_of_another_length_than_announced() {
    let mut request =
        frame(HEADERS, END_HEADERS, 1, &block(&[&GET[..], &[("content-length", "5")]].concat()));
    request.extend(frame(0, END_STREAM, 1, b"much more than five"));
    refused(request);
}

/// A flood that must end its connection while a bystander is served.
#[track_caller]
fn flood(bytes: Vec<u8>) {
    run(async move {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut bystander = client(running.address).await;
        let mut raw = Raw::connect(running.address).await;
        raw.flood(&bytes).await;
        raw.ended().await;
        let answer = bystander.get("http://a.example/").await.await.expect("an answer");
        assert_eq!(answer.status(), 200);
    });
}

#[test]
fn floods_of_control_frames() {
    flood(frame(6, 0, 0, &[0; 8]).repeat(5_000));
    flood(frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(5_000));
    flood(frame(2, 0, 1, &[0, 0, 0, 3, 16]).repeat(5_000));
    flood(frame(8, 0, 0, &[0, 0, 0, 1]).repeat(5_000));
    let mut empty = frame(HEADERS, END_HEADERS, 1, &block(&GET));
    empty.extend(frame(0, 0, 1, &[]).repeat(5_000));
    flood(empty);
}

#[test]
fn rapid_resets() {
    let pair = |stream: u32| {
        let mut pair = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET));
        pair.extend(frame(3, 0, stream, &[0, 0, 0, 8]));
        pair
    };
    flood((0..5_000).flat_map(|n| pair(2 * n + 1)).collect());
}

#[test]
fn resets_that_the_server_is_made_to_send() {
    // A window update of zero is an error of the stream, which the server resets itself.
    let pair = |stream: u32| {
        let mut pair = frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&GET));
        pair.extend(frame(8, 0, stream, &[0; 4]));
        pair
    };
    flood((0..5_000).flat_map(|n| pair(2 * n + 1)).collect());
}

#[test]
fn heads_without_end() {
    let start = frame(HEADERS, END_STREAM, 1, &block(&GET));
    let field = block(&[("x", &"a".repeat(100))]);
    let filled = frame(9, 0, 1, &field.repeat(100)).repeat(200);
    flood([start.clone(), filled].concat());
    flood([start, frame(9, 0, 1, &[]).repeat(5_000)].concat());
}

#[test]
fn large_heads_and_compression_bombs() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        // One entry of 4,000 bytes in the dynamic table, then thousands of references to it.
        let mut bomb = block(&GET);
        bomb.extend([0x40, 1, b'x', 0x7f, 0xa1, 0x1e]);
        bomb.extend([b'a'; 4000]);
        bomb.extend([0xbe; 8_000]);
        let mut raw = Raw::connect(running.address).await;
        raw.flood(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb)).await;
        if let Some((HEADERS, payload)) = raw.frame_on(1, &[HEADERS, 3]).await {
            assert_ne!(payload.first(), Some(&0x88));
        }
        assert_eq!(backend.seen(), [""; 0]);
    });
}

#[test]
fn idle_connections_end() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let mut config = config();
        config.limits.idle_time = Duration::from_millis(200);
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = crate::common::start_with(&setup, &config).await;
        let mut client = client(running.address).await;
        assert_eq!(client.get("http://a.example/").await.await.expect("an answer").status(), 200);
        client.ended().await;
    });
}
