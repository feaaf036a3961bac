//! Matches a given number of times inside `measured`, for a profiler that counts instructions.
//!
//! usage: `ir list`, or `ir ENGINE WORKLOAD SIZE MATCHES`; `benches/ir.sh` does both.

use std::hint::black_box;

use gateway_benches::{
    engine::{Engine, Find},
    workload::Workload,
};
use http::request::Parts;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [engine, workload, size, matches] = &*arguments {
        let table = workload.parse::<Workload>()?.table(size.parse()?);
        let find = engine.parse::<Engine>()?.build(&table);
        for (parts, expect) in table.requests.iter().take(8) {
            assert_eq!(find(parts), *expect, "{}", parts.uri);
        }
        black_box(measured(&find, &table.requests, matches.parse()?));
        return Ok(());
    }
    for workload in Workload::ALL {
        for engine in Engine::ALL.iter().filter(|engine| engine.fits(workload)) {
            println!("{engine} {workload}");
        }
    }
    Ok(())
}

#[inline(never)]
fn measured(find: &Find, requests: &[(Parts, Option<usize>)], matches: usize) -> usize {
    let requests = requests.iter().cycle().take(matches);
    requests.map(|(parts, _)| black_box(find(black_box(parts))).unwrap_or(0)).sum()
}
