//! How large a table is.

use super::RouteTable;

/// Sizes of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Sockets.
    pub binds: usize,
    /// Listeners.
    pub listeners: usize,
    /// Hosts with routes, counted for each listener.
    pub hosts: usize,
    /// Routes.
    pub routes: usize,
    /// Matches, counted for each host that they are listed under.
    pub matches: usize,
    /// Estimated bytes of the index, without the routes, rules and expressions that it refers to.
    pub index_bytes: usize,
}

impl RouteTable {
    /// Counts and measures the table. Takes time in proportion to the number of hosts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = self.inner();
        let mut stats = Stats {
            binds: inner.binds.len(),
            listeners: inner.listeners.len(),
            routes: inner.routes.len(),
            index_bytes: inner.routes.bytes(),
            ..Stats::default()
        };
        for listener in &inner.listeners {
            stats.index_bytes += listener.hosts.bytes();
            for (_, table) in listener.hosts.iter() {
                stats.hosts += 1;
                stats.matches += table.len();
                stats.index_bytes += table.bytes();
            }
        }
        stats
    }
}
