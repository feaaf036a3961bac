//! TCPRoutes.

use std::{io::ErrorKind, net::SocketAddr, sync::Arc, time::Duration};

use gateway_bin::stream::{
    Cause,
    proxy_protocol::{self, Version},
    relay::Way,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::common::{
    Setup, Target, accept, backend, check_cause, hear, invalid, named, refusing, route, soon, to,
    weighted,
};

const WAYS: [Way; 2] = [Way::Copy, Way::Splice];

fn setup(way: Way, endpoint: SocketAddr) -> Setup {
    let mut setup = Setup::tcp(&[to(endpoint)]);
    setup.options.way = way;
    setup
}

async fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    soon(socket.read_to_end(&mut bytes)).await.expect("a clean end");
    bytes
}

#[tokio::test]
async fn a_client_that_has_said_all_still_gets_its_answer() {
    for way in WAYS {
        let (listener, address) = backend().await;
        let mut front = setup(way, address).start().front().await;
        let mut client = front.connect().await;
        let mut server = accept(&listener).await;
        client.write_all(b"question").await.expect("a connection");
        client.shutdown().await.expect("a connection");
        assert_eq!(read_all(&mut server).await, b"question");
        // Only now, long after the client's FIN.
        server.write_all(b"answer").await.expect("the other direction lives");
        drop(server);
        assert_eq!(read_all(&mut client).await, b"answer");
        let ended = front.ended().await;
        check_cause(&ended, Cause::Finished);
        assert_eq!((ended.relayed.to_backend, ended.relayed.to_client), (8, 6));
        assert_eq!(ended.endpoint, Some(address));
    }
}

#[tokio::test]
async fn a_backend_that_has_said_all_still_hears_the_client() {
    for way in WAYS {
        let (listener, address) = backend().await;
        let mut front = setup(way, address).start().front().await;
        let mut client = front.connect().await;
        let mut server = accept(&listener).await;
        server.write_all(b"greeting").await.expect("a connection");
        server.shutdown().await.expect("a connection");
        assert_eq!(read_all(&mut client).await, b"greeting");
        client.write_all(b"and more").await.expect("the other direction lives");
        drop(client);
        assert_eq!(read_all(&mut server).await, b"and more");
        check_cause(&front.ended().await, Cause::Finished);
    }
}

#[tokio::test]
async fn ten_megabytes_both_ways_at_once() {
    for way in WAYS {
        let (listener, address) = backend().await;
        let world = setup(way, address).start();
        let mut front = world.front().await;
        let client = front.connect().await;
        let server = accept(&listener).await;
        let bytes = |seed: u32| -> Arc<[u8]> {
            let byte = |n: u32| (n.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as u8;
            (0..10 * 1024 * 1024).map(byte).collect()
        };
        let (up, down) = (bytes(1), bytes(2));
        let exchange = |socket: TcpStream, send: Arc<[u8]>| async move {
            let (mut read, mut write) = socket.into_split();
            let sending = tokio::spawn(async move {
                write.write_all(&send).await.expect("a connection");
                write.shutdown().await.expect("a connection");
            });
            let mut heard = Vec::new();
            soon(read.read_to_end(&mut heard)).await.expect("a clean end");
            sending.await.expect("all is sent");
            heard
        };
        let (at_client, at_server) =
            tokio::join!(exchange(client, Arc::clone(&up)), exchange(server, Arc::clone(&down)));
        assert!(*at_server == *up && *at_client == *down, "bytes differ");
        let ended = front.ended().await;
        check_cause(&ended, Cause::Finished);
        let expect = (up.len() as u64, down.len() as u64);
        assert_eq!((ended.relayed.to_backend, ended.relayed.to_client), expect);
        let totals = world.streams.traffic().totals();
        assert_eq!((totals.to_backend, totals.to_client), expect);
    }
}

#[tokio::test]
async fn connections_without_backend_are_refused() {
    let cases: [(&[Target], Cause); 5] = [
        (&[], Cause::NoBackend),
        (&[weighted(0, named("never").await)], Cause::NoBackend),
        (&[invalid(1)], Cause::InvalidBackend),
        (&[Target { endpoints: Some(vec![]), ..invalid(1) }], Cause::NoEndpoint),
        (&[to(refusing().await)], Cause::UpstreamConnect),
    ];
    for (targets, cause) in cases {
        let mut front = Setup::tcp(targets).start().front().await;
        assert_eq!(hear(front.connect().await).await, None, "{cause:?}");
        check_cause(&front.ended().await, cause);
    }
    let mut nothing = Setup::tcp(&[]);
    nothing.routes.clear();
    let mut front = nothing.start().front().await;
    assert_eq!(hear(front.connect().await).await, None);
    check_cause(&front.ended().await, Cause::NoRoute);
}

#[tokio::test]
async fn another_endpoint_is_tried_when_one_refuses() {
    let endpoints = vec![refusing().await, named("b").await, refusing().await];
    let target = Target { weight: 1, endpoints: Some(endpoints), tls: None };
    let front = Setup::tcp(&[target]).start().front().await;
    for _ in 0..10 {
        assert_eq!(hear(front.connect().await).await.as_deref(), Some(&b"b"[..]));
    }
}

#[tokio::test]
async fn weights_are_exact_over_connections() {
    let targets = [
        weighted(60, named("a").await),
        weighted(30, named("b").await),
        weighted(0, named("c").await),
        invalid(10),
    ];
    let front = Setup::tcp(&targets).start().front().await;
    let mut counts = [0; 3];
    for _ in 0..20 {
        let heard = hear(front.connect().await).await;
        let place = match heard.as_deref() {
            Some(b"a") => 0,
            Some(b"b") => 1,
            None => 2,
            Some(other) => panic!("{other:?}"),
        };
        counts[place] += 1;
    }
    assert_eq!(counts, [12, 6, 2]);
}

#[tokio::test]
async fn of_several_routes_the_oldest_serves() {
    let young = route("", &[to(named("young").await)]);
    let mut old = route("", &[to(named("old").await)]);
    (old.name, old.created) = ("another", 0);
    let setup = |routes| Setup { routes, ..Setup::tcp(&[]) };
    let world = setup(vec![young.clone(), old]).start();
    let front = world.front().await;
    assert_eq!(hear(front.connect().await).await.as_deref(), Some(&b"old"[..]));
    world.follow(&setup(vec![young]));
    assert_eq!(hear(front.connect().await).await.as_deref(), Some(&b"young"[..]));
}

#[tokio::test]
async fn a_reset_is_passed_on_as_one() {
    for way in WAYS {
        let (listener, address) = backend().await;
        let mut front = setup(way, address).start().front().await;
        let mut client = front.connect().await;
        let mut server = accept(&listener).await;
        server.write_all(b"half an ans").await.expect("a connection");
        let mut heard = [0; 11];
        soon(client.read_exact(&mut heard)).await.expect("a connection");
        server.set_zero_linger().expect("a socket");
        drop(server);
        let error = soon(client.read(&mut heard)).await.expect_err("no clean end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        check_cause(&front.ended().await, Cause::BackendBroke);

        let client = front.connect().await;
        let mut server = accept(&listener).await;
        client.set_zero_linger().expect("a socket");
        drop(client);
        let error = soon(server.read(&mut heard)).await.expect_err("no clean end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        check_cause(&front.ended().await, Cause::ClientBroke);
    }
}

#[tokio::test]
async fn idle_connections_end_with_a_reset() {
    let (listener, address) = backend().await;
    let mut front = setup(Way::default(), address).start().front().await;
    let mut client = front.connect().await;
    let mut server = accept(&listener).await;
    client.write_all(b"x").await.expect("a connection");
    let mut heard = [0];
    soon(server.read_exact(&mut heard)).await.expect("a connection");
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let ended = front.ends.recv().await.expect("the front goes on");
    check_cause(&ended, Cause::Idle);
    assert!(begun.elapsed() >= Duration::from_secs(3590), "{:?}", begun.elapsed());
    for socket in [&mut client, &mut server] {
        let error = socket.read(&mut heard).await.expect_err("no clean end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn connections_end_when_they_are_told_to() {
    let (listener, address) = backend().await;
    let closing = Arc::new(Notify::new());
    let told = Arc::clone(&closing);
    let until = move || {
        let told = Arc::clone(&told);
        async move { told.notified().await }
    };
    let mut front = setup(Way::default(), address).start().front_until(until).await;
    let mut client = front.connect().await;
    let mut server = accept(&listener).await;
    client.write_all(b"x").await.expect("a connection");
    let mut heard = [0];
    soon(server.read_exact(&mut heard)).await.expect("a connection");
    closing.notify_one();
    let error = soon(client.read(&mut heard)).await.expect_err("no clean end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let ended = front.ended().await;
    check_cause(&ended, Cause::Closed);
    assert_eq!(ended.relayed.to_backend, 1);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_question_arrives() {
    for way in WAYS {
        let (listener, address) = backend().await;
        let mut front = setup(way, address).start().front().await;
        let (mut read, mut write) = front.connect().await.into_split();
        let mut server = accept(&listener).await;
        // Far more than all buffers hold: the client is still sending when the backend has left.
        let sending = tokio::spawn(async move {
            let part = vec![7; 64 * 1024];
            while write.write_all(&part).await.is_ok() {}
        });
        let mut heard = [0; 1024];
        soon(server.read_exact(&mut heard)).await.expect("a connection");
        server.write_all(b"too long").await.expect("a connection");
        server.shutdown().await.expect("a connection");
        let mut heard = [0; 8];
        soon(read.read_exact(&mut heard)).await.expect("the answer");
        assert_eq!(&heard, b"too long");
        assert_eq!(soon(read.read(&mut heard)).await.expect("a clean end"), 0);
        drop(server);
        check_cause(&front.ended().await, Cause::BackendBroke);
        soon(sending).await.expect("the client ends");
    }
}

#[tokio::test]
async fn backends_are_told_who_connects() {
    for version in [Version::V1, Version::V2] {
        let (listener, address) = backend().await;
        let mut setup = setup(Way::default(), address);
        setup.proxy_protocol = Some(version);
        let front = setup.start().front().await;
        let mut client = front.connect().await;
        let source = client.local_addr().expect("an address");
        client.write_all(b"hello").await.expect("a connection");
        client.shutdown().await.expect("a connection");
        let heard = read_all(&mut accept(&listener).await).await;
        let header = proxy_protocol::parse(&heard).expect("a header").expect("a whole header");
        let proxied = header.proxied.expect("addresses");
        assert_eq!((proxied.source, proxied.destination), (source, front.address));
        assert_eq!(&heard[header.length..], b"hello");
    }
}
