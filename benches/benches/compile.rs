//! Time to compile a topology, and to change one route of a table.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway_benches::workload::Workload;
use gateway_core::compile::RouteTable;

fn compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for workload in [Workload::Flat, Workload::Hosts, Workload::Header] {
        for size in [10_000, 100_000] {
            let topology = workload.table(size).topology();
            group.bench_function(BenchmarkId::new(workload.as_str(), size), |bencher| {
                bencher.iter_with_large_drop(|| RouteTable::compile(&topology, 1));
            });
        }
    }
    group.finish();
}

fn edit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("edit");
    for (workload, size) in
        [(Workload::Hosts, 1_000), (Workload::Hosts, 100_000), (Workload::Flat, 1_000)]
    {
        let rules = workload.table(size);
        let table = RouteTable::compile(&rules.topology(), 1);
        let route = rules.rules[size / 2].route(size / 2);
        group.bench_function(BenchmarkId::new(workload.as_str(), size), |bencher| {
            bencher.iter_batched(
                || table.edit(),
                |mut edit| {
                    edit.upsert(route.clone());
                    edit.finish()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, compile, edit);
criterion_main!(benches);
