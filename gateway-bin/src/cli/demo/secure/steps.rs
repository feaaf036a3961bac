//! What the demo of TLS shows: requests with what must come of them.
//!
//! In: nothing. Out: [`STEPS`], from which both the curl lines and the self-check are made. Not
//! here: sending.

use std::path::Path;

use bytes::Bytes;
use http::{Request, Version};

use super::super::steps::Expect::{self, Answered, Field, Seen, SeenPart, ServedBy};

/// Something that the demo shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) shows: &'static str,
    pub(super) host: &'static str,
    path: &'static str,
    pub(super) door: Door,
    /// Whether the client shows its certificate.
    pub(super) as_client: bool,
    is_grpc: bool,
    /// What must come back; none: the handshake must fail.
    pub(super) expect: Option<&'static [Expect]>,
}

/// A port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// For everybody.
    Open,
    /// For those with a certificate.
    Members,
}

/// Where the demo listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) open: u16,
    pub(super) members: u16,
}

impl Ports {
    pub(super) fn of(self, door: Door) -> u16 {
        match door {
            Door::Open => self.open,
            Door::Members => self.members,
        }
    }
}

/// All of them.
pub(super) const STEPS: &[Step] = &[
    Step {
        shows: "HTTPS; the certificate comes from the demo's own authority",
        expect: Some(&[
            Answered(200),
            ServedBy("storefront"),
            Seen("/headers/x-forwarded-proto/0", "https"),
        ]),
        ..get("shop.example.com", "/")
    },
    Step {
        shows: "encrypted again on the way to the backend, which is verified (BackendTLSPolicy)",
        expect: Some(&[Answered(200), ServedBy("safe")]),
        ..get("shop.example.com", "/safe")
    },
    Step {
        shows: "mTLS: without a certificate there is no connection",
        door: Door::Members,
        ..get("members.example.com", "/")
    },
    Step {
        shows: "mTLS: with one there is, and the backend hears whose it is",
        door: Door::Members,
        as_client: true,
        expect: Some(&[
            Answered(200),
            ServedBy("club"),
            SeenPart("/headers/x-forwarded-client-cert/0", ";DNS=alice.example.com"),
        ]),
        ..get("members.example.com", "/")
    },
    Step {
        shows: "passthrough: the certificate is the backend's own, and nothing in between can read",
        expect: Some(&[Answered(200), ServedBy("vault"), Seen("/headers/x-forwarded-for/0", "")]),
        ..get("vault.example.com", "/")
    },
    Step {
        shows: "TLS ended at the gateway, and whatever was inside passed on as bytes",
        expect: Some(&[Answered(200), ServedBy("ledger"), Seen("/headers/x-forwarded-for/0", "")]),
        ..get("ledger.example.com", "/")
    },
    Step {
        shows: "gRPC over TLS",
        is_grpc: true,
        expect: Some(&[Answered(200), ServedBy("cart-grpc"), Field("grpc-status", "0")]),
        ..get("grpc.example.com", "/shop.v1.Cart/Get")
    },
    Step {
        shows: "a server name that no listener has: closed without a word",
        ..get("other.example.com", "/")
    },
];

const fn get(host: &'static str, path: &'static str) -> Step {
    let (shows, door) = ("", Door::Open);
    Step { shows, host, path, door, as_client: false, is_grpc: false, expect: None }
}

impl Step {
    /// The request as it is sent.
    pub(super) fn request(&self) -> http::Result<Request<Bytes>> {
        let request = Request::builder().uri(format!("https://{}{}", self.host, self.path));
        if !self.is_grpc {
            return request.body(Bytes::new());
        }
        let request = request.method("POST").version(Version::HTTP_2);
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        request.body(Bytes::from_static(&[0; 5]))
    }

    /// The line for a shell that sends the request; `authority` and `client` are files.
    pub(super) fn curl(&self, ports: Ports, authority: &Path, client: &Path) -> String {
        let Self { host, path, .. } = self;
        let port = ports.of(self.door);
        let mut words = vec![if self.is_grpc {
            r"printf '\0\0\0\0\0' | curl -sv --http2 --data-binary @- -o /dev/null".to_owned()
        } else if self.expect.is_none() {
            "curl -sS".to_owned()
        } else {
            "curl -s".to_owned()
        }];
        words.push(format!("--cacert '{}'", authority.display()));
        if self.as_client {
            words.push(format!("--cert '{}'", client.display()));
        }
        words.push(format!("--resolve {host}:{port}:127.0.0.1 'https://{host}:{port}{path}'"));
        if self.is_grpc {
            words.push("-H 'content-type: application/grpc' -H 'te: trailers'".to_owned());
        }
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Ports, STEPS};

    #[track_caller]
    fn check(shows: &str, expect: &str) {
        let step = STEPS.iter().find(|step| step.shows.contains(shows)).unwrap();
        let ports = Ports { open: 8443, members: 8444 };
        assert_eq!(step.curl(ports, Path::new("d/ca.pem"), Path::new("d/client.pem")), expect);
    }

    #[test]
    fn steps_are_shown_as_curl_lines() {
        check(
            "the backend hears",
            "curl -s --cacert 'd/ca.pem' --cert 'd/client.pem' \
             --resolve members.example.com:8444:127.0.0.1 'https://members.example.com:8444/'",
        );
        check(
            "gRPC",
            "printf '\\0\\0\\0\\0\\0' | curl -sv --http2 --data-binary @- -o /dev/null \
             --cacert 'd/ca.pem' --resolve grpc.example.com:8443:127.0.0.1 \
             'https://grpc.example.com:8443/shop.v1.Cart/Get' \
             -H 'content-type: application/grpc' -H 'te: trailers'",
        );
        check(
            "without a word",
            "curl -sS --cacert 'd/ca.pem' --resolve other.example.com:8443:127.0.0.1 \
             'https://other.example.com:8443/'",
        );
    }

    #[test]
    fn every_request_can_be_sent() {
        for step in STEPS {
            assert!(step.request().is_ok() && !step.shows.is_empty(), "{step:?}");
        }
    }
}
