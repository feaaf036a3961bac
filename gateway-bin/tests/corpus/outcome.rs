//! From what clients heard, backends got and the access log tells to what the corpus calls a
//! decision.

use std::collections::{BTreeMap, BTreeSet};

use gateway_core::{filter::Filter, resolve::topology::Topology};
use gateway_testkit::corpus::{Decision, Forward, Request, Respond, changed_headers};
use serde_json::Value;

use crate::{
    backends::{NUMBER, Received},
    client::{Answer, Heard},
    play::{Sending, by_key},
};

/// Fields of answers that say how they are sent, and when.
const OF_EVERY_ANSWER: [&str; 3] = ["connection", "content-length", "date"];
/// Fields that the gateway adds to every request, and those of one hop.
const OF_EVERY_REQUEST: [&str; 5] =
    ["connection", "transfer-encoding", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];

/// What others than the clients know, by the clients' addresses.
pub(crate) struct Evidence {
    received: Vec<Received>,
    by_client: BTreeMap<String, Vec<usize>>,
    lines: BTreeMap<String, Vec<Value>>,
}

impl Evidence {
    pub(crate) fn new(received: Vec<Received>, log: &str) -> Self {
        let lines = log.lines().map(|line| {
            let line: Value = serde_json::from_str(line).expect("lines of the log are JSON");
            (text(&line, "peer").to_owned(), line)
        });
        let clients = received.iter().enumerate().map(|(at, it)| (it.client.clone(), at));
        Self { by_client: by_key(clients), lines: by_key(lines), received }
    }
}

/// What became of a request.
pub(crate) fn decision(
    request: &Request,
    sending: &Sending,
    topology: &Topology,
    evidence: &Evidence,
) -> Decision {
    let client = sending.client.to_string();
    let lines = evidence.lines.get(&client).map_or(&[][..], |lines| lines);
    let answer = match (&sending.heard, lines) {
        (Heard::Refused | Heard::NoHandshake, []) => return Decision::respond(404, "no-listener"),
        (Heard::Answer(answer), [_]) => answer,
        (heard, lines) => return Decision::respond(0, &format!("{heard:?}, logged {lines:?}")),
    };
    let line = &lines[0];
    let number = answer.header(NUMBER).map(|number| number.parse::<usize>().expect("a number"));
    match (number, line.get("cause")) {
        (None, Some(_)) => Decision::Respond(answered(answer, line)),
        (Some(number), None) => {
            let forward = Forwarded { request, answer, line, number, topology, evidence };
            Decision::Forward(forward.decision(&client))
        }
        _ => Decision::respond(0, &format!("{answer:?}, logged {line}")),
    }
}

fn answered(answer: &Answer, line: &Value) -> Respond {
    let cause = match text(line, "cause") {
        // The corpus calls all that is wrong with a request by the name of its status.
        "refused" if answer.status == 400 => "bad-request",
        cause => cause,
    };
    let by_filter = matches!(cause, "redirect" | "cors-preflight");
    Respond {
        status: answer.status,
        grpc: answer.header("grpc-status").and_then(|code| code.parse().ok()),
        cause: cause.to_owned(),
        headers: if by_filter { own_headers(answer) } else { BTreeSet::new() },
    }
}

/// The fields of an answer that neither the backend nor its way is the reason for.
fn own_headers(answer: &Answer) -> BTreeSet<String> {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| name != NUMBER && !OF_EVERY_ANSWER.contains(&&**name));
    changed_headers(&[], &headers)
}

struct Forwarded<'a> {
    request: &'a Request,
    answer: &'a Answer,
    line: &'a Value,
    number: usize,
    topology: &'a Topology,
    evidence: &'a Evidence,
}

impl Forwarded<'_> {
    fn decision(&self, client: &str) -> Forward {
        let got = &self.evidence.received[self.number];
        let logged = text(self.line, "backend");
        let backend = match logged == got.backend {
            true => got.backend.clone(),
            false => format!("{}, logged as {logged}", got.backend),
        };
        let (target, host) = (self.request.path_and_query(), self.request.authority());
        Forward {
            route: format!("{} {}", text(self.line, "kind"), text(self.line, "route")),
            rule: self.rule(),
            backend: Some(backend),
            path: Some(got.target.clone()).filter(|path| path != target),
            host: Some(got.host.clone()).filter(|its| its != host),
            headers: self.changed(got),
            mirrors: self.mirrors(client),
            response_headers: own_headers(self.answer),
            ..Forward::default()
        }
    }

    /// The place of the rule; the log has its name, if it has one.
    fn rule(&self) -> usize {
        let (name, route) = (text(self.line, "rule"), text(self.line, "route"));
        let is_ours = |key: &gateway_core::api::ObjectKey| {
            key.kind.as_str() == text(self.line, "kind")
                && format!("{}/{}", key.namespace, key.name) == route
        };
        let routes = self.topology.routes.iter().filter(|(key, _)| is_ours(key));
        let named = routes.flat_map(|(_, route)| &route.rules);
        let mut named = named.filter(|rule| rule.name.as_deref() == Some(name));
        match named.next() {
            Some(rule) => rule.index.into(),
            None => name.parse().unwrap_or(usize::MAX),
        }
    }

    fn changed(&self, got: &Received) -> BTreeSet<String> {
        let without = |mut lines: Vec<(String, String)>| {
            lines.retain(|(name, _)| !OF_EVERY_REQUEST.contains(&&**name));
            lines
        };
        changed_headers(&without(self.request.headers()), &without(got.headers.clone()))
    }

    /// Backends that got the request beside the one that answered, and were not asked for leave.
    fn mirrors(&self, client: &str) -> BTreeSet<String> {
        let numbers = self.evidence.by_client.get(client).into_iter().flatten();
        let others = numbers.filter(|number| **number != self.number);
        let mut others: BTreeSet<_> =
            others.map(|number| self.evidence.received[*number].backend.clone()).collect();
        let rules = self.topology.routes.values().flat_map(|route| &route.rules);
        for filter in rules.flat_map(|rule| &rule.filters) {
            if let Filter::ExternalAuth(auth) = filter {
                others.remove(&auth.backend.key.to_string());
            }
        }
        others
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
