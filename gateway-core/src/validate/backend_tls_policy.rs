//! BackendTLSPolicy.

use std::collections::HashMap;

use super::check::{At, Check};
use crate::api::{
    BackendTlsPolicySpec, BackendTlsPolicyValidation, LocalPolicyTargetReferenceWithSectionName,
    SubjectAltName, SubjectAltNameType, WellKnownCaCertificatesType, is_dns_subdomain,
};
use crate::diagnostic::Code;

pub(super) fn policy(check: &mut Check<'_>, spec: &BackendTlsPolicySpec, at: &At<'_>) {
    targets(check, &spec.target_refs, &at.field("targetRefs"));
    validation(check, &spec.validation, &at.field("validation"));
    check.options(&at.field("options"), &spec.options, 16);
}

fn targets(
    check: &mut Check<'_>,
    targets: &[LocalPolicyTargetReferenceWithSectionName],
    list: &At<'_>,
) {
    check.list_length(list, targets.len(), 1..=16);
    for (index, target) in targets.iter().enumerate() {
        let at = list.index(index);
        check.target(&at, target.group.as_deref(), &target.kind, &target.name);
        if let Some(section) = &target.section_name {
            check.section_name(&at.field("sectionName"), section);
        }
    }
    let section = |target: &LocalPolicyTargetReferenceWithSectionName| {
        target.section_name.clone().unwrap_or_default()
    };
    let mut first: HashMap<_, bool> = HashMap::new();
    for (index, target) in targets.iter().enumerate() {
        let has_section = !section(target).is_empty();
        let earlier =
            *first.entry((target.group(), &target.kind, &target.name)).or_insert(has_section);
        if earlier != has_section {
            let message = "another reference to this target names a section of it and this one does not, or the reverse";
            let help = "give sectionName in each reference to the target, or refer to it only once";
            check.error_help(&list.index(index), Code::TargetRefsAmbiguous, message, help);
        }
    }
    let keys = targets
        .iter()
        .map(|target| Some((target.group(), &target.kind, &target.name, section(target))));
    check.unique(list, keys, |check, at, earlier, _| {
        let message = format!("refers to the same section of the same target as item {earlier}");
        check.error(at, Code::TargetRefsDuplicate, message);
    });
}

pub(super) fn validation(
    check: &mut Check<'_>,
    validation: &BackendTlsPolicyValidation,
    at: &At<'_>,
) {
    let list = at.field("caCertificateRefs");
    check.list_length(&list, validation.ca_certificate_refs.len(), 0..=8);
    for (index, reference) in validation.ca_certificate_refs.iter().enumerate() {
        check.local_reference(&list.index(index), reference);
    }
    let well_known_at = at.field("wellKnownCACertificates");
    if let Some(well_known) = &validation.well_known_ca_certificates {
        self::well_known(check, well_known, &well_known_at);
    }
    let has_well_known = validation
        .well_known_ca_certificates
        .as_ref()
        .is_some_and(|known| !known.as_str().is_empty());
    match (validation.ca_certificate_refs.is_empty(), has_well_known) {
        (false, true) => {
            let message = "CA certificates are given by reference and as a well-known set";
            check.error_help(&well_known_at, Code::TrustAnchors, message, "remove one of the two");
        }
        (true, false) => {
            let message = "no CA certificate is given, so no backend could be trusted";
            let help = "add caCertificateRefs, or wellKnownCACertificates: System";
            check.error_help(at, Code::TrustAnchors, message, help);
        }
        _ => {}
    }
    check.precise_hostname(&at.field("hostname"), &validation.hostname);
    let list = at.field("subjectAltNames");
    check.list_length(&list, validation.subject_alt_names.len(), 0..=5);
    for (index, name) in validation.subject_alt_names.iter().enumerate() {
        subject_alt_name(check, name, &list.index(index));
    }
}

fn well_known(check: &mut Check<'_>, well_known: &WellKnownCaCertificatesType, at: &At<'_>) {
    let text = well_known.as_str();
    let is_prefixed = text.split_once('/').is_some_and(|(domain, name)| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        is_dns_subdomain(domain)
            && name.len() <= 63
            && edge(bytes.first())
            && edge(bytes.last())
            && name.bytes().all(valid)
    });
    if check.required_text(at, text, 253) && text != "System" && !is_prefixed {
        let message = format!("{text:?} is not a known set of CA certificates");
        check.error_help(
            at,
            Code::UnknownValue,
            message,
            "use System, or a set of the implementation with its domain",
        );
    }
}

fn subject_alt_name(check: &mut Check<'_>, name: &SubjectAltName, at: &At<'_>) {
    check.known(&at.field("type"), &name.kind, &[]);
    if let Some(hostname) = &name.hostname {
        check.hostname(&at.field("hostname"), hostname);
    }
    if let Some(uri) = &name.uri {
        let at = at.field("uri");
        if check.required_text(&at, uri, 253) && !is_absolute_uri(uri) {
            let message = format!("{uri:?} is not an absolute URI");
            check.error_help(
                &at,
                Code::InvalidUri,
                message,
                "write scheme and authority, as in spiffe://example.org/shop",
            );
        }
    }
    for (kind, field, value) in [
        (SubjectAltNameType::Hostname, "hostname", &name.hostname),
        (SubjectAltNameType::Uri, "uri", &name.uri),
    ] {
        let is_set = value.as_ref().is_some_and(|value| !value.is_empty());
        if name.kind == kind && !is_set {
            let message = format!("the type is {kind}, but {field} is not set");
            check.error(&at.field(field), Code::SubjectAltNameMember, message);
        } else if name.kind != kind && is_set {
            let message = format!("{field} is set, but the type is {:?}", name.kind.as_str());
            check.error(&at.field(field), Code::SubjectAltNameMember, message);
        }
    }
}

/// A scheme, a colon, two slashes, and whatever follows.
fn is_absolute_uri(uri: &str) -> bool {
    uri.split_once(':').is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !scheme.contains(['/', '?', '#']) && rest.starts_with("//")
    })
}
