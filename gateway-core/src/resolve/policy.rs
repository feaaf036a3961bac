//! BackendTLSPolicies: which of them holds for a port of a Service, and their status.
//!
//! In: policies, and through which Gateways their Services are reached. Out: TLS for backends, and
//! one status entry per Gateway. Not here: traffic policies (`traffic`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    api::{
        BackendTlsPolicy, BackendTlsPolicyValidation, CORE_GROUP, ConditionType, Kind, ObjectKey,
        PreciseHostname, Reason, Service, SubjectAltNameType, TransportProtocol,
        WellKnownCaCertificatesType,
    },
    backend::{BackendTls, BackendTrust, SubjectAltName},
};

use super::{
    Given,
    ancestor::Target,
    grant::Referent,
    note::Notes,
    status::{Conditions, Fault},
    tls::{Authorities, authorities},
    traffic::{TrafficPolicies, TrafficPolicy},
};

/// All policies for backends.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    policies: BTreeMap<ObjectKey, TlsPolicy>,
    /// The policies that hold, by namespace and name of the Service; then by port name, the whole
    /// Service being none.
    holding: BTreeMap<ObjectKey, BTreeMap<Option<Box<str>>, ObjectKey>>,
    pub(super) traffic: TrafficPolicies,
    /// Services that any policy names.
    services: BTreeSet<ObjectKey>,
}

/// A BackendTLSPolicy with everything known but its ancestors.
#[derive(Clone, Debug)]
struct TlsPolicy {
    generation: Option<i64>,
    targets: Vec<Target>,
    tls: Result<Arc<BackendTls>, Fault>,
    refused: Option<Fault>,
    unresolved: Option<Fault>,
}

impl Policies {
    pub(super) fn new(given: Given<'_>, notes: &mut Notes) -> Self {
        let mut policies = Self { traffic: TrafficPolicies::new(given, notes), ..Self::default() };
        let mut oldest_first: Vec<_> = given.snapshot.backend_tls_policies().iter().collect();
        oldest_first.sort_by(|(_, a), (_, b)| a.metadata.seniority_cmp(&b.metadata));
        for (key, policy) in oldest_first {
            let tls_policy = policies.judge(key, policy, given);
            if let Some(fault) = &tls_policy.refused {
                notes.fault(key, "spec", fault);
            }
            if let Some(fault) = &tls_policy.unresolved {
                notes.fault(key, "spec.validation.caCertificateRefs", fault);
            }
            policies
                .services
                .extend(tls_policy.targets.iter().map(|target| target.service.clone()));
            policies.policies.insert(key.clone(), tls_policy);
        }
        policies.services.extend(policies.traffic.services().cloned());
        policies
    }

    /// Whether any policy names the Service.
    pub(super) fn concern(&self, namespace: &str, name: &str) -> bool {
        !self.services.is_empty()
            && self.services.contains(&ObjectKey::new(Kind::Service, namespace, name))
    }

    /// TLS for a port of a Service, or what is wrong with the policy that demands it.
    // SPEC: a policy for the named port beats one for the whole Service.
    pub(super) fn tls(
        &self,
        namespace: &str,
        name: &str,
        port: Option<&str>,
    ) -> Option<Result<&Arc<BackendTls>, &Fault>> {
        if self.holding.is_empty() {
            return None;
        }
        let sections = self.holding.get(&ObjectKey::new(Kind::Service, namespace, name))?;
        let of_port = port.and_then(|port| sections.get(&Some(port.into())));
        let policy = self.policies.get(of_port.or_else(|| sections.get(&None))?)?;
        Some(policy.tls.as_ref())
    }

    /// The traffic policy of a Service.
    pub(super) fn traffic(&self, namespace: &str, name: &str) -> Option<&TrafficPolicy> {
        self.traffic.of(namespace, name)
    }

    /// All policies, or only those that name `service`.
    pub(super) fn keys<'p>(
        &'p self,
        service: Option<&'p ObjectKey>,
    ) -> impl Iterator<Item = &'p ObjectKey> {
        let tls = self.policies.iter().map(|(key, policy)| (key, &policy.targets));
        tls.chain(self.traffic.targets())
            .filter(move |(_, targets)| {
                service.is_none_or(|service| targets.iter().any(|t| t.service == *service))
            })
            .map(|(key, _)| key)
    }

    pub(super) fn targets(&self, policy: &ObjectKey) -> &[Target] {
        match self.policies.get(policy) {
            Some(policy) => &policy.targets,
            None => self.traffic.targets_of(policy),
        }
    }

    /// The conditions of a policy, the same for each of its ancestors.
    pub(super) fn conditions(&self, policy: &ObjectKey) -> Conditions {
        match self.policies.get(policy) {
            Some(policy) => Conditions::new(policy.generation)
                .verdict(
                    ConditionType::Accepted,
                    policy.refused.as_ref(),
                    Reason::Accepted,
                    "connections to the backends use TLS as the policy says",
                )
                .verdict(
                    ConditionType::ResolvedRefs,
                    policy.unresolved.as_ref(),
                    Reason::ResolvedRefs,
                    "all references are resolved",
                ),
            None => self.traffic.conditions(policy),
        }
    }

    /// Claims the targets that are still free, and says what is wrong with the policy.
    fn judge(&mut self, key: &ObjectKey, policy: &BackendTlsPolicy, given: Given<'_>) -> TlsPolicy {
        let mut faults = Vec::new();
        let mut targets = Vec::new();
        let mut rival = None;
        let mut won = false;
        for reference in &policy.spec.target_refs {
            let section = reference.section_name.as_deref().filter(|name| !name.is_empty());
            let service = ObjectKey::new(Kind::Service, &key.namespace, &reference.name);
            if (reference.group(), &*reference.kind) != (CORE_GROUP, Kind::Service.as_str()) {
                let message = format!(
                    "{}/{} {} cannot be the target, expected a core Service",
                    reference.group(),
                    reference.kind,
                    reference.name
                );
                faults.push(Fault::new(Reason::TargetNotFound, message));
                continue;
            }
            if let Err(fault) = check_target(&service, section, given) {
                faults.push(fault);
                continue;
            }
            targets.push(Target::new(&service, section, given));
            let sections = self.holding.entry(service).or_default();
            match sections.get(&section.map(Into::into)) {
                Some(holder) if holder != key => rival = Some(holder.clone()),
                _ => {
                    sections.insert(section.map(Into::into), key.clone());
                    won = true;
                }
            }
        }
        let Validation { tls, unresolved } = read_validation(&policy.spec.validation, key, given);
        let no_target = faults.into_iter().next().filter(|_| targets.is_empty());
        let conflict = rival.filter(|_| !won).map(|holder| {
            let message = format!("{holder} is older and has the same target");
            Fault::new(Reason::Conflicted, message)
        });
        let refused = no_target.or(conflict).or_else(|| tls.as_ref().err().cloned());
        TlsPolicy {
            generation: policy.metadata.generation,
            targets,
            tls: tls.map(Arc::new),
            refused,
            unresolved,
        }
    }
}

fn check_target(service: &ObjectKey, section: Option<&str>, given: Given<'_>) -> Result<(), Fault> {
    let not_found = |message: String| Err(Fault::new(Reason::TargetNotFound, message));
    let Some(found) = given.snapshot.services().get(service) else {
        return not_found(format!("{service} does not exist"));
    };
    let Some(section) = section else { return Ok(()) };
    let named = |port: &&crate::api::ServicePort| port.name.as_deref() == Some(section);
    match found.spec.ports.iter().find(named) {
        None => not_found(format!(
            "{service} has no port named {section}, it has {}",
            port_names(found)
        )),
        Some(port) if *port.protocol() != TransportProtocol::Tcp => {
            let message =
                format!("port {section} of {service} is {}, expected TCP", port.protocol());
            Err(Fault::new(Reason::Invalid, message))
        }
        Some(_) => Ok(()),
    }
}

fn port_names(service: &Service) -> String {
    let names: Vec<&str> =
        service.spec.ports.iter().filter_map(|port| port.name.as_deref()).collect();
    if names.is_empty() { "no named ports".to_owned() } else { names.join(", ") }
}

/// What a `validation` comes to.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) tls: Result<BackendTls, Fault>,
    /// References that cannot be used, although others may.
    pub(super) unresolved: Option<Fault>,
}

/// Reads how a backend's certificate is validated.
pub(super) fn read_validation(
    validation: &BackendTlsPolicyValidation,
    owner: &ObjectKey,
    given: Given<'_>,
) -> Validation {
    let references = validation.ca_certificate_refs.iter().map(|reference| Referent {
        group: reference.group(),
        kind: &reference.kind,
        namespace: &owner.namespace,
        name: &reference.name,
    });
    let Authorities { pem, faults } = authorities(references, owner, &Reason::InvalidKind, given);
    let unresolved =
        Fault::gather(&faults, &[Reason::InvalidCaCertificateRef, Reason::InvalidKind]);
    let tls = trust(validation, pem).and_then(|trust| {
        Ok(BackendTls {
            hostname: hostname(&validation.hostname)?,
            trust,
            subject_alt_names: subject_alt_names(validation)?,
            client_certificate: None,
        })
    });
    Validation { tls, unresolved }
}

fn trust(validation: &BackendTlsPolicyValidation, pem: String) -> Result<BackendTrust, Fault> {
    let invalid = |message: String| Err(Fault::new(Reason::Invalid, message));
    let has_refs = !validation.ca_certificate_refs.is_empty();
    match (&validation.well_known_ca_certificates, has_refs) {
        (None, false) => invalid(
            "validation has neither caCertificateRefs nor wellKnownCACertificates, expected one"
                .to_owned(),
        ),
        (Some(_), true) => invalid(
            "validation has both caCertificateRefs and wellKnownCACertificates, expected one"
                .to_owned(),
        ),
        (Some(WellKnownCaCertificatesType::System), false) => Ok(BackendTrust::System),
        (Some(WellKnownCaCertificatesType::Unknown(value)), false) => {
            invalid(format!("wellKnownCACertificates is {value:?}, expected System"))
        }
        (None, true) if pem.is_empty() => {
            let message = "no CA certificate of caCertificateRefs can be used";
            Err(Fault::new(Reason::NoValidCaCertificate, message))
        }
        (None, true) => Ok(BackendTrust::Certificates(pem.into())),
    }
}

fn hostname(text: &str) -> Result<Box<str>, Fault> {
    PreciseHostname::parse(text).map(|hostname| hostname.as_str().into()).map_err(|error| {
        Fault::new(Reason::Invalid, format!("validation.hostname {text:?} is not valid: {error}"))
    })
}

fn subject_alt_names(
    validation: &BackendTlsPolicyValidation,
) -> Result<Vec<SubjectAltName>, Fault> {
    validation
        .subject_alt_names
        .iter()
        .map(|name| match (&name.kind, &name.hostname, &name.uri) {
            (SubjectAltNameType::Hostname, Some(hostname), None) => {
                Ok(SubjectAltName::Hostname(hostname.as_str().into()))
            }
            (SubjectAltNameType::Uri, None, Some(uri)) => {
                Ok(SubjectAltName::Uri(uri.as_str().into()))
            }
            (kind, ..) => {
                let message = format!(
                    "an entry of subjectAltNames has the type {:?}, expected Hostname with hostname \
                     or URI with uri",
                    kind.as_str()
                );
                Err(Fault::new(Reason::Invalid, message))
            }
        })
        .collect()
}
