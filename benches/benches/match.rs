//! Nanoseconds per match: each workload at several sizes, beside what others need.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway_benches::{engine::Engine, workload::Workload};

fn matches(criterion: &mut Criterion) {
    for workload in Workload::ALL {
        let mut group = criterion.benchmark_group(workload.as_str());
        for size in sizes(workload) {
            let table = workload.table(size);
            for engine in Engine::ALL.into_iter().filter(|engine| is_run(*engine, workload, size)) {
                let find = engine.build(&table);
                let mut requests = table.requests.iter().cycle();
                group.bench_function(BenchmarkId::new(engine.as_str(), size), |bencher| {
                    bencher.iter(|| requests.next().map(|(parts, _)| find(black_box(parts))));
                });
            }
        }
        group.finish();
    }
}

fn sizes(workload: Workload) -> Vec<usize> {
    match workload {
        Workload::Regex | Workload::RegexTail => vec![10, 1_000],
        _ => vec![10, 1_000, 100_000],
    }
}

fn is_run(engine: Engine, workload: Workload, size: usize) -> bool {
    // A scan of 100,000 rules takes a tenth of a millisecond; one size shows the trend.
    engine.fits(workload) && (engine != Engine::Linear || size <= 1_000)
}

criterion_group!(benches, matches);
criterion_main!(benches);
