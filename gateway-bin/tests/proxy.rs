//! Requests go through, in both directions and in every shape.

mod common;

use common::{OK, Path, RawBackend, RawClient, Setup, run, start, status};

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
