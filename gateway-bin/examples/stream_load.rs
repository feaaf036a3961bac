//! Load for what lies below HTTP; `benches/l4/run.py` runs it beside several proxies.
//!
//! `stream_load handshakes ADDRESS NAME CA SECONDS full|resumed 1.2|1.3`: TLS handshakes, eight at a
//! time. `stream_load bulk BACKEND ADDRESS BYTES [NAME]`: one connection, with the backend played here,
//! that begins with a ClientHello for the name if there is one.
//! `stream_load udp BACKEND ADDRESS SECONDS BYTES`: datagrams there and back, 32 clients with four
//! each on the way. Each prints one line of JSON.

#![expect(clippy::print_stdout, reason = "the figures are its output")]

use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore,
    client::Resumption,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const THREADS: usize = 8;
const UDP_CLIENTS: usize = 32;
const UDP_ON_THE_WAY: usize = 4;

fn main() -> Outcome<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["handshakes", address, name, ca, seconds, kind, version] => {
            let config = client(ca, kind == "resumed", version)?;
            let end = Instant::now() + Duration::from_secs_f64(seconds.parse()?);
            handshakes(address.parse()?, name, &config, end)
        }
        ["bulk", backend, address, bytes] => {
            bulk(backend.parse()?, address.parse()?, &[], bytes.parse()?)
        }
        ["bulk", backend, address, bytes, name] => {
            bulk(backend.parse()?, address.parse()?, &hello(name)?, bytes.parse()?)
        }
        ["udp", backend, address, seconds, bytes] => {
            let time = Duration::from_secs_f64(seconds.parse()?);
            udp(backend.parse()?, address.parse()?, time, bytes.parse()?)
        }
        _ => Err("see the head of examples/stream_load.rs".into()),
    }
}

fn client(ca: &str, resumes: bool, version: &str) -> Outcome<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let version = if version == "1.2" { &TLS12 } else { &TLS13 };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !resumes {
        config.resumption = Resumption::disabled();
    }
    Ok(Arc::new(config))
}

fn handshakes(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
    end: Instant,
) -> Outcome<()> {
    let begun = Instant::now();
    let count = || -> Outcome<(u64, u64)> {
        let (mut all, mut resumed) = (0, 0);
        while Instant::now() < end {
            all += 1;
            resumed += u64::from(handshake(address, name, config)? == HandshakeKind::Resumed);
        }
        Ok((all, resumed))
    };
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        joined.collect::<Outcome<Vec<_>>>()
    })?;
    let all: u64 = counts.iter().map(|(all, _)| all).sum();
    let resumed: u64 = counts.iter().map(|(_, resumed)| resumed).sum();
    let seconds = begun.elapsed().as_secs_f64();
    println!(r#"{{"count": {all}, "resumed": {resumed}, "seconds": {seconds:.3}}}"#);
    Ok(())
}

fn handshake(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> Outcome<HandshakeKind> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned())?;
    let mut session = ClientConnection::new(Arc::clone(config), name)?;
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    let kind = session.handshake_kind().ok_or("no handshake")?;
    // The ticket of TLS 1.3 comes after the handshake; without it nothing could be resumed.
    let is_tls13 = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
    while is_tls13 && session.tls13_tickets_received() == 0 {
        if session.read_tls(&mut socket)? == 0 {
            return Err("the connection ended without a ticket".into());
        }
        session.process_new_packets()?;
    }
    session.send_close_notify();
    session.write_tls(&mut socket)?;
    Ok(kind)
}

/// What a TLS client of this name says first.
fn hello(name: &str) -> Outcome<Vec<u8>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned())?;
    let mut hello = Vec::new();
    ClientConnection::new(Arc::new(config), name)?.write_tls(&mut hello)?;
    Ok(hello)
}

fn bulk(backend: SocketAddr, address: SocketAddr, first: &[u8], bytes: usize) -> Outcome<()> {
    let listener = TcpListener::bind(backend)?;
    let receiving = thread::spawn(move || -> Outcome<usize> {
        let (mut socket, _) = listener.accept()?;
        let (mut buffer, mut received) = (vec![0; 256 * 1024], 0);
        loop {
            match socket.read(&mut buffer)? {
                0 => return Ok(received),
                read => received += read,
            }
        }
    });
    let begun = Instant::now();
    let mut socket = TcpStream::connect(address)?;
    socket.write_all(first)?;
    let part = vec![7; 256 * 1024];
    let mut left = bytes;
    while left > 0 {
        left -= socket.write(&part[..left.min(part.len())])?;
    }
    socket.shutdown(std::net::Shutdown::Write)?;
    let received = receiving.join().expect("no panic")?;
    if received != first.len() + bytes {
        return Err(format!("{received} of {bytes} bytes have come").into());
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!(r#"{{"bytes": {bytes}, "seconds": {seconds:.3}}}"#);
    Ok(())
}

fn udp(backend: SocketAddr, address: SocketAddr, time: Duration, bytes: usize) -> Outcome<()> {
    let server = UdpSocket::bind(backend)?;
    thread::spawn(move || -> Outcome<()> {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, client) = server.recv_from(&mut buffer)?;
            server.send_to(&buffer[..length], client)?;
        }
    });
    let begun = Instant::now();
    let converse = || -> Outcome<(u64, u64)> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(Duration::from_millis(200)))?;
        let (datagram, mut buffer) = (vec![7; bytes], vec![0; bytes]);
        let (mut answered, mut lost) = (0, 0);
        for _ in 0..UDP_ON_THE_WAY {
            socket.send(&datagram)?;
        }
        while begun.elapsed() < time {
            match socket.recv(&mut buffer) {
                Ok(_) => {
                    answered += 1;
                    socket.send(&datagram)?;
                }
                // All that were on the way are gone.
                Err(_) => {
                    lost += UDP_ON_THE_WAY as u64;
                    for _ in 0..UDP_ON_THE_WAY {
                        socket.send(&datagram)?;
                    }
                }
            }
        }
        Ok((answered, lost))
    };
    let counts = thread::scope(|scope| {
        let threads: Vec<_> = (0..UDP_CLIENTS).map(|_| scope.spawn(converse)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        joined.collect::<Outcome<Vec<_>>>()
    })?;
    let answered: u64 = counts.iter().map(|(answered, _)| answered).sum();
    let lost: u64 = counts.iter().map(|(_, lost)| lost).sum();
    let seconds = begun.elapsed().as_secs_f64();
    println!(r#"{{"count": {answered}, "lost": {lost}, "seconds": {seconds:.3}}}"#);
    Ok(())
}
