//! Clients that ask for too much, or take too long over it.

use std::time::Duration;

use gateway_bin::run::{Config, Gateway};
use gateway_core::{
    compile::RouteTable,
    resolve::topology::{Bind, BindKey},
};

use crate::common::{
    OK, PORT, Path, RawBackend, RawClient, Reply, Setup, bind_key, config, exchange, run, start,
    start_with, status, wait_until,
};

#[test]
fn heads_that_are_too_large() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let get = |path: &str, fields: &str| {
            let close = "Host: a.example\r\nConnection: close\r\n";
            format!("GET {path} HTTP/1.1\r\n{close}{fields}\r\n")
        };
        let path = |length: usize| format!("/{}", "a".repeat(length));
        for (request, expect) in [
            (get(&path(8_000), ""), 414),
            (get(&path(70_000), ""), 414),
            (get("/", &format!("X: {}\r\n", "a".repeat(100_000))), 431),
            (get("/", &"X: y\r\n".repeat(101)), 431),
            (get("/", &"X: y\r\n".repeat(2_000)), 431),
        ] {
            let answer = exchange(running.address, &request).await;
            let got = status(&answer);
            // A target that does not fit into the buffer is first of all a head that does not.
            assert!(got == expect || (expect == 414 && got == 431), "{got} for {}", &request[..30]);
        }
        assert_eq!(backend.seen(), [""; 0]);
    });
}

pub(crate) fn hasty() -> Config {
    let mut config = config();
    config.limits.head_time = Duration::from_millis(200);
    config.limits.idle_time = Duration::from_millis(200);
    config.limits.body_grace = Duration::from_millis(200);
    config.limits.write_stall = Duration::from_millis(200);
    config.limits.handshake_time = Duration::from_millis(200);
    config
}

#[test]
fn slow_heads_are_answered_with_408() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = start_with(&setup, &hasty()).await;
        for start in ["GET / HT", "GET / HTTP/1.1\r\nHost: a.example\r\nX: y\r\n", "PRI * HT"] {
            let mut client = RawClient::connect(running.address).await;
            client.send(start).await;
            let answer = client.rest().await;
            let expect = if start.starts_with("PRI") { 0 } else { 408 };
            assert_eq!(status(&answer), expect, "{start:?}");
        }
        // Dripping does not help.
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n").await;
        while client.try_send("X: y\r\n").await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(backend.seen(), [""; 0]);
    });
}

#[test]
fn a_slow_head_on_a_used_connection() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = start_with(&setup, &hasty()).await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        client.send("GET / HTTP/1.1\r\nHo").await;
        assert_eq!(status(&client.rest().await), 408);
    });
}

#[test]
fn idle_connections_are_closed_without_a_word() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = start_with(&setup, &hasty()).await;
        assert_eq!(RawClient::connect(running.address).await.rest().await, "");
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        assert_eq!(client.rest().await, "");
        wait_until(|| running.gateway.connections() == 0).await;
    });
}

#[test]
fn slow_bodies_are_answered_with_408() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = start_with(&setup, &hasty()).await;
        for fields in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
            let mut client = RawClient::connect(running.address).await;
            let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n5\r\nhel");
            client.send(head).await;
            assert_eq!(status(&client.rest().await), 408, "{fields}");
        }
        backend.wait_closed(2).await;
        assert_eq!(backend.seen(), [""; 0]);
    });
}

#[test]
fn clients_that_read_nothing_are_given_up() {
    run(async {
        let mut endless = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec();
        endless.resize(40_000_000, b'x');
        let backend = RawBackend::new(move |_| Reply::Hang(endless.clone())).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let running = start_with(&setup, &hasty()).await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        backend.wait_closed(1).await;
        wait_until(|| running.gateway.connections() == 0).await;
        drop(client);
    });
}

#[test]
fn requests_over_the_limit_are_answered_at_once_and_room_is_used_again() {
    run(async {
        let begins = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart";
        let backend = RawBackend::new(move |request| match request.starts_with("GET /hang") {
            true => Reply::Hang(begins.into()),
            false => Reply::Keep(OK.into()),
        });
        let backend = backend.await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let mut config = config();
        (config.workers, config.limits.requests) = (1, 1);
        let running = start_with(&setup, &config).await;
        let mut held = RawClient::connect(running.address).await;
        held.send("GET /hang HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&held.some().await), 200);
        let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let mut client = RawClient::connect(running.address).await;
        for _ in 0..3 {
            client.send(get).await;
            assert_eq!(status(&client.answer().await.expect("an answer")), 503);
        }
        let metrics = running.gateway.metrics();
        assert!(
            metrics.contains("gateway_own_answers_total{cause=\"request-limit\"} 3"),
            "{metrics}"
        );
        let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nok";
        for _ in 0..2 {
            client.send(post).await;
            assert_eq!(status(&client.answer().await.expect("an answer")), 503);
        }
        // What is not to be trusted is refused nevertheless, and ends its connection.
        let doubtful = post.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
        let answer = exchange(running.address, doubtful).await;
        assert_eq!(status(&answer), 400, "{answer}");
        drop(held);
        wait_until(|| running.gateway.connections() == 1).await;
        for request in [post, get] {
            client.send(request).await;
            assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        }
    });
}

#[test]
fn no_listener_takes_the_requests_of_all() {
    run(async {
        let begins = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart";
        let backend = RawBackend::new(move |_| Reply::Hang(begins.into())).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let other = BindKey { port: PORT + 1, ..bind_key() };
        let mut update = setup.update();
        let topology = &mut update.build.topology;
        topology.binds.push(Bind { key: other.clone(), ..topology.binds[0].clone() });
        update.build.table = RouteTable::compile(topology, 7);
        let mut config = config();
        config.addresses.ports.insert(other.port, 0);
        (config.workers, config.limits.requests) = (1, 4);
        let mut gateway = Gateway::start(&config).expect("a gateway");
        gateway.apply(&update).await;
        let addresses = gateway.addresses();
        let mut held = Vec::new();
        // One alone has half of all places, and leaves half of the rest to the next.
        for (key, expect) in [(&bind_key(), [200, 200, 503]), (&other, [200, 503, 503])] {
            for expect in expect {
                let mut client = RawClient::connect(addresses[key][0]).await;
                client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
                assert_eq!(status(&client.some().await), expect, "{key:?}");
                held.push(client);
            }
        }
    });
}

#[test]
fn connections_over_the_limit_are_closed_and_room_is_used_again() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let setup = Setup::http(vec![Path::new("/", backend.address)]);
        let mut config = config();
        config.limits.connections_per_bind = 2;
        let running = start_with(&setup, &config).await;
        let get = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut client = RawClient::connect(running.address).await;
            client.send(get).await;
            assert_eq!(status(&client.answer().await.expect("an answer")), 200);
            held.push(client);
        }
        for _ in 0..20 {
            let mut client = RawClient::connect(running.address).await;
            let _ = client.try_send(get).await;
            assert_eq!(client.rest().await, "");
        }
        held.pop();
        wait_until(|| running.gateway.connections() == 1).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(get).await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 200);
        assert!(running.gateway.metrics().contains("gateway_connections_refused_total"));
    });
}
