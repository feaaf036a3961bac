//! What waits between a fast sender and a slow reader.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    time::Duration,
};

use gateway_bin::stream::relay::{Outcome, Relay, Way};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::common::soon;

const BYTES: usize = 16 * 1024 * 1024;
/// Of sockets; Linux doubles it.
const SMALL: u32 = 64 * 1024;
/// Four socket buffers as Linux counts them, a pipe and a buffer of the relay.
const ON_THE_WAY: usize = 4 * 2 * SMALL as usize * 2 + 256 * 1024 + 32 * 1024;

async fn pair() -> (TcpStream, TcpStream) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(SMALL).expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(SMALL).expect("a socket");
    let (near, far) = tokio::join!(socket.connect(address), listener.accept());
    let (near, (far, _)) = (near.expect("a connection"), far.expect("a connection"));
    for socket in [&near, &far] {
        SockRef::from(socket).set_send_buffer_size(SMALL as usize).expect("a socket");
    }
    (near, far)
}

/// A sender that never waits by itself, and a reader that takes little at a time.
async fn check_bounded(way: Way) {
    let ((mut client, mut near), (mut far, mut server)) = (pair().await, pair().await);
    let (sent, received) = (Cell::new(0), Cell::new(0));
    let sending = async {
        let part = [7; 8192];
        while sent.get() < BYTES {
            sent.set(sent.get() + client.write(&part).await.expect("a connection"));
        }
        client.shutdown().await.expect("a connection");
    };
    let reading = async {
        let mut part = [0; 4096];
        loop {
            let read = server.read(&mut part).await.expect("a clean end");
            received.set(received.get() + read);
            let on_the_way = sent.get() - received.get();
            assert!(on_the_way <= ON_THE_WAY, "{on_the_way} bytes wait");
            if read == 0 {
                server.shutdown().await.expect("a connection");
                return;
            }
            // The sender and the relay get ahead as far as they can.
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    };
    let mut most_held = 0;
    let mut relay = Relay::new(&mut near, &mut far, Vec::new(), way, Duration::from_secs(3600));
    let relaying = poll_fn(|cx| {
        let polled = Pin::new(&mut relay).poll(cx);
        most_held = most_held.max(relay.held());
        polled
    });
    let ((), (), outcome) = soon(async { tokio::join!(sending, reading, relaying) }).await;
    assert_eq!(outcome, Outcome::Finished);
    assert_eq!(received.get(), sent.get());
    assert!(most_held <= 32 * 1024, "{most_held} bytes were held");
}

#[tokio::test]
async fn little_waits_for_a_slow_reader() {
    check_bounded(Way::Copy).await;
    check_bounded(Way::Splice).await;
}
