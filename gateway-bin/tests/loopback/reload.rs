//! New tables under load: every request sees one table, and none fails.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use gateway_bin::Update;
use gateway_core::{
    compile::RouteTable,
    filter::{Filter, HeaderModifier},
    resolve::topology::BindAddress,
    snapshot::BindState,
};
use http::{HeaderName, HeaderValue};
use tokio::net::TcpSocket;

use crate::common::{
    PORT, Path, RawBackend, RawClient, Setup, bind_key, config, exchange, run, start, start_with,
    status, wait_until,
};

/// Says in the answer's header which table served, while the backend says it in the body.
fn setup(table: &'static str, backend: &RawBackend) -> Setup {
    let mut path = Path::new("/", backend.address);
    let name = HeaderName::from_static("x-table");
    let modifier = HeaderModifier {
        set: vec![(name, HeaderValue::from_static(table))],
        ..HeaderModifier::default()
    };
    path.filters.push(Filter::ResponseHeaderModifier(modifier));
    Setup::http(vec![path])
}

async fn answering(body: &str) -> RawBackend {
    RawBackend::answering(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{body}")).await
}

#[test]
fn no_request_fails_or_sees_two_tables() {
    run(async {
        let (a, b) = (answering("a").await, answering("b").await);
        let (a, b) = (setup("a", &a), setup("b", &b));
        let mut running = start(&a).await;
        let address = running.address;
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
                tokio::spawn(async move {
                    let mut client = RawClient::connect(address).await;
                    while !stop.load(Ordering::SeqCst) {
                        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
                        let answer = client.answer().await.expect("an answer");
                        assert_eq!(status(&answer), 200, "{answer}");
                        let of_a = answer.contains("x-table: a\r\n") && answer.ends_with("\r\na");
                        let of_b = answer.contains("x-table: b\r\n") && answer.ends_with("\r\nb");
                        assert!(of_a || of_b, "{answer}");
                        served.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for turn in 0..100 {
            let seen = served.load(Ordering::SeqCst);
            running.gateway.apply(&if turn % 2 == 0 { &b } else { &a }.update()).await;
            wait_until(|| served.load(Ordering::SeqCst) > seen + 4).await;
        }
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.expect("no request failed");
        }
    });
}

/// The same under another name of its address.
fn at_loopback(setup: &Setup) -> Update {
    let mut update = setup.update();
    let topology = &mut update.build.topology;
    topology.binds[0].key.address = BindAddress::Ip([127, 0, 0, 1].into());
    update.build.table = RouteTable::compile(topology, 7);
    update
}

#[test]
fn no_route_is_lost_when_an_address_goes_to_another_bind() {
    run(async {
        // Keeps the port for the gateway; connections are for sockets that listen.
        let kept = TcpSocket::new_v4().expect("a socket");
        kept.set_reuseport(true).expect("a socket");
        kept.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = kept.local_addr().expect("an address");
        let mut config = config();
        config.addresses.ports.insert(PORT, address.port());
        let setup = setup("a", &answering("a").await);
        let mut running = start_with(&setup, &config).await;
        let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..4)
            .map(|_| {
                let (stop, served) = (Arc::clone(&stop), Arc::clone(&served));
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        // The system resets what a socket has not accepted when it is closed.
                        let Ok(mut client) = RawClient::try_connect(address).await else {
                            continue;
                        };
                        let get = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
                        let _ = client.try_send(get).await;
                        let answer = client.rest().await;
                        assert!(matches!(status(&answer), 200 | 0), "{answer}");
                        served.fetch_add(usize::from(!answer.is_empty()), Ordering::SeqCst);
                    }
                })
            })
            .collect();
        for turn in 0..40 {
            let seen = served.load(Ordering::SeqCst);
            let update = if turn % 2 == 0 { at_loopback(&setup) } else { setup.update() };
            let observed = running.gateway.apply(&update).await;
            assert!(observed.binds.values().all(|state| *state == BindState::Bound));
            wait_until(|| served.load(Ordering::SeqCst) > seen + 4).await;
        }
        stop.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.expect("no request lost its route");
        }
    });
}

#[test]
fn sockets_open_and_close_with_the_topology() {
    run(async {
        let backend = answering("a").await;
        let setup = setup("a", &backend);
        let mut running = start(&setup).await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);

        let mut update = setup.update();
        update.build.topology.binds.clear();
        update.build.table = RouteTable::compile(&update.build.topology, 7);
        let observed = running.gateway.apply(&update).await;
        assert!(observed.binds.is_empty() && running.gateway.addresses().is_empty());
        assert_eq!(client.rest().await, "");

        running.gateway.apply(&setup.update()).await;
        let address = running.gateway.addresses()[&bind_key()][0];
        let get = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        assert_eq!(status(&exchange(address, get).await), 200);
    });
}
