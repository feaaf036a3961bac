//! Bytes for each route: of the index, and of the topology that it refers to.
//!
//! usage: `memory WORKLOAD SIZE`

use gateway_benches::{
    alloc::{Count, Counting},
    workload::Workload,
};
use gateway_core::compile::RouteTable;

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let workload: Workload = arguments.next().ok_or("name a workload")?.parse()?;
    let size: usize = arguments.next().ok_or("name a size")?.parse()?;
    let rules = workload.table(size);
    let start = Count::now();
    let topology = rules.topology();
    let resolved = Count::now();
    let table = RouteTable::compile(&topology, 0x5EED);
    let compiled = Count::now();
    let estimate = table.stats().index_bytes / size;
    let index = compiled.since(resolved).bytes / size.cast_signed();
    let topology = resolved.since(start).bytes / size.cast_signed();
    println!("{workload},{size},{index},{estimate},{topology}");
    Ok(())
}
