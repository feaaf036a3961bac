//! A match allocates nothing, whatever the request looks like.

use std::collections::BTreeMap;

use gateway_benches::{
    alloc::{Count, Counting},
    engine::{Engine, bind},
    workload::Workload,
};
use gateway_core::{
    compile::{Ingress, RouteTable},
    matcher::RequestHead,
};
use http::request::Parts;

#[global_allocator]
static COUNTING: Counting = Counting;

fn table(workload: Workload) -> (RouteTable, Vec<Parts>) {
    let table = workload.table(200);
    let requests = table.requests.into_iter().map(|(parts, _)| parts).collect();
    (RouteTable::compile(&workload.table(200).topology(), 1), requests)
}

/// Sends `requests` twice: caches of expressions are filled by the first pass.
#[track_caller]
fn check(table: &RouteTable, requests: &[Parts], hits: bool) {
    let ingress = Ingress::plain(bind(table));
    for pass in ["first", "second"] {
        let before = Count::now();
        let found =
            requests.iter().filter(|parts| table.find(&ingress, &RequestHead::of(parts)).is_ok());
        let found = found.count();
        let allocations = Count::now().since(before).allocations;
        assert_eq!(found, if hits { requests.len() } else { 0 }, "{pass} pass");
        assert!(pass == "first" || allocations == 0, "{allocations} allocations");
    }
}

#[test]
fn every_workload() {
    let misses = [Workload::Miss, Workload::LongPath, Workload::ManySegments, Workload::TwoHeaders];
    for workload in Workload::ALL {
        let (table, requests) = table(workload);
        check(&table, &requests, !misses.contains(&workload));
    }
}

#[test]
fn hosts_of_any_shape() {
    let (table, mut requests) = table(Workload::Hosts);
    let hosts: BTreeMap<&str, bool> = [
        ("H00001.EXAMPLE.TEST:8080", true),
        ("h00001.example.test.", true),
        ("h99999.example.test", false),
        ("", false),
    ]
    .into();
    let long = "a.".repeat(4000);
    for (host, hits) in hosts.into_iter().chain([(&*long, false)]) {
        requests.truncate(64);
        for parts in &mut requests {
            parts.headers.insert("host", host.parse().expect("a header value"));
        }
        check(&table, &requests, hits);
    }
}

#[test]
fn values_that_have_to_be_decoded() {
    let (table, mut requests) = table(Workload::Header);
    for parts in &mut requests {
        let escaped = parts.uri.to_string().replace("q=v", "q=%76");
        parts.uri = escaped.parse().expect("a URI");
    }
    check(&table, &requests, true);
}

#[test]
fn every_engine_finds_the_rules_of_every_workload() {
    for workload in Workload::ALL {
        let table = workload.table(100);
        for engine in Engine::ALL.into_iter().filter(|engine| engine.fits(workload)) {
            let find = engine.build(&table);
            for (parts, expect) in &table.requests {
                assert_eq!(find(parts), *expect, "{engine} {workload} {}", parts.uri);
            }
        }
    }
}
