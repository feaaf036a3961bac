//! TLSRoute, TCPRoute and UDPRoute.

use super::check::{At, Check};
use super::{backend, parent};
use crate::api::{L4RouteRule, L4RouteSpec, TlsRouteSpec};
use crate::diagnostic::Code;

pub(super) fn tls_route(check: &mut Check<'_>, spec: &TlsRouteSpec, at: &At<'_>) {
    parent::parents(check, &spec.parent_refs, spec.use_default_gateways.as_ref(), at);
    let list = at.field("hostnames");
    let least = usize::from(!check.is_version("v1alpha2"));
    check.list_length(&list, spec.hostnames.len(), least..=1024);
    for (index, hostname) in spec.hostnames.iter().enumerate() {
        let at = list.index(index);
        if hostname.parse::<std::net::IpAddr>().is_ok() && least > 0 {
            let message =
                format!("{hostname:?} is an IP address, which is never sent as server name");
            check.error(&at, Code::InvalidHostname, message);
        } else {
            check.hostname(&at, hostname);
        }
    }
    rules(check, &spec.rules, &at.field("rules"), check.is_version("v1alpha2"));
}

pub(super) fn l4_route(check: &mut Check<'_>, spec: &L4RouteSpec, at: &At<'_>) {
    parent::parents(check, &spec.parent_refs, spec.use_default_gateways.as_ref(), at);
    rules(check, &spec.rules, &at.field("rules"), check.is_version("v1alpha2"));
}

/// Before v1 there could be several rules.
fn rules(check: &mut Check<'_>, rules: &[L4RouteRule], list: &At<'_>, several: bool) {
    check.list_length(list, rules.len(), if several { 1..=16 } else { 1..=1 });
    parent::rule_names(check, rules.iter().map(|rule| rule.name.as_deref()), list, true);
    for (index, rule) in rules.iter().enumerate() {
        let at = list.index(index);
        let list = at.field("backendRefs");
        check.list_length(&list, rule.backend_refs.len(), 1..=16);
        for (index, backend) in rule.backend_refs.iter().enumerate() {
            let at = list.index(index);
            backend::reference(check, &backend.reference, &at);
            backend::weight(check, backend.weight, &at);
        }
    }
}
