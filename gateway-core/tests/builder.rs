//! A builder that follows changes is always where a fresh build would be, and the order in which
//! resources arrive changes nothing.

use std::fmt::Write as _;

use gateway_core::{
    api::{
        BackendTlsPolicy, FilterType, FromNamespaces, Gateway, GrpcRoute, GrpcRouteRule,
        HttpHeaderFilter, HttpRoute, HttpRouteFilter, HttpRouteRule, Kind, Listener, ListenerSet,
        Namespace, ObjectKey, ParentReference, ReferenceGrant, Resource, Service, TcpRoute,
        Timestamp,
    },
    build::{Build, Builder, build},
    compile::{Ingress, RouteTable},
    decide::decide,
    matcher::RequestHead,
    resolve::StatusReport,
    scope::ControllerScope,
    snapshot::{Change, Snapshot},
};
use http::{HeaderMap, Method};
use proptest::{collection::vec, prelude::*, sample::select};

const NAMESPACES: [&str; 2] = ["a", "b"];
const HOSTS: [&str; 5] = ["", "x.example", "y.example", "*.example", "not_valid"];
const PATHS: [&str; 3] = ["/", "/p", "/p/q"];

fn namespace() -> impl Strategy<Value = &'static str> {
    select(&NAMESPACES[..])
}

fn aged(resource: impl Into<Resource>, age: Option<u8>) -> Resource {
    let mut resource = resource.into();
    let created = age.map(|age| Timestamp::new(format!("2024-01-01T00:00:{age:02}Z")));
    resource.metadata_mut().creation_timestamp = created;
    resource.metadata_mut().generation = Some(1);
    resource
}

fn age() -> impl Strategy<Value = Option<u8>> {
    proptest::option::of(0u8..3)
}

fn listener() -> impl Strategy<Value = Listener> {
    let from = prop_oneof![Just(FromNamespaces::Same), Just(FromNamespaces::All)];
    (0usize..4, select(&HOSTS[..4]), select(vec![80u16, 81]), 0u8..8, from).prop_map(
        |(name, host, port, protocol, from)| {
            let name = format!("l{name}");
            let listener = match protocol {
                0 => Listener::tcp(name, port),
                1 => Listener::https(name, port, "missing"),
                _ => Listener::http(name, port),
            };
            let listener = if host.is_empty() { listener } else { listener.hostname(host) };
            listener.allow_routes(from)
        },
    )
}

fn gateway() -> impl Strategy<Value = Resource> {
    (namespace(), 0usize..2, vec(listener(), 0..4), age()).prop_map(|(ns, name, listeners, age)| {
        let gateway =
            Gateway::new(ns, format!("gw{name}")).allow_listener_sets(FromNamespaces::Same);
        aged(listeners.into_iter().fold(gateway, Gateway::listener), age)
    })
}

fn listener_set() -> impl Strategy<Value = Resource> {
    (namespace(), 0usize..2, vec(listener(), 0..3), age()).prop_map(|(ns, name, listeners, age)| {
        let set = ListenerSet::new(ns, format!("set{name}"), "gw0");
        aged(listeners.into_iter().fold(set, ListenerSet::listener), age)
    })
}

fn parent() -> impl Strategy<Value = ParentReference> {
    (namespace(), 0usize..3, proptest::option::of(0usize..3)).prop_map(|(ns, name, section)| {
        let parent = match name {
            2 => ParentReference::listener_set("set0"),
            other => ParentReference::gateway(format!("gw{other}")),
        };
        let parent = parent.in_namespace(ns);
        match section {
            Some(section) => parent.section(format!("l{section}")),
            None => parent,
        }
    })
}

fn http_rule() -> impl Strategy<Value = HttpRouteRule> {
    (select(&PATHS[..]), namespace(), 0usize..3, 0u8..6).prop_map(|(path, ns, service, extra)| {
        let reference =
            gateway_core::api::BackendObjectReference::service(format!("s{service}"), 80)
                .in_namespace(ns);
        let rule = HttpRouteRule::new().path_prefix(path).backend_ref(reference);
        match extra {
            0 => rule.or().path_regex("("),
            1 => rule.filter(HttpRouteFilter::request_headers(
                HttpHeaderFilter::default().set("x-a", "1"),
            )),
            2 => rule.filter(HttpRouteFilter {
                kind: FilterType::Unknown("Novel".into()),
                ..HttpRouteFilter::default()
            }),
            _ => rule,
        }
    })
}

fn http_route() -> impl Strategy<Value = Resource> {
    let hosts = vec(select(&HOSTS[1..]), 0..3);
    (namespace(), 0usize..4, vec(parent(), 0..3), hosts, vec(http_rule(), 0..3), age()).prop_map(
        |(ns, name, parents, hosts, rules, age)| {
            let mut route = HttpRoute::new(ns, format!("r{name}"));
            route.spec.parent_refs = parents;
            let route = hosts.into_iter().fold(route, HttpRoute::hostname);
            aged(rules.into_iter().fold(route, HttpRoute::rule), age)
        },
    )
}

fn grpc_route() -> impl Strategy<Value = Resource> {
    (namespace(), 0usize..2, vec(parent(), 0..2), 0usize..3, age()).prop_map(
        |(ns, name, parents, service, age)| {
            let rule = GrpcRouteRule::new().service("p").backend(format!("s{service}"), 80);
            let mut route = GrpcRoute::new(ns, format!("g{name}")).rule(rule);
            route.spec.parent_refs = parents;
            aged(route, age)
        },
    )
}

fn other() -> impl Strategy<Value = Resource> {
    prop_oneof![
        (namespace(), 0usize..3).prop_map(|(ns, name)| {
            aged(Service::new(ns, format!("s{name}")).named_port("http", 80), None)
        }),
        (namespace(), any::<bool>()).prop_map(|(ns, http)| {
            let kind = if http { Kind::HttpRoute } else { Kind::GrpcRoute };
            let grant = ReferenceGrant::new(ns, format!("{kind}")).to(Kind::Service);
            let from = NAMESPACES.iter().fold(grant, |grant, from| grant.from(kind, *from));
            aged(from, None)
        }),
        (namespace(), 0usize..2, 0usize..2, any::<bool>(), age()).prop_map(
            |(ns, name, service, system, age)| {
                let name = format!("p{name}");
                let policy = BackendTlsPolicy::new(ns, name, format!("s{service}"), "s.example");
                aged(if system { policy.system_ca() } else { policy.ca_config_map("ca") }, age)
            }
        ),
        (namespace(), 0usize..2, parent(), age()).prop_map(|(ns, name, parent, age)| {
            let mut route = TcpRoute::new(ns, format!("t{name}"));
            route.spec.parent_refs = vec![parent];
            aged(route, age)
        }),
        namespace().prop_map(|ns| aged(Namespace::new(ns).label("x", "y"), None)),
    ]
}

fn resource() -> impl Strategy<Value = Resource> {
    prop_oneof![
        3 => gateway(),
        1 => listener_set(),
        6 => http_route(),
        2 => grpc_route(),
        4 => other(),
    ]
}

/// Routes come and go more often than the rest.
fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => http_route().prop_map(Change::Upsert),
        2 => grpc_route().prop_map(Change::Upsert),
        1 => resource().prop_map(Change::Upsert),
        3 => http_route().prop_map(|route| Change::Remove(route.key())),
        1 => resource().prop_map(|resource| Change::Remove(resource.key())),
    ]
}

/// What the table makes of requests over all sockets, hosts and paths.
fn decisions(table: &RouteTable) -> String {
    let mut text = String::new();
    let headers = HeaderMap::new();
    for (bind, _) in table.binds() {
        for host in ["x.example", "y.example", "z.example", "other"] {
            for path in PATHS {
                let head = RequestHead {
                    method: &Method::GET,
                    authority: host,
                    path,
                    query: None,
                    headers: &headers,
                };
                let decision = decide(table, &Ingress::plain(bind), &head, |_| 0);
                writeln!(text, "{host}{path} {decision:?}").expect("writing to a String");
            }
        }
    }
    text
}

#[track_caller]
fn assert_same(builder: &Builder, fresh: &Build) {
    assert_eq!(builder.status(), &fresh.status);
    let diagnostics: Vec<_> = builder.diagnostics().cloned().collect();
    assert_eq!(diagnostics, fresh.diagnostics);
    assert_eq!(format!("{:#?}", builder.topology()), format!("{:#?}", fresh.topology));
    assert_eq!(decisions(builder.table()), decisions(&fresh.table));
}

fn changed(before: &StatusReport, after: &StatusReport) -> Vec<ObjectKey> {
    let mut keys: Vec<ObjectKey> = before.iter().chain(after).map(|(key, _)| key.clone()).collect();
    keys.retain(|key| before.get(key) != after.get(key));
    keys.sort();
    keys.dedup();
    keys
}

fn cases(default: u32) -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases.unwrap_or(default))
    }
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn a_builder_is_where_a_fresh_build_would_be(
        resources in vec(resource(), 0..25),
        batches in vec(vec(change(), 1..4), 1..6),
        shared in any::<bool>(),
    ) {
        let scope = ControllerScope::all().shared_sockets(shared);
        let mut builder = Builder::of(Snapshot::from_iter(resources), scope.clone());
        for batch in batches {
            let before = builder.status().clone();
            let applied = builder.apply(batch);
            prop_assert_eq!(&applied.changed, &changed(&before, builder.status()));
            assert_same(&builder, &build(builder.snapshot(), &scope));
        }
    }

    #[test]
    fn the_order_of_arrival_changes_nothing(
        (resources, shuffled) in vec(resource(), 0..25)
            .prop_map(|resources| {
                // Of several with one key the last would win, which is an order of its own.
                let mut seen = std::collections::BTreeSet::new();
                resources
                    .into_iter()
                    .filter(|resource| seen.insert(resource.key()))
                    .collect::<Vec<_>>()
            })
            .prop_flat_map(|resources| (Just(resources.clone()), Just(resources).prop_shuffle())),
    ) {
        let scope = ControllerScope::all();
        let builder = Builder::of(Snapshot::from_iter(resources), scope.clone());
        let fresh = build(&Snapshot::from_iter(shuffled.clone()), &scope);
        assert_same(&builder, &fresh);
        let mut follower = Builder::new(scope);
        for resource in shuffled {
            follower.apply([Change::Upsert(resource)]);
        }
        assert_same(&follower, &fresh);
    }
}
