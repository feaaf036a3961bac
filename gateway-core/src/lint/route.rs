//! Routes and hostnames that nothing comes to.
//!
//! In: routes as written and as they are served. Out: findings. Not here: parents that do not exist
//! or refuse the route, which `resolve` reports.

use crate::{
    api::{ObjectKey, ParentReference},
    compile::RouteTable,
    diagnostic::{Code, Diagnostic, FieldPath},
    matcher::HostPattern,
    resolve::{ObjectStatus, StatusReport, topology::Route},
    snapshot::Snapshot,
};

pub(super) fn idle(
    table: &RouteTable,
    snapshot: &Snapshot,
    status: &StatusReport,
) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for written in written(snapshot) {
        findings.extend(written.unattached(status));
        if let Some(route) = table.route(written.key) {
            findings.extend(written.unserved(route));
        }
    }
    findings
}

/// What routes of all kinds have in common.
struct Written<'s> {
    key: &'s ObjectKey,
    parent_refs: &'s [ParentReference],
    asks_for_default: bool,
    hostnames: &'s [String],
}

fn written(snapshot: &Snapshot) -> impl Iterator<Item = Written<'_>> {
    macro_rules! common {
        ($routes:expr, $route:ident, $hostnames:expr) => {
            $routes.iter().map(|(key, $route)| Written {
                key,
                parent_refs: &$route.spec.parent_refs,
                asks_for_default: $route.spec.use_default_gateways.is_some(),
                hostnames: $hostnames,
            })
        };
    }
    common!(snapshot.http_routes(), route, &route.spec.hostnames)
        .chain(common!(snapshot.grpc_routes(), route, &route.spec.hostnames))
        .chain(common!(snapshot.tls_routes(), route, &route.spec.hostnames))
        .chain(common!(snapshot.tcp_routes(), route, &[]))
        .chain(common!(snapshot.udp_routes(), route, &[]))
}

impl Written<'_> {
    fn unattached(&self, status: &StatusReport) -> Option<Diagnostic> {
        let is_attached = matches!(
            status.get(self.key),
            Some(ObjectStatus::Route(status)) if !status.parents.is_empty()
        );
        if is_attached || !self.parent_refs.is_empty() {
            return None;
        }
        let message = match self.asks_for_default {
            true => "the route asks for default Gateways, but there is none",
            false => "the route names no parent and serves nothing",
        };
        let finding = Diagnostic::warning(Code::RouteUnattached, message)
            .object(self.key.clone())
            .field(FieldPath::from("spec"))
            .help("name a Gateway in parentRefs");
        Some(finding)
    }

    /// Hostnames that no listener has in common with the route, while others of it are served.
    fn unserved(&self, route: &Route) -> impl Iterator<Item = Diagnostic> {
        let served = |host: &HostPattern| {
            route.attachments.iter().any(|attachment| attachment.hostnames.contains(host))
        };
        let unserved = move |(_, hostname): &(usize, &String)| !served(&HostPattern::new(hostname));
        self.hostnames.iter().enumerate().filter(unserved).map(|(index, hostname)| {
            let message =
                format!("no listener that the route is attached to serves hostname {hostname}");
            Diagnostic::warning(Code::HostnameNotServed, message)
                .object(self.key.clone())
                .field(FieldPath::from("spec.hostnames").index(index))
                .help("remove it, or add a listener for it to a parent of the route")
        })
    }
}
