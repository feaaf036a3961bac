//! PROXY headers from proxies in front.

use std::{io, net::SocketAddr, time::Duration};

use gateway_bin::stream::Client;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::common::{accept, backend, soon};

const LIMIT: Duration = Duration::from_secs(10);

async fn client() -> (TcpStream, Client) {
    let (listener, address) = backend().await;
    let socket = TcpStream::connect(address).await.expect("a listener");
    let accepted = accept(&listener).await;
    let peer = accepted.peer_addr().expect("a connection");
    let client = Client::new(accepted, peer);
    (socket, client)
}

#[tokio::test]
async fn the_header_tells_the_addresses_and_the_rest_stays() {
    let (mut socket, mut client) = client().await;
    socket.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.1 5 443\r\nhello").await.expect("a peer");
    socket.shutdown().await.expect("a peer");
    soon(client.read_proxy_header(LIMIT)).await.expect("a header");
    let expect = |text: &str| text.parse::<SocketAddr>().expect("an address");
    assert_eq!(client.addresses().source, expect("192.0.2.1:5"));
    assert_eq!(client.addresses().destination, expect("198.51.100.1:443"));
    let mut rest = String::new();
    soon(client.read_to_string(&mut rest)).await.expect("a clean end");
    assert_eq!(rest, "hello");
}

#[track_caller]
fn check_refused(read: io::Result<()>, expect: io::ErrorKind) {
    assert_eq!(read.expect_err("no header").kind(), expect);
}

#[tokio::test]
async fn whoever_tells_nothing_is_refused() {
    let (mut socket, mut refused) = client().await;
    socket.write_all(b"GET / HTTP/1.1\r\n").await.expect("a peer");
    check_refused(soon(refused.read_proxy_header(LIMIT)).await, io::ErrorKind::InvalidData);

    let (mut socket, mut refused) = client().await;
    socket.write_all(b"PROXY TCP4 192.0.2.1").await.expect("a peer");
    socket.shutdown().await.expect("a peer");
    check_refused(soon(refused.read_proxy_header(LIMIT)).await, io::ErrorKind::UnexpectedEof);

    let (_silent, mut refused) = client().await;
    tokio::time::pause();
    check_refused(refused.read_proxy_header(LIMIT).await, io::ErrorKind::TimedOut);
}
