//! The findings of one pass, kept by object so that they can be replaced object by object.
//!
//! In: faults and remarks. Out: [`Diagnostic`]s. Not here: the conditions that say the same.

use std::collections::BTreeMap;

use crate::{
    api::{ObjectKey, Reason},
    diagnostic::{Code, Diagnostic, FieldPath},
};

use super::status::Fault;

/// Findings by object.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    by_object: BTreeMap<ObjectKey, Vec<Diagnostic>>,
}

impl Notes {
    /// A mistake that also shows in a condition of `object`.
    pub(super) fn fault(&mut self, object: &ObjectKey, field: impl Into<FieldPath>, fault: &Fault) {
        self.add(object, field, Diagnostic::error(code(&fault.reason), &*fault.message));
    }

    /// Something that no condition shows.
    pub(super) fn warn(
        &mut self,
        object: &ObjectKey,
        field: impl Into<FieldPath>,
        code: Code,
        message: impl Into<String>,
    ) {
        self.add(object, field, Diagnostic::warning(code, message));
    }

    fn add(&mut self, object: &ObjectKey, field: impl Into<FieldPath>, diagnostic: Diagnostic) {
        let diagnostic = diagnostic.object(object.clone()).field(field.into());
        self.by_object.entry(object.clone()).or_default().push(diagnostic);
    }

    /// Drops what was said about `object`.
    pub(super) fn clear(&mut self, object: &ObjectKey) {
        self.by_object.remove(object);
    }

    /// All findings, ordered by object.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.by_object.values().flatten()
    }
}

fn code(reason: &Reason) -> Code {
    match reason {
        Reason::NoMatchingListenerHostname
        | Reason::NoMatchingParent
        | Reason::NotAllowed
        | Reason::NotAllowedByListeners
        | Reason::ParentNotAccepted => Code::NotAttached,
        Reason::BackendNotFound | Reason::TargetNotFound => Code::ReferenceNotFound,
        Reason::RefNotPermitted => Code::ReferenceNotPermitted,
        Reason::InvalidKind | Reason::InvalidCaCertificateKind | Reason::InvalidRouteKinds => {
            Code::ReferenceKind
        }
        Reason::UnsupportedProtocol => Code::UnsupportedProtocol,
        Reason::InvalidCaCertificateRef
        | Reason::InvalidCertificateRef
        | Reason::InvalidClientCertificateRef
        | Reason::InvalidTlsConfig
        | Reason::NoValidCaCertificate => Code::CertificateUnusable,
        Reason::HostnameConflict | Reason::ProtocolConflict | Reason::PortUnavailable => {
            Code::ListenerNotServed
        }
        Reason::Conflicted => Code::PolicyWithoutEffect,
        Reason::AddressNotUsable | Reason::UnsupportedAddress => Code::AddressUnusable,
        Reason::InvalidParameters => Code::ParametersUnsupported,
        _ => Code::UnsupportedValue,
    }
}
