//! What the demo shows: requests with what must come of them.
//!
//! In: nothing. Out: [`STEPS`], from which both the curl lines and the self-check are made, so that
//! they cannot differ. Not here: sending.

use bytes::Bytes;
use http::{Request, Version};

use Expect::{Answered, Field, Seen, ServedBy, Shares};

/// Something that the demo shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// What it shows.
    pub(super) shows: &'static str,
    /// What is asked.
    pub(super) ask: Ask,
    /// What must come back.
    pub(super) expect: &'static [Expect],
}

/// A request, or several of the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    method: &'static str,
    url: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// How often it is sent.
    pub(super) times: u32,
    is_grpc: bool,
}

/// A property of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    /// The status.
    Answered(u16),
    /// A header or trailer.
    Field(&'static str, &'static str),
    /// The Service that answered.
    ServedBy(&'static str),
    /// What the backend saw: a pointer into its JSON, and the value there; empty for none.
    Seen(&'static str, &'static str),
    /// A part of what the backend saw, by a pointer as above.
    SeenPart(&'static str, &'static str),
    /// How many of the requests each Service answered.
    Shares(&'static [(&'static str, u32)]),
}

/// Where the demo listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    /// For plain requests.
    pub(super) http: u16,
    /// For TLS.
    pub(super) https: u16,
}

/// All of them, from simple to special.
pub(super) const STEPS: &[Step] = &[
    Step {
        shows: "a host of its own, any path",
        ask: get("http://shop.example.com/", &[]),
        expect: &[Answered(200), ServedBy("storefront")],
    },
    Step {
        shows: "a query parameter picks the German search",
        ask: get("http://shop.example.com/search?q=tea&lang=de", &[]),
        expect: &[ServedBy("search-de"), Seen("/path", "/search?q=tea&lang=de")],
    },
    Step {
        shows: "a canary for those who ask for it by a header",
        ask: get("http://shop.example.com/cart", &[("x-canary", "always")]),
        expect: &[ServedBy("cart-v2")],
    },
    Step {
        shows: "and by weight for exactly one in ten of the others",
        ask: Ask { times: 10, ..get("http://shop.example.com/cart", &[]) },
        expect: &[Shares(&[("cart-v1", 9), ("cart-v2", 1)])],
    },
    Step {
        shows: "a redirect that replaces the matched prefix",
        ask: get("http://shop.example.com/old/teapots?page=2", &[]),
        expect: &[Answered(301), Field("location", "http://shop.example.com/new/teapots?page=2")],
    },
    Step {
        shows: "a rewrite of host and path, and changes of headers in both directions",
        ask: get("http://api.example.com/v1/items", &[("x-debug", "1")]),
        expect: &[
            Seen("/host", "api.internal"),
            Seen("/path", "/backend/items"),
            Seen("/headers/x-tenant/0", "demo"),
            Seen("/headers/x-debug/0", ""),
            Field("x-api-version", "1"),
        ],
    },
    Step {
        shows: "a CORS preflight, answered by the gateway",
        ask: Ask {
            method: "OPTIONS",
            ..get(
                "http://api.example.com/public/items",
                &[("origin", "https://www.example.com"), ("access-control-request-method", "PUT")],
            )
        },
        expect: &[Field("access-control-allow-origin", "https://www.example.com")],
    },
    Step {
        shows: "a time limit: the backend would take two seconds",
        ask: get("http://api.example.com/slow?delay=2s", &[]),
        expect: &[Answered(504)],
    },
    Step {
        shows: "a retry: the backend's first answer was 503",
        ask: get("http://api.example.com/flaky", &[]),
        expect: &[Answered(200), ServedBy("flaky")],
    },
    Step {
        shows: "plain HTTP is led to HTTPS",
        ask: get("http://account.example.com/me", &[]),
        expect: &[Answered(302), Field("location", "https://account.example.com/me")],
    },
    Step {
        shows: "TLS, with a certificate that was made just now",
        ask: get("https://account.example.com/me", &[]),
        expect: &[
            Answered(200),
            ServedBy("account"),
            Seen("/headers/x-forwarded-proto/0", "https"),
        ],
    },
    Step {
        shows: "gRPC by service and method, on the same port",
        ask: grpc("http://grpc.example.com/shop.v1.Cart/Get"),
        expect: &[Answered(200), ServedBy("cart-grpc"), Field("grpc-status", "0")],
    },
    Step {
        shows: "a gRPC method that no route has: UNIMPLEMENTED",
        ask: grpc("http://grpc.example.com/shop.v1.Cart/Delete"),
        expect: &[Answered(200), Field("grpc-status", "12")],
    },
    Step {
        shows: "a host that no route has",
        ask: get("http://other.example.com/", &[]),
        expect: &[Answered(404)],
    },
];

const fn get(url: &'static str, headers: &'static [(&'static str, &'static str)]) -> Ask {
    Ask { method: "GET", url, headers, times: 1, is_grpc: false }
}

const fn grpc(url: &'static str) -> Ask {
    let headers = &[("content-type", "application/grpc"), ("te", "trailers")];
    Ask { method: "POST", url, headers, times: 1, is_grpc: true }
}

impl Ask {
    /// Whether it goes to the TLS listener.
    pub(super) fn is_tls(&self) -> bool {
        self.url.starts_with("https:")
    }

    /// The request as it is sent.
    pub(super) fn request(&self) -> http::Result<Request<Bytes>> {
        let version = if self.is_grpc { Version::HTTP_2 } else { Version::HTTP_11 };
        let mut request = Request::builder().method(self.method).uri(self.url).version(version);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        request.body(if self.is_grpc { Bytes::from_static(&[0; 5]) } else { Bytes::new() })
    }
}

impl Step {
    /// The line for a shell that sends the request.
    pub(super) fn curl(&self, ports: Ports) -> String {
        let ask = &self.ask;
        let uri = ask.url.split_once("://").map_or(ask.url, |(_, uri)| uri);
        let (host, path) = uri.split_at(uri.find('/').unwrap_or(uri.len()));
        let mut words = vec![match (ask.is_grpc, self.shows_head()) {
            (true, _) => {
                r"printf '\0\0\0\0\0' | curl -sv --http2-prior-knowledge --data-binary @- -o /dev/null"
                    .to_owned()
            }
            (false, true) => "curl -si".to_owned(),
            (false, false) => "curl -s".to_owned(),
        }];
        if !matches!(ask.method, "GET" | "POST") {
            words.push(format!("-X {}", ask.method));
        }
        if ask.is_tls() {
            let port = ports.https;
            words.push(format!("-k --resolve {host}:{port}:127.0.0.1"));
            words.push(format!("'https://{host}:{port}{path}'"));
        } else {
            words.push(format!("-H 'Host: {host}'"));
            words.push(format!("'http://127.0.0.1:{}{path}'", ports.http));
        }
        words.extend(ask.headers.iter().map(|(name, value)| format!("-H '{name}: {value}'")));
        let line = words.join(" ");
        match ask.times {
            1 => line,
            times => format!("for i in $(seq {times}); do {line} | grep '\"service\"'; done"),
        }
    }

    /// Whether the head of the answer is worth seeing.
    fn shows_head(&self) -> bool {
        self.expect.iter().any(|expect| matches!(expect, Answered(300..) | Field(..)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Ports, STEPS};

    #[track_caller]
    fn check(shows: &str, expect: &str) {
        let step = STEPS.iter().find(|step| step.shows.contains(shows)).unwrap();
        assert_eq!(step.curl(Ports { http: 8080, https: 8443 }), expect);
    }

    #[test]
    fn steps_are_shown_as_curl_lines() {
        check(
            "by a header",
            "curl -s -H 'Host: shop.example.com' 'http://127.0.0.1:8080/cart' -H 'x-canary: always'",
        );
        check(
            "by weight",
            "for i in $(seq 10); do curl -s -H 'Host: shop.example.com' \
             'http://127.0.0.1:8080/cart' | grep '\"service\"'; done",
        );
        check(
            "CORS",
            "curl -si -X OPTIONS -H 'Host: api.example.com' 'http://127.0.0.1:8080/public/items' \
             -H 'origin: https://www.example.com' -H 'access-control-request-method: PUT'",
        );
        check(
            "TLS",
            "curl -s -k --resolve account.example.com:8443:127.0.0.1 \
             'https://account.example.com:8443/me'",
        );
        check(
            "UNIMPLEMENTED",
            "printf '\\0\\0\\0\\0\\0' | curl -sv --http2-prior-knowledge --data-binary @- \
             -o /dev/null -H 'Host: grpc.example.com' \
             'http://127.0.0.1:8080/shop.v1.Cart/Delete' -H 'content-type: application/grpc' \
             -H 'te: trailers'",
        );
    }

    #[test]
    fn every_request_can_be_sent() {
        for step in STEPS {
            assert!(step.ask.request().is_ok(), "{}", step.shows);
            assert!(!step.expect.is_empty(), "{}", step.shows);
        }
    }
}
