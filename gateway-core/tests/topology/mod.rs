//! Topologies and requests from small alphabets, so that everything collides.

use std::sync::{Arc, LazyLock};

use gateway_core::{
    api::{Kind, ObjectKey},
    backend::{Turns, WeightedBackends},
    matcher::{
        HeaderPredicate, HostPattern, PathPattern, Pattern, QueryPredicate, RegexLimits,
        RequestHead, RouteMatch,
    },
    resolve::topology::{
        Attachment, Bind, BindAddress, BindKey, Listener, ListenerId, ListenerProtocol,
        ListenerTls, Route, Rule, Timeouts, TlsOptions, Topology, Transport,
    },
};
use http::{HeaderName, HeaderValue, Method};
use proptest::{
    collection::vec, option, prelude::*, sample::select, test_runner::FileFailurePersistence,
};

/// A request that a [`RequestHead`] can be borrowed from.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) sni: Option<&'static str>,
    pub(crate) authority: &'static str,
    pub(crate) path: String,
    pub(crate) method: Method,
    pub(crate) query: Option<&'static str>,
    pub(crate) headers: http::HeaderMap,
}

impl Request {
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            authority: self.authority,
            path: &self.path,
            query: self.query,
            headers: &self.headers,
        }
    }
}

/// Failing cases are kept beside the tests.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let regressions = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(regressions)), ..<_>::default() }
}

pub(crate) const HTTP: u16 = 80;
pub(crate) const HTTPS: u16 = 443;

const LISTENER_HOSTS: [&str; 5] = ["", "*.x", "a.x", "*.a.x", "b.a.x"];
const ROUTE_HOSTS: [&str; 8] = ["a.x", "b.x", "*.x", "*.a.x", "b.a.x", "*.b.a.x", "*.y", "x"];
const REQUEST_HOSTS: [&str; 12] = [
    "a.x",
    "A.X:8080",
    "b.x",
    "b.a.x",
    "B.a.x.",
    "c.b.a.x",
    "d.c.b.a.x",
    "x",
    ".x",
    "z.y",
    "",
    "[::1]:80",
];
const PATHS: [&str; 12] =
    ["/", "/a", "/a/", "/a/b", "/a/b/", "/b", "/ab", "//", "/a//b", "/A", "/a/b/c", "*"];
const EXPRESSIONS: [&str; 12] = [
    "/a/.*",
    "/[ab]",
    "/a(/.*)?",
    "^/a/b$",
    ".*",
    "/a/[^/]+",
    "(?i)/A/B",
    "/a|/b",
    "/a/b+",
    "/a/(b|c)/.*",
    r"/a/\w",
    "/a/b/?",
];

static REGEXES: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    let regex = |source: &&str| {
        Pattern::regex(source, RegexLimits::default()).expect("the expressions are valid")
    };
    EXPRESSIONS.iter().chain(&["[12]", "1,[12]", "1.*"]).map(regex).collect()
});

/// A path of up to 40 segments: some are deeper than the index goes.
fn deep() -> impl Strategy<Value = String> {
    (28..40usize).prop_map(|depth| "/a".repeat(depth))
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![9 => select(&PATHS[..]).prop_map(str::to_owned), 1 => deep()]
}

/// In a crowd all matches are about few paths, so that other things have to tell them apart.
fn path_pattern(is_crowd: bool) -> impl Strategy<Value = PathPattern> {
    let crowd = if is_crowd { 50 } else { 0 };
    prop_oneof![
        crowd => select(&["/", "/a"][..]).prop_map(PathPattern::prefix),
        crowd / 10 => Just(PathPattern::exact("/a")),
        crowd / 10 => Just(PathPattern::Regex(REGEXES[4].clone())),
        2 => path().prop_map(|path| PathPattern::exact(&path)),
        4 => path().prop_map(|path| PathPattern::prefix(&path)),
        1 => (0..EXPRESSIONS.len()).prop_map(|n| PathPattern::Regex(REGEXES[n].clone())),
    ]
}

fn value() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        6 => select(&["1", "2", "3", "", "1,2", " "][..]).prop_map(Pattern::exact),
        1 => (EXPRESSIONS.len()..REGEXES.len()).prop_map(|n| REGEXES[n].clone()),
    ]
}

const HEADERS: [HeaderName; 2] = [HeaderName::from_static("x-a"), HeaderName::from_static("x-b")];

fn route_match(is_grpc: bool, is_crowd: bool) -> impl Strategy<Value = RouteMatch> {
    let methods = [Method::GET, Method::POST, Method::from_bytes(b"LINK").expect("a token")];
    let headers = [0, 1].map(|n| option::weighted(0.3, value().prop_map(move |value| (n, value))));
    let query =
        ["q", "r"].map(|n| option::weighted(0.2, value().prop_map(move |value| (n, value))));
    let grpc_method = option::weighted(0.3, select(&["b", "a"][..]));
    (
        path_pattern(is_crowd),
        option::weighted(0.3, select(methods.to_vec())),
        headers,
        query,
        grpc_method,
    )
        .prop_map(move |(path, method, headers, query, grpc_method)| {
            let grpc_method = grpc_method.filter(|_| is_grpc);
            RouteMatch {
                path: if grpc_method.is_some() { PathPattern::prefix("/") } else { path },
                method,
                headers: headers
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| HeaderPredicate { name: HEADERS[name].clone(), value })
                    .collect(),
                query_params: query
                    .into_iter()
                    .flatten()
                    .map(|(name, value)| QueryPredicate { name: name.into(), value })
                    .collect(),
                grpc: is_grpc,
                grpc_method: grpc_method.map(Pattern::exact),
            }
        })
}

pub(crate) fn rule(index: u16, matches: Vec<RouteMatch>) -> Rule {
    Rule {
        name: None,
        index,
        matches,
        filters: Vec::new(),
        backends: WeightedBackends::default(),
        timeouts: Timeouts::default(),
        retry: None,
        session_persistence: None,
        turns: Turns::default(),
    }
}

/// A route on some of the listeners of [`topology`].
pub(crate) fn route(
    listeners: Vec<Arc<Listener>>,
    is_crowd: bool,
) -> impl Strategy<Value = Arc<Route>> {
    let key = (any::<bool>(), select(&["a", "a-b"][..]), select(&["r", "s", "t"][..]));
    (key, option::of(0..3i64)).prop_flat_map(move |((is_grpc, namespace, name), created)| {
        let kind = if is_grpc { Kind::GrpcRoute } else { Kind::HttpRoute };
        let key = ObjectKey::new(kind, namespace, name);
        let hosts = vec(select(&ROUTE_HOSTS[..]), 0..if is_crowd { 1 } else { 3 });
        let attached = vec(any::<bool>(), listeners.len());
        let listeners = listeners.clone();
        (hosts, attached, vec(vec(route_match(is_grpc, is_crowd), 1..8), 1..4)).prop_map(
            move |(hosts, attached, rules)| {
                let rules = (0..).zip(rules).map(|(n, matches)| Arc::new(rule(n, matches)));
                Arc::new(Route {
                    key: key.clone(),
                    created,
                    attachments: attachments(&listeners, &hosts, &attached),
                    rules: rules.collect(),
                })
            },
        )
    })
}

fn attachments(listeners: &[Arc<Listener>], hosts: &[&str], chosen: &[bool]) -> Vec<Attachment> {
    let hosts: Vec<HostPattern> = match hosts {
        [] => vec![HostPattern::Any],
        hosts => hosts.iter().map(|host| HostPattern::new(host)).collect(),
    };
    (0..)
        .map(ListenerId)
        .zip(listeners)
        .zip(chosen)
        .filter(|(_, is_chosen)| **is_chosen)
        .map(|((listener, object), _)| Attachment {
            listener,
            hostnames: hosts.iter().filter_map(|host| object.hostname.intersect(host)).collect(),
        })
        .filter(|attachment| !attachment.hostnames.is_empty())
        .collect()
}

/// Listeners of some of the hostnames on two ports, without routes.
pub(crate) fn listeners() -> impl Strategy<Value = Topology> {
    vec((select(&LISTENER_HOSTS[..]), any::<bool>()), 1..6).prop_map(|listeners| {
        let tls = || {
            let (certificates, options) = (Vec::new(), TlsOptions::default());
            Arc::new(ListenerTls { certificates, client_validation: None, options })
        };
        let mut topology = Topology::default();
        for port in [HTTP, HTTPS] {
            let key = BindKey { address: BindAddress::Default, port, transport: Transport::Tcp };
            topology.binds.push(Bind { key, listeners: Vec::new() });
        }
        for (id, (hostname, is_tls)) in (0..).map(ListenerId).zip(listeners) {
            topology.binds[usize::from(is_tls)].listeners.push(id);
            topology.listeners.push(Arc::new(Listener {
                gateway: ObjectKey::new(Kind::Gateway, "a", "g"),
                owner: ObjectKey::new(Kind::Gateway, "a", "g"),
                name: format!("l{}", id.0).into(),
                hostname: HostPattern::new(hostname),
                port: if is_tls { HTTPS } else { HTTP },
                protocol: if is_tls {
                    ListenerProtocol::Https(tls())
                } else {
                    ListenerProtocol::Http
                },
            }));
        }
        topology
    })
}

/// Listeners and routes.
pub(crate) fn topology() -> impl Strategy<Value = Topology> {
    (listeners(), any::<bool>()).prop_flat_map(|(topology, is_crowd)| {
        vec(route(topology.listeners.clone(), is_crowd), 0..9).prop_map(move |routes| {
            let routes = routes.into_iter().map(|route| (route.key.clone(), route));
            Topology { routes: routes.collect(), ..topology.clone() }
        })
    })
}

/// A request that has a chance to match.
pub(crate) fn request() -> impl Strategy<Value = Request> {
    let methods = [Method::GET, Method::POST, Method::from_bytes(b"LINK").expect("a token")];
    let values = || vec(select(&["1", "2", "3", "", "1,2"][..]), 0..3);
    let queries = ["q=1", "q=%31", "q=1&q=2", "r=2&q=3", "r=+&q", "%71=2", "x", "r=1"];
    (
        option::of(select(&["a.x", "b.x", "c.a.x", "b.a.x", "z"][..])),
        select(&REQUEST_HOSTS[..]),
        path(),
        select(methods.to_vec()),
        option::of(select(queries.to_vec())),
        [values(), values()],
        any::<bool>(),
    )
        .prop_map(|(sni, authority, path, method, query, values, is_grpc)| {
            let mut headers = http::HeaderMap::new();
            for (name, values) in HEADERS.iter().zip(values) {
                for value in values {
                    headers.append(name, HeaderValue::from_static(value));
                }
            }
            if is_grpc {
                headers.insert("content-type", HeaderValue::from_static("application/grpc"));
            }
            Request { sni, authority, path, method, query, headers }
        })
}
