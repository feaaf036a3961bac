//! Engines that can be given a workload.

use std::{collections::HashMap, fmt, str::FromStr};

use gateway_core::{
    compile::{BindId, Ingress, RouteTable},
    matcher::{Precedence, RequestHead, RouteMatch},
};
use http::request::Parts;

use crate::{
    peers,
    workload::{Table, Workload},
};

/// Finds the number of the rule of a request.
pub type Find = Box<dyn Fn(&Parts) -> Option<usize>>;

/// Something that finds rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Ours.
    Gateway,
    /// For each host the matches sorted by precedence; the first that fits.
    Linear,
    /// The path router below axum.
    Matchit,
    /// A path router.
    Wayfind,
    /// axum's Router as a whole service.
    Axum,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Gateway, Self::Linear, Self::Matchit, Self::Wayfind, Self::Axum];

    /// The name on command lines and in tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Linear => "linear",
            Self::Matchit => "matchit",
            Self::Wayfind => "wayfind",
            Self::Axum => "axum",
        }
    }

    /// Whether the engine can express the rules of the workload.
    #[must_use]
    pub const fn fits(self, workload: Workload) -> bool {
        matches!(self, Self::Gateway | Self::Linear) || workload.is_plain()
    }

    /// Builds the engine's table.
    #[must_use]
    pub fn build(self, table: &Table) -> Find {
        match self {
            Self::Gateway => gateway(table),
            Self::Linear => linear(table),
            Self::Matchit => peers::matchit(&table.rules),
            Self::Wayfind => peers::wayfind(&table.rules),
            Self::Axum => peers::axum(&table.rules),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|engine| engine.as_str() == name);
        found.ok_or_else(|| format!("no engine is called {name}"))
    }
}

/// The only socket of a workload's table.
#[must_use]
pub fn bind(table: &RouteTable) -> BindId {
    table.bind_on_port(80).expect("workloads listen on port 80")
}

fn gateway(table: &Table) -> Find {
    let routes = RouteTable::compile(&table.topology(), 0x5EED);
    let ingress = bind(&routes);
    Box::new(move |parts| {
        let found = routes.find(&Ingress::plain(ingress), &RequestHead::of(parts)).ok()?;
        found.route.created.and_then(|number| usize::try_from(number).ok())
    })
}

fn linear(table: &Table) -> Find {
    let topology = table.topology();
    let mut hosts: HashMap<String, Vec<(RouteMatch, usize)>> = HashMap::new();
    for (n, (rule, route)) in table.rules.iter().zip(topology.routes.values()).enumerate() {
        let entry = route.rules[0].matches[0].clone();
        hosts.entry(rule.host.clone()).or_default().push((entry, n));
    }
    for entries in hosts.values_mut() {
        entries.sort_by_key(|(entry, n)| (Precedence::of(entry), *n));
    }
    Box::new(move |parts| {
        let head = RequestHead::of(parts);
        let entries = hosts.get(head.host())?;
        entries.iter().find(|(entry, _)| entry.is_match(&head)).map(|(_, n)| *n)
    })
}
