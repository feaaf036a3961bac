//! Tables of rules and the requests that are sent to them.

use std::{fmt, str::FromStr, sync::Arc};

use gateway_core::{
    api::{Kind, ObjectKey},
    backend::{Turns, WeightedBackends},
    matcher::{
        HeaderPredicate, HostPattern, PathPattern, Pattern, QueryPredicate, RegexLimits, RouteMatch,
    },
    resolve::topology::{
        Attachment, Bind, BindAddress, BindKey, Listener, ListenerId, ListenerProtocol, Route,
        Rule, Timeouts, Topology, Transport,
    },
};
use http::{HeaderName, HeaderValue, Method, request::Parts};

/// A kind of table and of requests; its size is chosen apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// One host; rules differ in the first segment of their prefix.
    Flat,
    /// One host; prefixes of five segments that share most of their text.
    Deep,
    /// A tenth as many hosts as rules, ten short prefixes each.
    Hosts,
    /// One host, one prefix; rules differ in the value of a header, two thirds of them also ask
    /// for a method or a query parameter.
    Header,
    /// One host; each rule has a regular expression that begins with a segment of its own.
    Regex,
    /// One host; expressions that nothing but the automaton can tell apart.
    RegexTail,
    /// The table of [`Workload::Flat`]; requests for paths that no rule has.
    Miss,
    /// The table of [`Workload::Deep`]; paths of 8 kB in two segments.
    LongPath,
    /// The table of [`Workload::Deep`]; paths of 4,000 segments.
    ManySegments,
    /// The table of [`Workload::Header`]; requests that send the header twice, so no rule fits.
    TwoHeaders,
}

/// One rule, in words that peers understand too.
#[derive(Clone, Debug)]
pub struct RuleSpec {
    /// The exact host.
    pub host: String,
    /// What the path must be.
    pub path: PathPattern,
    /// The tenant that the header `x-tenant` must name.
    pub tenant: Option<String>,
    /// The method.
    pub method: Option<Method>,
    /// The value of the query parameter `q`.
    pub query: Option<String>,
}

/// A table, and requests with the rule that each must find.
#[derive(Debug)]
pub struct Table {
    /// The rules, each a route of its own.
    pub rules: Vec<RuleSpec>,
    /// Request heads and the number of their rule, none if there is none.
    pub requests: Vec<(Parts, Option<usize>)>,
}

const REQUESTS: usize = 1024;
const TENANT: HeaderName = HeaderName::from_static("x-tenant");

impl Workload {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Flat,
        Self::Deep,
        Self::Hosts,
        Self::Header,
        Self::Regex,
        Self::RegexTail,
        Self::Miss,
        Self::LongPath,
        Self::ManySegments,
        Self::TwoHeaders,
    ];

    /// The name on command lines and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Deep => "deep",
            Self::Hosts => "hosts",
            Self::Header => "header",
            Self::Regex => "regex",
            Self::RegexTail => "regex-tail",
            Self::Miss => "miss",
            Self::LongPath => "long-path",
            Self::ManySegments => "many-segments",
            Self::TwoHeaders => "two-headers",
        }
    }

    /// Whether the rules are nothing but prefixes of one host or several.
    #[must_use]
    pub const fn is_plain(self) -> bool {
        !matches!(self, Self::Header | Self::Regex | Self::RegexTail | Self::TwoHeaders)
    }

    /// A table of `size` rules and its requests: 1,024 of them, from a fixed sequence.
    #[must_use]
    pub fn table(self, size: usize) -> Table {
        let rules: Vec<RuleSpec> = (0..size).map(|n| self.rule(n)).collect();
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let requests = (0..REQUESTS)
            .map(|_| {
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                let at = usize::try_from(state >> 24).unwrap_or(0) % size;
                (self.request(&rules[at], at, state % 100_000), self.hits().then_some(at))
            })
            .collect();
        Table { rules, requests }
    }

    const fn hits(self) -> bool {
        !matches!(self, Self::Miss | Self::LongPath | Self::ManySegments | Self::TwoHeaders)
    }

    fn rule(self, n: usize) -> RuleSpec {
        let (mut host, mut tenant, mut method, mut query) = (0, None, None, None);
        let path = match self {
            Self::Flat | Self::Miss => PathPattern::prefix(&format!("/svc{n:06}/v{}/api", n % 7)),
            Self::Deep | Self::LongPath | Self::ManySegments => {
                let (team, service) = (n / 100, n % 100);
                PathPattern::prefix(&format!("/api/v1/team{team:04}/svc{service:02}/res"))
            }
            Self::Hosts => {
                host = n / 10;
                PathPattern::prefix(&format!("/r{}", n % 10))
            }
            Self::Header | Self::TwoHeaders => {
                tenant = Some(format!("t{n:06}"));
                method = (n % 3 == 1).then_some(Method::GET);
                query = (n % 3 == 2).then(|| format!("v{n}"));
                PathPattern::prefix("/api")
            }
            Self::Regex => regex(&format!("/re{n:06}/[0-9]+/items/[a-z]+")),
            Self::RegexTail => regex(&format!("/[a-z]+/[0-9]+/items{n:04}")),
        };
        RuleSpec { host: format!("h{host:05}.example.test"), path, tenant, method, query }
    }

    fn request(self, rule: &RuleSpec, n: usize, id: u64) -> Parts {
        let path = match (self, &rule.path) {
            (Self::Miss, _) => format!("/app{n:06}/v0/api/users/{id}/orders"),
            (Self::LongPath, _) => format!("/api/{}", "x".repeat(8 << 10)),
            (Self::ManySegments, _) => "/a".repeat(4000),
            (Self::RegexTail, _) => format!("/users/{id}/items{n:04}"),
            (Self::Regex, _) => format!("/re{n:06}/{id}/items/abc"),
            (_, PathPattern::Prefix(prefix)) => format!("{prefix}/users/{id}/orders"),
            (_, PathPattern::Exact(_) | PathPattern::Regex(_)) => String::from("/"),
        };
        let query = rule.query.as_ref().map_or_else(String::new, |value| format!("?q={value}"));
        let mut request = http::Request::get(format!("{path}{query}"))
            .header("host", &rule.host)
            .header("user-agent", "bench/1.0")
            .header("accept", "*/*");
        if let Some(tenant) = &rule.tenant {
            request = request.header(TENANT, tenant);
            if self == Self::TwoHeaders {
                request = request.header(TENANT, "x");
            }
        }
        request.body(()).expect("workloads have valid requests").into_parts().0
    }
}

fn regex(source: &str) -> PathPattern {
    PathPattern::regex(source, RegexLimits::default()).expect("workloads have valid expressions")
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Workload {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|workload| workload.as_str() == name);
        found.ok_or_else(|| format!("no workload is called {name}"))
    }
}

impl Table {
    /// The rules as a topology with one listener for all hosts; each rule is a route.
    #[must_use]
    pub fn topology(&self) -> Topology {
        let gateway = ObjectKey::new(Kind::Gateway, "bench", "gateway");
        let listener = Listener {
            gateway: gateway.clone(),
            owner: gateway,
            name: "http".into(),
            hostname: HostPattern::Any,
            port: 80,
            protocol: ListenerProtocol::Http,
        };
        let key = BindKey { address: BindAddress::Default, port: 80, transport: Transport::Tcp };
        let routes = self.rules.iter().enumerate().map(|(n, rule)| rule.route(n));
        Topology {
            binds: vec![Bind { key, listeners: vec![ListenerId(0)] }],
            listeners: vec![Arc::new(listener)],
            routes: routes.map(|route| (route.key.clone(), route)).collect(),
        }
    }
}

impl RuleSpec {
    /// The route number `n`, which has this rule alone. The number is also its age.
    #[must_use]
    pub fn route(&self, n: usize) -> Arc<Route> {
        let hostnames = [HostPattern::new(&self.host)].into_iter().collect();
        let rule = Rule {
            name: None,
            index: 0,
            matches: vec![self.route_match()],
            filters: Vec::new(),
            backends: WeightedBackends::default(),
            timeouts: Timeouts::default(),
            retry: None,
            session_persistence: None,
            turns: Turns::default(),
        };
        Arc::new(Route {
            key: ObjectKey::new(Kind::HttpRoute, "bench", &format!("r{n:06}")),
            created: i64::try_from(n).ok(),
            attachments: vec![Attachment { listener: ListenerId(0), hostnames }],
            rules: vec![Arc::new(rule)],
        })
    }

    fn route_match(&self) -> RouteMatch {
        let header = |tenant: &String| HeaderPredicate {
            name: TENANT,
            value: Pattern::exact(tenant.as_str()),
        };
        let query = |value: &String| QueryPredicate {
            name: "q".into(),
            value: Pattern::exact(value.as_str()),
        };
        RouteMatch {
            path: self.path.clone(),
            method: self.method.clone(),
            headers: self.tenant.iter().map(header).collect(),
            query_params: self.query.iter().map(query).collect(),
            ..RouteMatch::any()
        }
    }

    /// The tenant of a header map.
    #[must_use]
    pub fn tenant_of(headers: &http::HeaderMap) -> Option<&HeaderValue> {
        headers.get(TENANT)
    }
}
