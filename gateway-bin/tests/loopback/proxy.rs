//! Requests go through, in both directions and in every shape.

use std::sync::Arc;

use gateway_bin::AccessLog;
use gateway_core::filter::{CustomFilter, Filter, RequestFacts};

use crate::common::{
    OK, Path, RawBackend, RawClient, Reply, Setup, config, exchange, run, start, start_with, status,
};

#[test]
fn a_request_and_its_answer() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/a", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET /a/b?c=d HTTP/1.1\r\nHost: a.example\r\nX-One: 1\r\n\r\n").await;
        let answer = client.answer().await.expect("an answer");
        assert_eq!(status(&answer), 200);
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
        let request = &backend.seen()[0];
        assert!(request.starts_with("GET /a/b?c=d HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("host: a.example\r\n"), "{request}");
        assert!(request.contains("x-forwarded-for: 127.0.0.1\r\n"), "{request}");

        client.send("GET /other HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&client.answer().await.expect("an answer")), 404);
        assert_eq!(running.gateway.drain().await, 0);
    });
}

#[test]
fn answers_to_head_keep_their_length_and_have_no_body() {
    run(async {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
        let backend = RawBackend::answering(head).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let request = "HEAD / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        let answer = exchange(running.address, request).await;
        assert!(answer.contains("content-length: 1000\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    });
}

#[test]
fn bodies_stream_before_they_end() {
    run(async {
        let begun = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n";
        let backend = RawBackend::new(move |_| Reply::Hang(begun.into())).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        let mut got = String::new();
        while !got.contains("hello") {
            got.push_str(&client.some().await);
        }
    });
}

#[test]
fn http10_clients_get_answers_that_they_understand() {
    run(async {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let backend = RawBackend::answering(chunked).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let answer = exchange(running.address, "GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
        assert!(!answer.to_ascii_lowercase().contains("transfer-encoding"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok"), "{answer}");
    });
}

/// A filter of an application that does what it must not.
#[derive(Debug)]
struct Panics;

impl CustomFilter for Panics {
    fn request(
        &self,
        head: &mut http::request::Parts,
        _: &RequestFacts,
    ) -> Option<http::Response<()>> {
        assert!(head.uri.path() != "/panic", "a panic on purpose");
        None
    }
}

#[test]
fn a_panic_ends_one_request_only() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let mut path = Path::new("/", backend.address);
        path.filters.push(Filter::Custom(Arc::new(Panics)));
        let running = start(&Setup::http(vec![path])).await;
        let mut streams = crate::http2::client(running.address).await;
        let mut other = RawClient::connect(running.address).await;
        let panicked = streams.get("http://a.example/panic").await;
        let fine = streams.get("http://a.example/").await;
        assert_eq!(panicked.await.expect("an answer").status(), 500);
        assert_eq!(fine.await.expect("an answer").status(), 200);
        other.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&other.answer().await.expect("an answer")), 200);
        other.send("GET /panic HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(status(&other.rest().await), 500);
        let counted = running.gateway.metrics();
        let panics = counted.lines().filter(|line| line.starts_with("gateway_panics_total{"));
        let total: u64 =
            panics.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
        assert_eq!(total, 2, "{counted}");
    });
}

#[test]
fn requests_are_counted_and_logged() {
    run(async {
        let backend = RawBackend::answering(OK).await;
        let file = std::env::temp_dir().join(format!("gateway-log-{}", backend.address.port()));
        let mut config = config();
        config.access_log = AccessLog::File(file.clone());
        let setup = Setup::http(vec![Path::new("/a", backend.address)]);
        let running = start_with(&setup, &config).await;
        for path in ["/a/\"x\"", "/none", "/a/../b"] {
            let close = "Host: a.example\r\nConnection: close\r\n\r\n";
            exchange(running.address, format!("GET {path} HTTP/1.1\r\n{close}")).await;
        }
        let metrics = running.gateway.metrics();
        let labels = "gateway=\"default/public\",listener=\"web\",\
                      route=\"HTTPRoute/default/routes\",rule=\"0\"";
        for line in [
            format!("gateway_requests_total{{{labels},code=\"2xx\"}} 1"),
            format!("gateway_request_duration_seconds_count{{{labels}}} 1"),
            "gateway_own_answers_total{cause=\"no-route\"} 1".to_owned(),
            "gateway_own_answers_total{cause=\"refused\"} 1".to_owned(),
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line} in {metrics}");
        }
        assert_eq!(running.gateway.drain().await, 0);
        let log = std::fs::read_to_string(&file).expect("a log");
        std::fs::remove_file(&file).expect("removed");
        let lines: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let find =
            |status: u64| lines.iter().find(|line| line["status"] == status).expect("a line");
        assert_eq!(find(200)["target"], "/a/\"x\"");
        assert_eq!(find(200)["route"], "default/routes");
        assert_eq!(find(200)["endpoint"], backend.address.to_string());
        assert_eq!(find(404)["cause"], "no-route");
        assert_eq!(find(400)["detail"], "the path has a dot segment");
    });
}
