//! What a byte costs on its way through a relay: `cargo run --release --example stream_throughput`.
//!
//! A sender and a receiver on threads of their own, and between them a relay on one thread. Told are
//! the throughput and the processor time of the relay's thread for each GiB.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use gateway_bin::stream::relay::{Relay, Way};
use tokio::io::copy_bidirectional;

const BULK: usize = 4 << 30;
const MESSAGES: usize = 100_000;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Tokio,
    Copy,
    Splice,
}

fn main() {
    for round in 0..3 {
        for kind in [Kind::Tokio, Kind::Copy, Kind::Splice] {
            let (time, cpu) = run(kind, bulk);
            let gib = (BULK >> 30) as f64;
            println!(
                "{round} bulk {kind:?}: {:.2} GiB/s, {:.0} ms of relay CPU for each GiB",
                gib / time.as_secs_f64(),
                cpu.as_secs_f64() * 1000.0 / gib,
            );
            let (time, cpu) = run(kind, ping_pong);
            println!(
                "{round} 1 KiB messages {kind:?}: {:.0}/s, {:.2} us of relay CPU for each",
                MESSAGES as f64 / time.as_secs_f64(),
                cpu.as_secs_f64() * 1e6 / MESSAGES as f64,
            );
        }
    }
}

fn run(kind: Kind, load: fn(TcpStream, TcpStream)) -> (Duration, Duration) {
    let (client, near) = pair();
    let (far, server) = pair();
    let relay = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(relay(kind, near, far));
        cpu_time()
    });
    let start = Instant::now();
    load(client, server);
    let time = start.elapsed();
    (time, relay.join().expect("the relay lives"))
}

async fn relay(kind: Kind, near: TcpStream, far: TcpStream) {
    let wrap = |socket: TcpStream| {
        socket.set_nonblocking(true).expect("a socket");
        tokio::net::TcpStream::from_std(socket).expect("a socket")
    };
    let (mut near, mut far) = (wrap(near), wrap(far));
    let way = match kind {
        Kind::Tokio => {
            copy_bidirectional(&mut near, &mut far).await.expect("both ends live");
            return;
        }
        Kind::Copy => Way::Copy,
        Kind::Splice => Way::Splice,
    };
    Relay::new(&mut near, &mut far, Vec::new(), way, Duration::from_secs(60)).await;
}

fn bulk(mut client: TcpStream, mut server: TcpStream) {
    let receiver = thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while server.read(&mut buffer).expect("the relay lives") > 0 {}
    });
    let buffer = vec![7; 256 * 1024];
    for _ in 0..BULK / buffer.len() {
        client.write_all(&buffer).expect("the relay lives");
    }
    drop(client);
    receiver.join().expect("the receiver lives");
}

fn ping_pong(mut client: TcpStream, mut server: TcpStream) {
    let echo = thread::spawn(move || {
        let mut buffer = [0; 1024];
        while server.read_exact(&mut buffer).is_ok() {
            server.write_all(&buffer).expect("the relay lives");
        }
    });
    let mut buffer = [7; 1024];
    for _ in 0..MESSAGES {
        client.write_all(&buffer).expect("the relay lives");
        client.read_exact(&mut buffer).expect("the relay lives");
    }
    drop(client);
    echo.join().expect("the echo lives");
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a listener");
    let (far, _) = listener.accept().expect("a connection");
    near.set_nodelay(true).expect("a socket");
    far.set_nodelay(true).expect("a socket");
    (near, far)
}

/// Processor time of the calling thread.
fn cpu_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = told.split(' ').next().and_then(|number| number.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}
