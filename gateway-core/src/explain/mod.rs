//! Why a request goes where it goes: every step from the socket to the backend.
//!
//! In: a [`RouteTable`] and the head of a request. Out: an [`Explanation`], as data and as a tree
//! to read. Not here: the way that requests really take, which is quick and keeps no notes; a test
//! holds that both come to the same.

mod failure;
mod outcome;
mod render;

use std::sync::Arc;

use serde::Serialize;

use crate::{
    backend::WeightedBackend,
    compile::{Ingress, Miss, RankedMatch, RouteTable},
    decide::{Cause, Respond},
    filter::RequestFacts,
    matcher::{HostPattern, PathPattern, Precedence, RequestHead, is_grpc_content_type},
    resolve::topology::{Listener, ListenerProtocol},
};

pub use failure::Failure;
pub use outcome::Outcome;

/// All that was looked at for a request, in the order of looking.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Method, host and path of the request.
    pub request: String,
    /// The listeners of the socket, the most specific first.
    pub listeners: Vec<ListenerStep>,
    /// Hosts of the listener that cover the request's host, the most specific first. Those after
    /// the host of the winner are not looked at.
    pub hosts: Vec<HostStep>,
    /// What becomes of the request.
    pub verdict: Verdict,
    /// If no rule serves the request, the match that has the least against it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_miss: Option<MatchStep>,
}

/// A listener of the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStep {
    /// The object that holds it, and its name.
    pub listener: String,
    /// Its hostname, `*` for none.
    pub hostname: String,
    /// Whether the hostname covers the host of the request.
    pub serves_host: bool,
    /// Whether it is the most specific one for the host.
    pub chosen_by_host: bool,
    /// Whether it is the most specific one for the server name of the connection; none without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen_by_sni: Option<bool>,
}

/// A host that routes are attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStep {
    /// The host, with a wildcard or `*` for any.
    pub hostname: String,
    /// Matches whose path fits, the best first; of many, those that have the least against them.
    pub matches: Vec<MatchStep>,
    /// How many matches have another path.
    pub other_paths: usize,
    /// How many matches with a fitting path are not listed.
    pub not_listed: usize,
}

/// A match that was compared with the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchStep {
    /// Kind, namespace and name of the route.
    pub route: String,
    /// The place of the rule in the route.
    pub rule: u16,
    /// The name of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_name: Option<String>,
    /// The place of the match in the rule.
    pub match_index: usize,
    /// What it asks for.
    pub asks: String,
    /// What the request does not have; empty if all of it fits.
    pub failures: Vec<Failure>,
    /// If all of it fits and another wins: what the other has over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loses_because: Option<&'static str>,
}

/// What becomes of the request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// A rule serves it.
    #[serde(rename_all = "camelCase")]
    Forward {
        /// The match that won.
        winner: Box<MatchStep>,
        /// What the filters of the rule do, in order.
        filters: Vec<String>,
        /// The backends to choose from.
        backends: Vec<BackendStep>,
        /// What comes of filters and backends together.
        outcome: Outcome,
        /// Filters that were not tried and might answer before.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        unless: Vec<String>,
    },
    /// The gateway answers.
    #[serde(rename_all = "camelCase")]
    Respond {
        /// The HTTP status.
        status: u16,
        /// The code in `grpc-status`, for gRPC requests.
        #[serde(skip_serializing_if = "Option::is_none")]
        grpc_status: Option<u8>,
        /// Why, as in metrics.
        cause: &'static str,
    },
}

/// A backend of the winning rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendStep {
    /// Namespace, name and port; or why it cannot be used, in which case its share gets 500.
    pub backend: Result<String, String>,
    /// Its share of the requests, from 0 to 1.
    pub share: f64,
    /// What filters for this backend alone do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<String>,
}

/// So many matches of a host are listed.
const LISTED: usize = 64;

/// Explains what [`decide`](crate::decide::decide) decides.
#[must_use]
pub fn explain(table: &RouteTable, ingress: &Ingress<'_>, head: &RequestHead<'_>) -> Explanation {
    let listeners = table.listeners_by_specificity(ingress.bind);
    let covering =
        |host: &str| listeners.iter().copied().find(|listener| listener.hostname.is_match(host));
    let by_host = covering(head.host());
    let by_sni = ingress.tls.map(|sni| covering(sni.unwrap_or("")));
    let mut explanation = Explanation {
        request: format!("{} {}{}", head.method, head.host(), head.path),
        listeners: listener_steps(&listeners, head.host(), by_host, by_sni),
        hosts: Vec::new(),
        verdict: respond(Miss::NoListener.into()),
        nearest_miss: None,
    };
    match serving(by_host, by_sni) {
        Err(miss) => explanation.verdict = respond(miss.into()),
        Ok(listener) => explanation.look_at_hosts(table, listener, head),
    }
    explanation
}

fn serving<'t>(
    by_host: Option<&'t Arc<Listener>>,
    by_sni: Option<Option<&'t Arc<Listener>>>,
) -> Result<&'t Arc<Listener>, Miss> {
    let Some(by_sni) = by_sni else {
        let is_plain = |listener: &&Arc<Listener>| listener.protocol == ListenerProtocol::Http;
        return by_host.filter(is_plain).ok_or(Miss::NoListener);
    };
    match (by_sni, by_host) {
        (Some(sni), Some(host)) if Arc::ptr_eq(sni, host) => Ok(host),
        (Some(_), Some(_)) => Err(Miss::Misdirected),
        (None, _) | (_, None) => Err(Miss::NoListener),
    }
}

fn listener_steps(
    listeners: &[&Arc<Listener>],
    host: &str,
    by_host: Option<&Arc<Listener>>,
    by_sni: Option<Option<&Arc<Listener>>>,
) -> Vec<ListenerStep> {
    let step = |listener: &&Arc<Listener>| {
        let is = |other: Option<&Arc<Listener>>| other.is_some_and(|o| Arc::ptr_eq(o, listener));
        ListenerStep {
            listener: format!("{} {}", listener.owner, listener.name),
            hostname: listener.hostname.to_string(),
            serves_host: listener.hostname.is_match(host),
            chosen_by_host: is(by_host),
            chosen_by_sni: by_sni.map(is),
        }
    };
    listeners.iter().map(step).collect()
}

fn respond(answer: Respond) -> Verdict {
    let Respond { status, grpc_status, cause } = answer;
    Verdict::Respond { status, grpc_status, cause: Cause::as_str(cause) }
}

impl Explanation {
    fn look_at_hosts(
        &mut self,
        table: &RouteTable,
        listener: &Arc<Listener>,
        head: &RequestHead<'_>,
    ) {
        self.verdict = respond(Miss::NoRoute { grpc: is_grpc_content_type(head.headers) }.into());
        for (hostname, matches) in table.matches_by_rank(listener, head.host()) {
            let (fitting, others): (Vec<_>, Vec<_>) =
                matches.iter().partition(|found| found.entry.path.is_match(head.path));
            let mut steps: Vec<MatchStep> =
                fitting.iter().map(|found| MatchStep::new(found, head)).collect();
            let winner = steps.iter().position(|step| step.failures.is_empty());
            if let Some(place) = winner {
                for (step, found) in steps.iter_mut().zip(&fitting).skip(place + 1) {
                    if step.failures.is_empty() {
                        step.loses_because = Some(advantage(&fitting[place], found));
                    }
                }
            }
            self.hosts.push(HostStep::new(hostname, &steps, others.len()));
            if let Some(place) = winner {
                let winner = steps.swap_remove(place);
                self.verdict = Verdict::forward(winner, &fitting[place], listener, head);
                self.nearest_miss = None;
                return;
            }
            // Of those with another path, one that would fit otherwise.
            let other = others.iter().min_by_key(|found| !found.entry.predicates_hold(head));
            let other = other.map(|found| MatchStep::new(found, head));
            let nearest = self.nearest_miss.take().into_iter().chain(steps).chain(other);
            self.nearest_miss = nearest.min_by_key(MatchStep::distance);
        }
    }
}

impl HostStep {
    fn new(hostname: &HostPattern, fitting: &[MatchStep], other_paths: usize) -> Self {
        // The winner has nothing against it and is the first of those, so it is always listed.
        let mut places: Vec<usize> = (0..fitting.len()).collect();
        places.sort_by_key(|place| fitting[*place].failures.len());
        places.truncate(LISTED);
        places.sort_unstable();
        Self {
            hostname: hostname.to_string(),
            other_paths,
            not_listed: fitting.len() - places.len(),
            matches: places.into_iter().map(|place| fitting[place].clone()).collect(),
        }
    }
}

/// What gives `winner` precedence over `other`, which is on the same host and fits as well.
fn advantage(winner: &RankedMatch<'_>, other: &RankedMatch<'_>) -> &'static str {
    let (a, b) = (Precedence::of(winner.entry), Precedence::of(other.entry));
    if a.class != b.class {
        "the other's kind of path comes first"
    } else if a.path_length != b.path_length {
        "the other's path is longer"
    } else if a.grpc_method_length != b.grpc_method_length {
        "the other's gRPC method is longer"
    } else if a.method != b.method {
        "the other names a method"
    } else if a.headers != b.headers {
        "the other names more headers"
    } else if a.query_params != b.query_params {
        "the other names more query parameters"
    } else if winner.route.key == other.route.key {
        "the other stands before it in the route"
    } else if winner.route.created != other.route.created {
        "the other's route is older"
    } else {
        "the name of the other's route comes first"
    }
}

impl MatchStep {
    fn new(found: &RankedMatch<'_>, head: &RequestHead<'_>) -> Self {
        Self {
            route: found.route.key.to_string(),
            rule: found.rule.index,
            rule_name: found.rule.name.as_deref().map(str::to_owned),
            match_index: found.match_index,
            asks: found.entry.to_string(),
            failures: failure::failures(found.entry, head),
            loses_because: None,
        }
    }

    /// How far the request is from the match; another path is worse than any other difference.
    fn distance(&self) -> (bool, usize) {
        (self.failures.iter().any(Failure::is_path), self.failures.len())
    }
}

impl Verdict {
    fn forward(
        winner: MatchStep,
        found: &RankedMatch<'_>,
        listener: &Listener,
        head: &RequestHead<'_>,
    ) -> Self {
        let rule = found.rule;
        let facts = RequestFacts {
            scheme: listener.scheme(),
            listener_port: listener.port,
            matched_prefix: match &found.entry.path {
                PathPattern::Prefix(prefix) => Some(prefix.len()),
                PathPattern::Exact(_) | PathPattern::Regex(_) => None,
            },
        };
        let (outcome, unless) = outcome::outcome(rule, head, &facts);
        let backends = rule.backends.as_slice();
        let total: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        Self::Forward {
            winner: Box::new(winner),
            filters: rule.filters.iter().map(ToString::to_string).collect(),
            backends: backends.iter().map(|backend| BackendStep::new(backend, total)).collect(),
            outcome,
            unless,
        }
    }
}

impl BackendStep {
    fn new(backend: &WeightedBackend, total: u64) -> Self {
        let target = match &backend.target {
            Ok(backend) => Ok(backend.key.to_string()),
            Err(reason) => Err(reason.to_string()),
        };
        Self {
            backend: target,
            share: f64::from(backend.weight) / (total.max(1) as f64),
            filters: backend.filters.iter().map(ToString::to_string).collect(),
        }
    }
}
