//! The engine finds what a plain scan over all matches finds.

mod topology;

use std::cmp::Ordering;

use gateway_core::{
    api::ObjectKey,
    compile::{Ingress, Miss, RouteTable},
    matcher::{HostPattern, Precedence, RequestHead, is_grpc_content_type},
    resolve::topology::{Bind, ListenerId, Route, Topology},
};
use proptest::prelude::*;

/// Route, place of the rule, place of the match.
type Answer = Result<(ObjectKey, u16, usize), Miss>;

// === the reference ===

/// Tries every match of every route of the listener; the first in the order of the specification.
fn scan(topology: &Topology, bind: &Bind, sni: Option<Option<&str>>, head: &RequestHead) -> Answer {
    let listener = listener(topology, bind, head.host());
    if let Some(sni) = sni {
        let chosen = self::listener(topology, bind, sni.unwrap_or("")).ok_or(Miss::NoListener)?;
        if listener.is_some_and(|listener| listener != chosen) {
            return Err(Miss::Misdirected);
        }
    }
    let listener = listener.ok_or(Miss::NoListener)?;
    let mut matches: Vec<_> = topology
        .routes
        .values()
        .flat_map(|route| hosts(route, listener).map(move |host| (route, host)))
        .filter(|(_, host)| host.is_match(head.host()))
        .flat_map(|(route, host)| route.rules.iter().map(move |rule| (route, host, rule)))
        .flat_map(|(route, host, rule)| {
            (0..).zip(&rule.matches).map(move |(place, entry)| (route, host, rule, place, entry))
        })
        .filter(|(.., entry)| entry.is_match(head))
        .collect();
    matches.sort_by(|a, b| {
        (a.1.specificity_cmp(b.1))
            .then_with(|| Precedence::of(a.4).cmp(&Precedence::of(b.4)))
            .then_with(|| seniority(a.0, b.0))
            .then_with(|| (a.2.index, a.3).cmp(&(b.2.index, b.3)))
    });
    match matches.first() {
        Some((route, _, rule, place, _)) => Ok((route.key.clone(), rule.index, *place)),
        None => Err(Miss::NoRoute { grpc: is_grpc_content_type(head.headers) }),
    }
}

fn listener(topology: &Topology, bind: &Bind, host: &str) -> Option<ListenerId> {
    let hostname = |id: &ListenerId| &topology.listeners[id.0 as usize].hostname;
    let covers = |id: &&ListenerId| hostname(id).is_match(host);
    bind.listeners
        .iter()
        .filter(covers)
        .min_by(|a, b| hostname(a).specificity_cmp(hostname(b)))
        .copied()
}

fn hosts(route: &Route, listener: ListenerId) -> impl Iterator<Item = &HostPattern> {
    let attached = route.attachments.iter().filter(move |entry| entry.listener == listener);
    attached.flat_map(|entry| &entry.hostnames)
}

fn seniority(a: &Route, b: &Route) -> Ordering {
    let age = |route: &Route| (route.created.is_none(), route.created);
    let name = |route: &Route| format!("{}/{}", route.key.namespace, route.key.name);
    age(a).cmp(&age(b)).then(name(a).cmp(&name(b))).then(a.key.kind.cmp(&b.key.kind))
}

// === the comparison ===

fn find(table: &RouteTable, ingress: &Ingress, head: &RequestHead) -> Answer {
    let found = table.find(ingress, head)?;
    Ok((found.route.key.clone(), found.rule.index, found.match_index))
}

const CASES: u32 = 500;
const REQUESTS: usize = 130;

proptest! {
    // Each request is sent to both sockets: 2 * 500 * 130 = 130,000 look-ups.
    #![proptest_config(topology::cases(CASES))]
    #[test]
    fn the_table_finds_what_a_scan_finds(
        topology in topology::topology(),
        requests in proptest::collection::vec(topology::request(), REQUESTS),
        seed: u64,
    ) {
        let table = RouteTable::compile(&topology, seed);
        for request in &requests {
            let head = request.head();
            for (bind, tls) in topology.binds.iter().zip([None, Some(request.sni)]) {
                let id = table.bind(&bind.key).expect("every socket is in the table");
                let got = find(&table, &Ingress { bind: id, tls }, &head);
                prop_assert_eq!(got, scan(&topology, bind, tls, &head), "{:?}", request);
            }
        }
    }
}
