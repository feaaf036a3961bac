//! Hosts, paths and fields that could mean something else to a backend.

use crate::common::{OK, Path, RawBackend, RawClient, Setup, run, start, status};

/// The request lines and fields that the backend sees, or the status of the refusal.
#[track_caller]
fn check(head: &str, expect: Result<&[&str], u16>) {
    let (head, expect) = (head.to_owned(), expect.map(<[_]>::to_vec));
    run(async move {
        let backend = RawBackend::answering(OK).await;
        let running = start(&Setup::http(vec![Path::new("/", backend.address)])).await;
        let mut client = RawClient::connect(running.address).await;
        client.send(format!("{head}\r\n\r\n")).await;
        let answer = client.answer().await.expect("an answer");
        match expect {
            Err(expect) => {
                assert_eq!(status(&answer), expect, "{head:?}");
                assert_eq!(backend.seen(), [""; 0], "{head:?}");
            }
            Ok(lines) => {
                assert_eq!(status(&answer), 200, "{head:?}: {answer}");
                let seen = &backend.seen()[0];
                for line in lines {
                    match line.strip_prefix('!') {
                        None => assert!(seen.contains(&format!("{line}\r\n")), "{line} in {seen}"),
                        Some(absent) => assert!(!seen.contains(absent), "{absent} in {seen}"),
                    }
                }
            }
        }
    });
}

#[test]
fn hosts() {
    check("GET / HTTP/1.1", Err(400));
    check("GET / HTTP/1.0", Err(400));
    check("GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example", Err(400));
    check("GET / HTTP/1.1\r\nHost: a.example, b.example", Err(400));
    check("GET / HTTP/1.1\r\nHost: user@a.example", Err(400));
    check("GET / HTTP/1.1\r\nHost: a.example:http", Err(400));
    check("GET / HTTP/1.1\r\nHost: b\u{fc}cher.example", Err(400));
    check("GET / HTTP/1.1\r\nHost: A.example.:80", Ok(&["host: A.example.:80"]));
    check("GET / HTTP/1.1\r\nHost: [::1]:80", Ok(&["host: [::1]:80"]));
    check(
        "GET http://b.example/x HTTP/1.1\r\nHost: a.example",
        Ok(&["GET /x HTTP/1.1", "host: b.example", "!a.example"]),
    );
    check("GET http://u@b.example/x HTTP/1.1\r\nHost: a.example", Err(400));
}

#[test]
fn methods() {
    check("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example", Err(405));
    check("CONNECT / HTTP/1.1\r\nHost: a.example", Err(405));
    check("TRACE / HTTP/1.1\r\nHost: a.example", Err(405));
}

#[test]
fn paths() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a.example");
    for path in
        ["/a/../b", "/%2e%2e/b", "/a%2fb", "/a%5cb", "/a\\b", "/a%00", "/a\u{7f}", "/\u{e9}"]
    {
        check(&get(path), Err(400));
    }
    check(&get("/%41?x=/../%41"), Ok(&["GET /A?x=/../%41 HTTP/1.1"]));
    check(&get("//a/./.b".replace("./", "").as_str()), Ok(&["GET //a/.b HTTP/1.1"]));
    // A fragment has no place in a request and goes no further.
    check(&get("/a#/b"), Ok(&["GET /a HTTP/1.1"]));
}

#[test]
fn fields_of_the_hop() {
    check(
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close, X-Internal, host, x-forwarded-for\r\n\
         X-Internal: 1\r\nKeep-Alive: 1\r\nProxy-Connection: close\r\nTE: gzip\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX_Forwarded_For: 6.6.6.6\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6",
        Ok(&[
            "host: a.example",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-proto: http",
            "x-forwarded-host: a.example",
            "!connection",
            "!x-internal",
            "!keep-alive",
            "!proxy-connection",
            "!te:",
            "!upgrade",
            "!http2-settings",
            "!6.6.6.6",
        ]),
    );
}
