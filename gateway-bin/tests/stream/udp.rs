//! UDPRoutes.

use std::{
    future::{Future, pending},
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use gateway_bin::stream::{Totals, UdpPort};
use tokio::{net::UdpSocket, task::yield_now};

use crate::common::{Setup, Target, World, invalid, route, soon, to, weighted};

async fn socket() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").await.expect("a port")
}

/// A backend that answers each datagram with its name and the datagram.
async fn echo(name: &'static str) -> SocketAddr {
    let socket = socket().await;
    let address = socket.local_addr().expect("an address");
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.expect("a socket");
            let answer = [name.as_bytes(), &buffer[..length]].concat();
            socket.send_to(&answer, client).await.expect("a socket");
        }
    });
    address
}

struct Front {
    world: Arc<World>,
    port: UdpPort,
    address: SocketAddr,
}

impl Front {
    async fn new(setup: Setup) -> Self {
        Self::among(Arc::new(setup.start()), &Arc::default()).await
    }

    /// A front whose sessions are counted together with those of others.
    async fn among(world: Arc<World>, in_all: &Arc<AtomicUsize>) -> Self {
        let port = UdpPort::new(world.bind.clone(), in_all);
        Self::at(world, port).await
    }

    /// A front with a socket more for a port.
    async fn at(world: Arc<World>, port: UdpPort) -> Self {
        let socket = socket().await;
        let address = socket.local_addr().expect("an address");
        let (streams, table) = (world.streams.clone(), world.table.clone());
        let served = port.clone();
        tokio::spawn(async move { streams.udp(socket, &served, &table, pending()).await });
        Self { world, port, address }
    }

    /// A client that hears the front's socket only.
    async fn client(&self) -> UdpSocket {
        let client = socket().await;
        client.connect(self.address).await.expect("a socket");
        client
    }

    fn totals(&self) -> Totals {
        self.world.streams.traffic().totals()
    }

    /// Waits until the counters are as they should become.
    #[track_caller]
    fn until(&self, reached: impl Fn(&Self) -> bool) -> impl Future<Output = ()> {
        soon(async move {
            while !reached(self) {
                yield_now().await;
            }
        })
    }
}

#[track_caller]
fn ask(client: &UdpSocket, text: &str) -> impl Future<Output = String> {
    soon(async move {
        client.send(text.as_bytes()).await.expect("a socket");
        hear(client).await
    })
}

async fn hear(client: &UdpSocket) -> String {
    let mut buffer = vec![0; 65_535];
    let length = client.recv(&mut buffer).await.expect("an answer");
    String::from_utf8(buffer[..length].to_vec()).expect("text")
}

#[tokio::test]
async fn datagrams_go_there_and_back() {
    let front = Front::new(Setup::udp(&[to(echo("a").await)])).await;
    let client = front.client().await;
    assert_eq!(ask(&client, "1").await, "a1");
    assert_eq!(ask(&client, "").await, "a");
    let long = "x".repeat(60_000);
    assert_eq!(ask(&client, &long).await, format!("a{long}"));
    let totals = front.totals();
    assert_eq!((totals.sessions, totals.datagrams_to_backend), (1, 3));
    assert_eq!((totals.to_backend, totals.datagrams_dropped), (60_001, 0));
}

#[tokio::test]
async fn weights_count_for_sessions() {
    let targets = [
        weighted(70, echo("a").await),
        weighted(30, echo("b").await),
        weighted(0, echo("c").await),
    ];
    let front = Front::new(Setup::udp(&targets)).await;
    let mut counts = [0, 0];
    for _ in 0..20 {
        let client = front.client().await;
        let first = ask(&client, "").await;
        counts[usize::from(first == "b")] += 1;
        for _ in 0..3 {
            assert_eq!(ask(&client, "").await, first, "a session stays");
        }
    }
    assert_eq!(counts, [14, 6]);
}

#[tokio::test]
async fn what_has_no_backend_is_dropped_without_a_trace() {
    let none = Target { endpoints: Some(vec![]), ..invalid(1) };
    let cases: [&[Target]; 4] = [&[], &[invalid(1)], &[none], &[weighted(0, echo("a").await)]];
    for targets in cases {
        let front = Front::new(Setup::udp(targets)).await;
        front.client().await.send(b"x").await.expect("a socket");
        front.until(|front| front.totals().datagrams_dropped == 1).await;
        assert_eq!((front.totals().sessions, front.port.sessions()), (0, 0));
    }
}

#[tokio::test]
async fn half_of_the_sessions_of_a_half_invalid_rule() {
    let front = Front::new(Setup::udp(&[to(echo("a").await), invalid(1)])).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let client = front.client().await;
        client.send(b"x").await.expect("a socket");
        clients.push(client);
    }
    let arrived = |front: &Front| front.totals().datagrams_to_client == 5;
    front.until(|front| arrived(front) && front.totals().datagrams_dropped == 5).await;
}

#[tokio::test]
async fn idle_sessions_end_and_busy_ones_do_not() {
    let front = Front::new(Setup::udp(&[to(echo("a").await)])).await;
    let client = front.client().await;
    assert_eq!(ask(&client, "1").await, "a1");
    tokio::time::pause();
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(50)).await;
        // A clock that stands still while this is under way.
        client.send(b"2").await.expect("a socket");
        while front.totals().datagrams_to_client == front.totals().datagrams_to_backend - 1
            || client.try_recv(&mut [0; 8]).is_err()
        {
            yield_now().await;
        }
    }
    assert_eq!((front.totals().sessions, front.port.sessions()), (1, 1));
    tokio::time::advance(Duration::from_secs(59)).await;
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(front.port.sessions(), 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    while front.port.sessions() == 1 {
        yield_now().await;
    }
    tokio::time::resume();
    assert_eq!(ask(&client, "3").await, "a3");
    assert_eq!(front.totals().sessions, 2);
}

#[tokio::test]
async fn a_flood_that_nobody_answers_makes_room_for_itself() {
    let silent = socket().await;
    let mut setup = Setup::udp(&[to(silent.local_addr().expect("an address"))]);
    setup.options.sessions = 4;
    let front = Front::new(setup).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let client = front.client().await;
        client.send(b"x").await.expect("a socket");
        clients.push(client);
    }
    front.until(|front| front.totals().sessions == 10).await;
    assert_eq!(front.port.sessions(), 4);
    assert_eq!(front.totals().sessions_evicted, 6);
    assert_eq!(front.totals().datagrams_dropped, 0);
}

#[tokio::test]
async fn no_listener_takes_the_room_of_all() {
    let silent = socket().await;
    let mut setup = Setup::udp(&[to(silent.local_addr().expect("an address"))]);
    setup.options.sessions = 12;
    setup.options.sessions_in_all = 12;
    let (world, in_all) = (Arc::new(setup.start()), Arc::default());
    let fronts = [
        Front::among(Arc::clone(&world), &in_all).await,
        Front::among(Arc::clone(&world), &in_all).await,
        Front::among(world, &in_all).await,
    ];
    let mut clients = Vec::new();
    let mut sent = 0;
    // The first alone, two, then all: the share of each becomes smaller.
    for (flooded, expect) in [(1, [6, 0, 0]), (2, [4, 4, 0]), (3, [3, 3, 3])] {
        for _ in 0..20 {
            for front in &fronts[..flooded] {
                let client = front.client().await;
                client.send(b"x").await.expect("a socket");
                clients.push(client);
                sent += 1;
                front.until(|front| front.totals().sessions == sent).await;
            }
        }
        assert_eq!(fronts.each_ref().map(|front| front.port.sessions()), expect);
    }
    assert_eq!(fronts[0].totals().datagrams_dropped, 0);
}

#[tokio::test]
async fn a_worker_without_sessions_gets_room_beside_one_that_has_them_all() {
    let mut setup = Setup::udp(&[to(echo("a").await)]);
    setup.options.sessions = 12;
    setup.options.sessions_in_all = 12;
    let (world, in_all) = (Arc::new(setup.start()), Arc::default());
    let first = Front::among(Arc::clone(&world), &in_all).await;
    let mut clients = Vec::new();
    for n in 1..=6 {
        let client = first.client().await;
        assert_eq!(ask(&client, "x").await, "ax");
        assert_eq!(first.port.sessions(), n);
        clients.push(client);
    }
    let second = Front::at(world, first.port.clone()).await;
    assert_eq!(ask(&second.client().await, "y").await, "ay");
    assert_eq!(ask(&second.client().await, "z").await, "az");
    let totals = second.totals();
    assert_eq!((totals.sessions, totals.sessions_evicted, totals.datagrams_dropped), (8, 0, 0));
}

#[tokio::test]
async fn a_session_that_ends_makes_room_also_if_no_other_can() {
    let mut setup = Setup::udp(&[to(echo("a").await)]);
    setup.options.sessions = 6;
    setup.options.sessions_in_all = 6;
    let (world, in_all) = (Arc::new(setup.start()), Arc::default());
    let front = Front::among(Arc::clone(&world), &in_all).await;
    let other = Front::among(world, &in_all).await;
    let (silent, talkers) = (front.client().await, [front.client().await, front.client().await]);
    assert_eq!(ask(&silent, "x").await, "ax");
    for _ in 0..2 {
        for talker in &talkers {
            assert_eq!(ask(talker, "x").await, "ax");
        }
    }
    let others = [other.client().await, other.client().await];
    for client in &others {
        assert_eq!(ask(client, "x").await, "ax");
    }
    // The share has become so small that two sessions would have to end for a new one.
    assert_eq!((front.port.sessions(), other.port.sessions()), (3, 2));
    assert_eq!(ask(&front.client().await, "y").await, "ay");
    let totals = front.totals();
    assert_eq!((totals.sessions_evicted, totals.datagrams_dropped), (1, 0));
    assert_eq!(front.port.sessions(), 3);
}

#[tokio::test]
async fn clients_in_conversation_keep_their_sessions() {
    let mut setup = Setup::udp(&[to(echo("a").await)]);
    setup.options.sessions = 2;
    let front = Front::new(setup).await;
    let (first, second) = (front.client().await, front.client().await);
    for n in 1..4 {
        for client in [&first, &second] {
            assert_eq!(ask(client, "x").await, "ax");
            assert_eq!(ask(client, "y").await, "ay");
        }
        front.client().await.send(b"z").await.expect("a socket");
        front.until(|front| front.totals().datagrams_dropped == n).await;
    }
    let totals = front.totals();
    assert_eq!((totals.sessions, totals.sessions_evicted, front.port.sessions()), (2, 0, 2));
}

#[tokio::test]
async fn clients_that_have_their_answer_make_room() {
    let mut setup = Setup::udp(&[to(echo("a").await)]);
    setup.options.sessions = 2;
    let front = Front::new(setup).await;
    // One that goes on, and many that ask once.
    let talker = front.client().await;
    for _ in 0..10 {
        assert_eq!(ask(&talker, "x").await, "ax");
        assert_eq!(ask(&front.client().await, "y").await, "ay");
    }
    let totals = front.totals();
    assert_eq!((totals.sessions, totals.sessions_evicted), (11, 9));
    assert_eq!((totals.datagrams_dropped, front.port.sessions()), (0, 2));
}

#[tokio::test]
async fn sessions_leave_an_endpoint_that_is_gone() {
    // A socket that is connected takes datagrams of its peer only; for all others its port is closed,
    // and yet no other test can have it.
    let connected = socket().await;
    connected.connect("127.0.0.1:9").await.expect("an address");
    let gone = connected.local_addr().expect("an address");
    let endpoints = Some(vec![gone, echo("b").await]);
    let front = Front::new(Setup::udp(&[Target { weight: 1, endpoints, tls: None }])).await;
    for _ in 0..5 {
        let client = front.client().await;
        // Like a client of DNS: again and again until an answer comes.
        let answer = soon(async {
            loop {
                client.send(b"1").await.expect("a socket");
                for _ in 0..100 {
                    let mut buffer = [0; 8];
                    if let Ok(length) = client.try_recv(&mut buffer) {
                        return buffer[..length].to_vec();
                    }
                    yield_now().await;
                }
            }
        });
        assert_eq!(answer.await, b"b1");
    }
}

#[tokio::test]
async fn sessions_follow_the_routes() {
    let (a, b) = (echo("a").await, echo("b").await);
    let front = Front::new(Setup::udp(&[to(a)])).await;
    let client = front.client().await;
    assert_eq!(ask(&client, "1").await, "a1");
    // A route of another name has other backends.
    let mut routes = vec![route("", &[to(b)])];
    routes[0].name = "other";
    front.world.follow(&Setup { routes, ..Setup::udp(&[]) });
    front.until(|front| front.port.sessions() == 0).await;
    assert_eq!(ask(&client, "2").await, "b2");
    front.world.follow(&Setup { routes: Vec::new(), ..Setup::udp(&[]) });
    front.until(|front| front.port.sessions() == 0).await;
    let dropped = front.totals().datagrams_dropped;
    client.send(b"3").await.expect("a socket");
    front.until(|front| front.totals().datagrams_dropped == dropped + 1).await;
}

#[tokio::test]
async fn a_front_that_ends_closes_all() {
    let world = Setup::udp(&[to(echo("a").await)]).start();
    let port = UdpPort::new(world.bind.clone(), &Arc::default());
    let socket = socket().await;
    let address = socket.local_addr().expect("an address");
    let client = self::socket().await;
    client.connect(address).await.expect("a socket");
    // It ends when the client has heard its answer.
    let heard = async { assert_eq!(ask(&client, "1").await, "a1") };
    soon(world.streams.udp(socket, &port, &world.table, heard)).await;
    soon(async {
        // The socket is closed once the last session has let go of it.
        while UdpSocket::bind(address).await.is_err() {
            yield_now().await;
        }
    })
    .await;
    assert_eq!(port.sessions(), 0);
}
