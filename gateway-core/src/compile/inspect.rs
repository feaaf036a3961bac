//! The table read out at leisure, for those who want to know more than the winner.
//!
//! In: a table. Out: its listeners and matches in the order in which they are tried, found by plain
//! comparison. Not here: speed; nothing of the index is used.

use std::sync::Arc;

use super::{BindId, RouteTable, host_table::HostTable};
use crate::{
    matcher::{HostPattern, RouteMatch},
    resolve::topology::{Listener, Route, Rule},
};

/// One match of a route on one host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RankedMatch<'t> {
    pub(crate) route: &'t Arc<Route>,
    pub(crate) rule: &'t Arc<Rule>,
    pub(crate) match_index: usize,
    pub(crate) entry: &'t RouteMatch,
}

impl RouteTable {
    /// The listeners of a socket that are told apart by host, the most specific first.
    pub(crate) fn listeners_by_specificity(&self, bind: BindId) -> Vec<&Arc<Listener>> {
        let bind = self.binds().find(|(id, _)| *id == bind);
        let ids = bind.map_or(&[][..], |(_, bind)| &bind.listeners);
        let mut listeners: Vec<&Arc<Listener>> = ids
            .iter()
            .map(|id| self.listener(*id))
            .filter(|listener| listener.protocol.has_hosts())
            .collect();
        listeners.sort_by(|a, b| a.hostname.specificity_cmp(&b.hostname));
        listeners
    }

    /// The hosts of a listener that cover `host`, the most specific first, with all their matches,
    /// the best first.
    pub(crate) fn matches_by_rank(
        &self,
        listener: &Arc<Listener>,
        host: &str,
    ) -> Vec<(&HostPattern, Vec<RankedMatch<'_>>)> {
        let tables = self.inner().listeners.iter();
        let table = tables.filter(|table| Arc::ptr_eq(&table.listener, listener));
        let mut hosts: Vec<_> = table
            .flat_map(|table| table.hosts.iter())
            .filter(|(pattern, _)| pattern.is_match(host))
            .map(|(pattern, table)| (pattern, ranked(table)))
            .collect();
        hosts.sort_by(|(a, _), (b, _)| a.specificity_cmp(b));
        hosts
    }

    /// All matches in the lists in which they are tried, the best first. One item is the lists that
    /// are tried one after the other for all requests of a listener, or one list that is tried first
    /// for those of its hosts.
    pub(crate) fn all_matches_by_rank(&self) -> impl Iterator<Item = Vec<Vec<RankedMatch<'_>>>> {
        self.inner().listeners.iter().flat_map(|table| {
            let hostname = &table.listener.hostname;
            let takes_all =
                |host: &HostPattern| host.intersect(hostname).as_ref() == Some(hostname);
            let (mut of_all, of_some): (Vec<_>, Vec<_>) =
                table.hosts.iter().partition(|(host, _)| takes_all(host));
            of_all.sort_by(|(a, _), (b, _)| a.specificity_cmp(b));
            let of_all = of_all.into_iter().map(|(_, table)| ranked(table)).collect();
            let of_some = of_some.into_iter().map(|(_, table)| vec![ranked(table)]);
            of_some.chain(std::iter::once(of_all))
        })
    }
}

fn ranked(table: &HostTable) -> Vec<RankedMatch<'_>> {
    let routes = &table.routes;
    let candidates = table.ranked().into_iter();
    candidates
        .map(|candidate| RankedMatch {
            route: candidate.route(routes),
            rule: candidate.rule(routes),
            match_index: usize::from(candidate.entry),
            entry: candidate.entry(routes),
        })
        .collect()
}
