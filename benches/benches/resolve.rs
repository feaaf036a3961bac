//! Time from resources to a table and the status of all: from nothing, and after a change of one.

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use gateway_core::{
    api::{Gateway, HttpRoute, HttpRouteRule, Listener, Resource, Service},
    build::{Builder, build},
    scope::ControllerScope,
    snapshot::{Change, Snapshot},
};

/// Routes that share a host.
const ROUTES_PER_HOST: usize = 10;

fn from_nothing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolve/build");
    group.sample_size(10);
    for size in [1_000, 10_000, 100_000] {
        let snapshot = snapshot(size);
        let scope = ControllerScope::all();
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_with_large_drop(|| build(&snapshot, &scope));
        });
    }
    group.finish();
}

/// From the changed object to the table that a server publishes.
fn change_one_route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resolve/change-one-route");
    for size in [1_000, 10_000, 100_000] {
        let mut builder = Builder::of(snapshot(size), ControllerScope::all());
        let mut version = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || {
                    version += 1;
                    Change::from(route((version * 7919) % size, version))
                },
                |change| builder.apply([change]),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

fn snapshot(size: usize) -> Snapshot {
    let gateway = Gateway::new("bench", "gateway").listener(Listener::http("web", 80));
    let services = (0..size / ROUTES_PER_HOST).map(|n| Resource::from(service(n)));
    let routes = (0..size).map(|n| Resource::from(route(n, 0)));
    [Resource::from(gateway)].into_iter().chain(services).chain(routes).collect()
}

fn service(n: usize) -> Service {
    Service::new("bench", format!("s{n:05}")).port(8080)
}

/// Version `version` of route `n`: another path each time, on the same host.
fn route(n: usize, version: usize) -> HttpRoute {
    let host = n / ROUTES_PER_HOST;
    let rule = HttpRouteRule::new()
        .path_prefix(format!("/r{}/v{version}", n % ROUTES_PER_HOST))
        .backend(format!("s{host:05}"), 8080);
    HttpRoute::new("bench", format!("r{n:06}"))
        .parent("gateway")
        .hostname(format!("h{host:05}.example.test"))
        .rule(rule)
}

criterion_group!(benches, from_nothing, change_one_route);
criterion_main!(benches);
