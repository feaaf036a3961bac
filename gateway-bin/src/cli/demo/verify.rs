//! Whether the demo shows what it says.
//!
//! In: a step and a running demo. Out: what differs from the expected. Not here: the steps.

use std::{collections::BTreeMap, io, net::Ipv4Addr};

use super::steps::{Expect, Ports, Step};
use crate::cli::client::{Reply, send, send_tls};

/// Sends the requests of a step; gives what is not as it should be.
pub(super) async fn verify(step: &Step, ports: Ports, certificate: &[u8]) -> Vec<String> {
    let mut replies = Vec::new();
    for _ in 0..step.ask.times {
        match ask(step, ports, certificate).await {
            Ok(reply) => replies.push(reply),
            Err(error) => return vec![format!("no answer: {error}")],
        }
    }
    step.expect.iter().filter_map(|expect| differs(expect, &replies)).collect()
}

async fn ask(step: &Step, ports: Ports, certificate: &[u8]) -> io::Result<Reply> {
    let request = step.ask.request().map_err(io::Error::other)?;
    if step.ask.is_tls() {
        send_tls((Ipv4Addr::LOCALHOST, ports.https).into(), certificate, request).await
    } else {
        send((Ipv4Addr::LOCALHOST, ports.http).into(), request).await
    }
}

/// What is seen instead; none if it is as expected.
pub(super) fn differs(expect: &Expect, replies: &[Reply]) -> Option<String> {
    let reply = replies.first()?;
    let (what, seen, expect) = match *expect {
        Expect::Answered(status) => {
            ("status".to_owned(), reply.status.as_str().to_owned(), status.to_string())
        }
        Expect::Field(name, value) => {
            (name.to_owned(), reply.field(name).unwrap_or_default().to_owned(), value.to_owned())
        }
        Expect::ServedBy(service) => ("service".to_owned(), service_of(reply), service.to_owned()),
        Expect::Seen(pointer, value) => {
            (pointer.to_owned(), seen_at(reply, pointer), value.to_owned())
        }
        Expect::SeenPart(pointer, part) => {
            let seen = seen_at(reply, pointer);
            let found = if seen.contains(part) { part.to_owned() } else { seen };
            (pointer.to_owned(), found, part.to_owned())
        }
        Expect::Shares(shares) => {
            let mut seen = BTreeMap::<String, u32>::new();
            for reply in replies {
                *seen.entry(service_of(reply)).or_default() += 1;
            }
            let expect: BTreeMap<_, _> =
                shares.iter().map(|(service, count)| ((*service).to_owned(), *count)).collect();
            ("shares".to_owned(), format!("{seen:?}"), format!("{expect:?}"))
        }
    };
    (seen != expect).then(|| format!("{what} is {seen:?}, not {expect:?}"))
}

fn service_of(reply: &Reply) -> String {
    reply.field("x-echo-service").unwrap_or_default().to_owned()
}

fn seen_at(reply: &Reply, pointer: &str) -> String {
    let echo: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    echo.pointer(pointer).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}
