//! Certificates: what listeners present, whom they trust, what the Gateway shows to backends.
//!
//! In: references to Secrets and ConfigMaps. Out: PEM texts of a sound frame, and a fault for each
//! reference that cannot be used. Not here: X.509 (`scope::CertificateCheck`).

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    api::{
        self, CORE_GROUP, ConfigMap, FrontendTlsValidation, FrontendValidationModeType, Gateway,
        Kind, ListenerTlsConfig, ObjectKey, Reason, Secret, SecretObjectReference,
    },
    backend::KeyPair,
    matcher::HostPattern,
};

use super::{
    Given,
    grant::{Referent, Referrer},
    listener::{Draft, Protocol},
    note::Notes,
    pem,
    status::Fault,
    tls_options::{TlsOptions, tls_options},
    topology::{ClientValidation, ListenerTls},
};

const TLS_SECRET: &str = "kubernetes.io/tls";

// === Listeners ===

/// Resolves the certificates of a listener that terminates TLS, and how it checks clients.
pub(super) fn resolve_listener(
    draft: &mut Draft,
    listener: &api::Listener,
    owner: &ObjectKey,
    frontend: &Frontend,
    given: Given<'_>,
    notes: &mut Notes,
) {
    if !draft.protocol.is_some_and(Protocol::terminates_tls) {
        return;
    }
    let before = draft.unresolved.len();
    let (certificates, missing) = certificates(listener.tls.as_ref(), owner, given);
    draft.unresolved.extend(missing);
    let names = certificates.iter().flat_map(|certificate| &certificate.names);
    draft.certificate_names = names.map(|name| HostPattern::new(name)).collect();
    if certificates.is_empty() {
        let (reason, message) = match &listener.tls {
            None => (Reason::InvalidTlsConfig, "the listener has no tls section"),
            Some(_) => (Reason::Invalid, "no certificate of the listener can be used"),
        };
        draft.not_programmed = Some(Fault::new(reason, message));
    }
    let validation = frontend.on_port(draft.port);
    if let Some(validation) = validation {
        draft.unresolved.extend(validation.faults.iter().cloned());
        if let Some(refused) = &validation.refused {
            draft.refuse(refused.clone());
        }
    }
    let written = listener.tls.as_ref().map(|tls| &tls.options);
    let field = format!("{}.tls.options", draft.field);
    let options = written.map_or_else(
        || Ok(TlsOptions::default()),
        |options| tls_options(options, owner, &field, notes),
    );
    let options = options.unwrap_or_else(|fault| {
        notes.fault(owner, field, &fault);
        draft.refuse(fault);
        TlsOptions::default()
    });
    draft.tls = Some(Arc::new(ListenerTls {
        certificates: certificates.into_iter().map(|certificate| certificate.pair).collect(),
        client_validation: validation.and_then(|validation| validation.usable.clone()),
        options,
    }));
    for fault in &draft.unresolved[before..] {
        notes.fault(owner, format!("{}.tls", draft.field), fault);
    }
}

fn certificates(
    tls: Option<&ListenerTlsConfig>,
    owner: &ObjectKey,
    given: Given<'_>,
) -> (Vec<Certificate>, Vec<Fault>) {
    let references = tls.map_or(&[][..], |tls| &tls.certificate_refs);
    if references.is_empty() {
        let message = "tls.certificateRefs is empty, expected a Secret of type kubernetes.io/tls";
        return (Vec::new(), vec![Fault::new(Reason::InvalidCertificateRef, message)]);
    }
    let mut certificates = Vec::with_capacity(references.len());
    let mut faults = Vec::new();
    for reference in references {
        match key_pair(reference, owner, &Reason::InvalidCertificateRef, given) {
            Ok(certificate) => certificates.push(certificate),
            Err(fault) => faults.push(fault),
        }
    }
    (certificates, faults)
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) pair: Arc<KeyPair>,
    /// Its DNS names, as far as anything looks into it.
    names: Vec<String>,
}

/// The certificate and key behind a reference of `owner`. Everything but a missing grant is
/// reported with the reason `invalid`.
///
/// # Errors
///
/// If there is no usable Secret, or if it may not be used from here.
pub(super) fn key_pair(
    reference: &SecretObjectReference,
    owner: &ObjectKey,
    invalid: &Reason,
    given: Given<'_>,
) -> Result<Certificate, Fault> {
    let namespace = reference.namespace(&owner.namespace);
    let fault = |message: String| Fault::new(invalid.clone(), message);
    if (reference.group(), reference.kind()) != (CORE_GROUP, Kind::Secret.as_str()) {
        return Err(fault(format!(
            "{}/{} {namespace}/{} cannot hold a certificate, expected a core Secret",
            reference.group(),
            reference.kind(),
            reference.name
        )));
    }
    let referent = Referent { group: CORE_GROUP, kind: "Secret", namespace, name: &reference.name };
    if !given.grants.permits(Referrer::of(owner), referent) {
        return Err(not_permitted(owner, referent));
    }
    let named = |problem: &str| fault(format!("Secret {namespace}/{} {problem}", reference.name));
    let secret = given.snapshot.secret(namespace, &reference.name);
    let secret = secret.ok_or_else(|| named("does not exist"))?;
    let pair = read_key_pair(secret).map_err(|problem| named(&problem))?;
    let names = match &given.scope.certificate_check {
        None => Vec::new(),
        Some(check) => {
            check.names(&pair).map_err(|problem| named(&format!("cannot be used: {problem}")))?
        }
    };
    Ok(Certificate { pair: Arc::new(pair), names })
}

fn read_key_pair(secret: &Secret) -> Result<KeyPair, String> {
    let kind = secret.kind.as_deref().unwrap_or("Opaque");
    if kind != TLS_SECRET {
        return Err(format!("is of type {kind}, expected {TLS_SECRET}"));
    }
    let value = |name: &str| match secret.value(name) {
        Ok(Some(value)) => String::from_utf8(value.into_owned())
            .map_err(|_| format!("has a key {name} that is no text, expected PEM")),
        Ok(None) => Err(format!("has no key {name}")),
        Err(error) => Err(format!("has a key {name} that is {error}")),
    };
    let (certificate, private_key) = (value("tls.crt")?, value("tls.key")?);
    pem::check_certificates(&certificate).map_err(|problem| format!("key tls.crt {problem}"))?;
    pem::check_private_key(&private_key).map_err(|problem| format!("key tls.key {problem}"))?;
    Ok(KeyPair {
        certificate: certificate.into_bytes().into(),
        private_key: private_key.into_bytes().into(),
    })
}

/// The fault of a reference that leaves its namespace; the same whether the target exists or not.
pub(super) fn not_permitted(from: &ObjectKey, to: Referent<'_>) -> Fault {
    let message = format!(
        "no ReferenceGrant in namespace {} permits {} of namespace {} to refer to {} {}/{}",
        to.namespace, from.kind, from.namespace, to.kind, to.namespace, to.name
    );
    Fault::new(Reason::RefNotPermitted, message)
}

// === Authorities ===

/// Certificates of authorities, gathered from several references.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorities {
    /// All usable ones, PEM.
    pub(super) pem: String,
    pub(super) faults: Vec<Fault>,
}

/// Reads `ca.crt` of every ConfigMap that is referred to.
pub(super) fn authorities<'r>(
    references: impl Iterator<Item = Referent<'r>>,
    owner: &ObjectKey,
    wrong_kind: &Reason,
    given: Given<'_>,
) -> Authorities {
    let mut gathered = Authorities::default();
    for reference in references {
        match authority(reference, owner, wrong_kind, given) {
            Ok(pem) => {
                gathered.pem.push_str(pem.trim_end());
                gathered.pem.push('\n');
            }
            Err(fault) => gathered.faults.push(fault),
        }
    }
    gathered
}

fn authority(
    reference: Referent<'_>,
    owner: &ObjectKey,
    wrong_kind: &Reason,
    given: Given<'_>,
) -> Result<String, Fault> {
    let Referent { group, kind, namespace, name } = reference;
    if (group, kind) != (CORE_GROUP, Kind::ConfigMap.as_str()) {
        let message = format!(
            "{group}/{kind} {namespace}/{name} cannot hold CA certificates, expected a core ConfigMap"
        );
        return Err(Fault::new(wrong_kind.clone(), message));
    }
    if !given.grants.permits(Referrer::of(owner), reference) {
        return Err(not_permitted(owner, reference));
    }
    let fault = |problem: &str| {
        let message = format!("ConfigMap {namespace}/{name} {problem}");
        Fault::new(Reason::InvalidCaCertificateRef, message)
    };
    let map = given.snapshot.config_map(namespace, name).ok_or_else(|| fault("does not exist"))?;
    let pem = read_ca(map).map_err(|problem| fault(&problem))?;
    if let Some(check) = &given.scope.certificate_check {
        check.authorities(&pem).map_err(|problem| fault(&format!("cannot be used: {problem}")))?;
    }
    Ok(pem)
}

fn read_ca(map: &ConfigMap) -> Result<String, String> {
    let pem = match (map.data.get("ca.crt"), map.binary_data.get("ca.crt")) {
        (Some(text), _) => text.clone(),
        (None, Some(encoded)) => {
            let bytes =
                encoded.decode().map_err(|error| format!("has a key ca.crt that is {error}"))?;
            String::from_utf8(bytes).map_err(|_| "has a key ca.crt that is no text".to_owned())?
        }
        (None, None) => return Err("has no key ca.crt".to_owned()),
    };
    pem::check_certificates(&pem).map_err(|problem| format!("key ca.crt {problem}"))?;
    Ok(pem)
}

// === Clients ===

/// How a Gateway checks its clients, by port.
#[derive(Clone, Debug, Default)]
pub(super) struct Frontend {
    default: Option<Validation>,
    per_port: BTreeMap<u16, Option<Validation>>,
}

/// One `validation` with its references resolved.
#[derive(Clone, Debug)]
pub(super) struct Validation {
    usable: Option<ClientValidation>,
    faults: Vec<Fault>,
    refused: Option<Fault>,
    insecure: bool,
}

impl Frontend {
    pub(super) fn new(gateway: &Gateway, key: &ObjectKey, given: Given<'_>) -> Self {
        let frontend = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref());
        let Some(frontend) = frontend else { return Self::default() };
        let read = |tls: Option<&api::TlsConfig>| {
            let validation = tls.and_then(|tls| tls.validation.as_ref());
            validation.map(|validation| Validation::new(validation, key, given))
        };
        // SPEC: a port's own entry replaces the default as a whole, also by having no validation.
        let per_port = frontend
            .per_port
            .iter()
            .filter_map(|entry| Some((u16::try_from(entry.port).ok()?, read(entry.tls.as_ref()))));
        Self { default: read(frontend.default.as_ref()), per_port: per_port.collect() }
    }

    fn on_port(&self, port: u16) -> Option<&Validation> {
        self.per_port.get(&port).unwrap_or(&self.default).as_ref()
    }

    /// Whether any port lets clients in without a valid certificate although it asks for one.
    pub(super) fn is_insecure(&self) -> bool {
        let validations = self.per_port.values().flatten().chain(&self.default);
        validations.into_iter().any(|validation| validation.insecure)
    }
}

impl Validation {
    fn new(validation: &FrontendTlsValidation, gateway: &ObjectKey, given: Given<'_>) -> Self {
        let references = validation.ca_certificate_refs.iter().map(|reference| Referent {
            group: reference.group(),
            kind: &reference.kind,
            namespace: reference.namespace(&gateway.namespace),
            name: &reference.name,
        });
        let Authorities { pem, faults } =
            authorities(references, gateway, &Reason::InvalidCaCertificateKind, given);
        let insecure = *validation.mode() == FrontendValidationModeType::AllowInsecureFallback;
        let refused = match validation.mode() {
            FrontendValidationModeType::Unknown(mode) => {
                let message = format!(
                    "the validation mode is {mode:?}, expected AllowValidOnly or AllowInsecureFallback"
                );
                Some(Fault::new(Reason::UnsupportedValue, message))
            }
            _ if pem.is_empty() => {
                let message = "no CA certificate for the validation of clients can be used";
                Some(Fault::new(Reason::NoValidCaCertificate, message))
            }
            _ => None,
        };
        let usable = refused
            .is_none()
            .then(|| ClientValidation { trusted: pem.into(), allow_insecure_fallback: insecure });
        Self { usable, faults, refused, insecure }
    }
}

// === Backends ===

/// The certificate that a Gateway shows to its backends, if it has one.
pub(super) type ClientCertificate = Option<Result<Arc<KeyPair>, Fault>>;

pub(super) fn client_certificate(
    gateway: &Gateway,
    key: &ObjectKey,
    given: Given<'_>,
) -> ClientCertificate {
    let backend = gateway.spec.tls.as_ref()?.backend.as_ref()?;
    let reference = backend.client_certificate_ref.as_ref()?;
    let certificate = key_pair(reference, key, &Reason::InvalidClientCertificateRef, given);
    Some(certificate.map(|certificate| certificate.pair))
}
