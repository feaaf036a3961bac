//! XBackendTrafficPolicy, XBackend and XMesh.

use std::time::Duration;

use super::check::{At, Check};
use super::{backend_tls_policy, session};
use crate::api::{
    RetryConstraint, XBackendSpec, XBackendTls, XBackendTlsMode, XBackendTrafficPolicySpec,
    XBackendType, XMeshSpec, is_dns_label,
};
use crate::diagnostic::Code;

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn traffic_policy(check: &mut Check<'_>, spec: &XBackendTrafficPolicySpec, at: &At<'_>) {
    let list = at.field("targetRefs");
    check.list_length(&list, spec.target_refs.len(), 1..=16);
    for (index, target) in spec.target_refs.iter().enumerate() {
        check.target(&list.index(index), target.group.as_deref(), &target.kind, &target.name);
    }
    let keys =
        spec.target_refs.iter().map(|target| Some((target.group(), &target.kind, &target.name)));
    check.unique(&list, keys, |check, at, earlier, _| {
        check.error(
            at,
            Code::TargetRefsDuplicate,
            format!("refers to the same target as item {earlier}"),
        );
    });
    if let Some(constraint) = &spec.retry_constraint {
        retry_constraint(check, constraint, &at.field("retryConstraint"));
    }
    if let Some(session) = &spec.session_persistence {
        session::session(check, session, &at.field("sessionPersistence"));
    }
}

fn retry_constraint(check: &mut Check<'_>, constraint: &RetryConstraint, at: &At<'_>) {
    if let Some(budget) = &constraint.budget {
        let at = at.field("budget");
        if let Some(percent) = budget.percent {
            check.number(&at.field("percent"), percent, 0..=100);
        }
        let interval_at = at.field("interval");
        let interval =
            budget.interval.as_ref().and_then(|interval| check.duration(&interval_at, interval));
        if interval.is_some_and(|interval| !(Duration::from_secs(1)..=HOUR).contains(&interval)) {
            check.error(&interval_at, Code::OutOfRange, "the interval must be between 1s and 1h");
        }
    }
    let Some(rate) = &constraint.min_retry_rate else { return };
    let at = at.field("minRetryRate");
    if let Some(count) = rate.count {
        check.number(&at.field("count"), count, 1..=1_000_000);
    }
    let interval_at = at.field("interval");
    let interval =
        rate.interval.as_ref().and_then(|interval| check.duration(&interval_at, interval));
    if interval.is_some_and(|interval| interval.is_zero() || interval > HOUR) {
        check.error(
            &interval_at,
            Code::OutOfRange,
            "the interval must be more than 0s and at most 1h",
        );
    }
}

pub(super) fn backend(check: &mut Check<'_>, spec: &XBackendSpec, at: &At<'_>) {
    check.known(&at.field("type"), &spec.kind, &[]);
    let external_at = at.field("externalHostname");
    match (&spec.kind, &spec.external_hostname) {
        (XBackendType::ExternalHostname, None) => {
            let message = "the type is ExternalHostname, but externalHostname is not set";
            check.error(&external_at, Code::BackendTypeMember, message);
        }
        (XBackendType::Unknown(kind), Some(_)) => {
            let message = format!("externalHostname is set, but the type is {kind:?}");
            check.error(&external_at, Code::BackendTypeMember, message);
        }
        _ => {}
    }
    if let Some(external) = &spec.external_hostname {
        let at = external_at.field("hostname");
        check.precise_hostname(&at, &external.hostname);
        if external.hostname.ends_with(".cluster.local") {
            let message = format!("{:?} is inside of the cluster", external.hostname);
            check.error_help(&at, Code::InvalidHostname, message, "refer to the Service instead");
        }
    }
    let port_at = at.field("port");
    check.port(&port_at.field("port"), spec.port.port);
    if let Some(name) = &spec.port.name
        && !name.is_empty()
        && !is_dns_label(name)
    {
        check.error(
            &port_at.field("name"),
            Code::InvalidName,
            format!("{name:?} is not the name of a port"),
        );
    }
    if let Some(protocol) = &spec.protocol {
        check.known(&at.field("protocol"), protocol, &[]);
    }
    if let Some(tls) = &spec.tls {
        self::tls(check, tls, &at.field("tls"));
    }
}

fn tls(check: &mut Check<'_>, tls: &XBackendTls, at: &At<'_>) {
    check.known(&at.field("mode"), &tls.mode, &[]);
    let certificate = at.field("clientCertificateRef");
    let needs_certificate = tls.mode == XBackendTlsMode::ClientAndServer;
    if needs_certificate != tls.client_certificate_ref.is_some() {
        let message = format!(
            "a client certificate is {} with the mode {:?}",
            if needs_certificate { "needed" } else { "not allowed" },
            tls.mode.as_str()
        );
        check.error(&certificate, Code::BackendClientCertificate, message);
    }
    if let Some(reference) = &tls.client_certificate_ref {
        check.secret_reference(&certificate, reference);
    }
    if let Some(validation) = &tls.validation {
        backend_tls_policy::validation(check, validation, &at.field("validation"));
    }
}

pub(super) fn mesh(check: &mut Check<'_>, spec: &XMeshSpec, at: &At<'_>) {
    check.domain_prefixed(&at.field("controllerName"), &spec.controller_name);
    if let Some(parameters) = &spec.parameters_ref {
        check.parameters(&at.field("parametersRef"), parameters);
    }
    if let Some(description) = &spec.description {
        check.text_length(&at.field("description"), description, 64);
    }
}
