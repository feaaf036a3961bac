//! XBackends: DNS names outside of the cluster (experimental).
//!
//! In: a reference to an XBackend. Out: a [`Backend`]. Not here: looking names up.

use std::sync::Arc;

use crate::{
    api::{
        BackendObjectReference, Kind, ObjectKey, PreciseHostname, Reason, XBackend,
        XBackendProtocol, XBackendTls, XBackendTlsMode, XBackendType,
    },
    backend::{Backend, BackendKey, BackendProtocol, BackendTls, InvalidBackend},
};

use super::{
    Given,
    backend::{Rejected, Speaks},
    policy::read_validation,
    tls::key_pair,
};

/// Names that lead into the cluster or to the gateway itself.
const INTERNAL: &[&str] = &[".svc", ".cluster.local", ".localhost", ".local", ".internal"];

/// Follows a reference to an XBackend.
///
/// # Errors
///
/// Why requests for it are answered with 500.
pub(super) fn external(
    reference: &BackendObjectReference,
    namespace: &str,
    speaks: Speaks,
    given: Given<'_>,
) -> Result<Arc<Backend>, Rejected> {
    let key = ObjectKey::new(Kind::XBackend, namespace, &reference.name);
    let missing = |message| Rejected::new(InvalidBackend::NotFound, message);
    let backend = given.snapshot.backends().get(&key);
    let backend = backend.ok_or_else(|| missing(format!("{key} does not exist")))?;
    let port = u16::try_from(backend.spec.port.port).ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| {
        missing(format!("{key} has the port {}, expected 1 to 65535", backend.spec.port.port))
    })?;
    if let Some(wanted) = reference.port.filter(|wanted| *wanted != i32::from(port)) {
        return Err(missing(format!("{key} has no port {wanted}, it has {port}")));
    }
    let hostname = hostname(backend, &key)?;
    Ok(Arc::new(Backend {
        key: BackendKey {
            kind: key.kind,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            port,
        },
        protocol: protocol(backend, &key, speaks)?,
        tls: match &backend.spec.tls {
            Some(tls) => backend_tls(tls, &key, given)?,
            None => None,
        },
        external_hostname: Some(hostname),
        retry_budget: None,
        proxy_protocol: None,
        session_persistence: None,
    }))
}

fn hostname(backend: &XBackend, key: &ObjectKey) -> Result<Box<str>, Rejected> {
    if let XBackendType::Unknown(kind) = &backend.spec.kind {
        let message = format!("{key} is of type {kind:?}, expected ExternalHostname");
        return Err(Rejected::new(InvalidBackend::InvalidKind, message));
    }
    let hostname = backend.spec.external_hostname.as_ref().map_or("", |host| &host.hostname);
    let missing = |problem: String| {
        let message = format!("{key} has the hostname {hostname:?}: {problem}");
        Rejected::new(InvalidBackend::NotFound, message)
    };
    PreciseHostname::parse(hostname).map_err(|error| missing(error.to_string()))?;
    let is_internal = !hostname.contains('.') || INTERNAL.iter().any(|end| hostname.ends_with(end));
    if is_internal {
        return Err(missing("names inside of the cluster are not allowed".to_owned()));
    }
    Ok(hostname.into())
}

fn protocol(
    backend: &XBackend,
    key: &ObjectKey,
    speaks: Speaks,
) -> Result<BackendProtocol, Rejected> {
    let unsupported = |protocol: &XBackendProtocol| {
        let message = format!("{key} speaks {protocol}, which the route does not");
        Err(Rejected::new(InvalidBackend::UnsupportedProtocol, message))
    };
    let protocol = backend.spec.protocol.as_ref().unwrap_or(&XBackendProtocol::Http);
    match (speaks, protocol) {
        (Speaks::Udp, _) | (_, XBackendProtocol::Unknown(_)) => unsupported(protocol),
        (Speaks::Tcp | Speaks::TerminatedTls, _) => Ok(BackendProtocol::Tcp),
        (_, XBackendProtocol::Http2 | XBackendProtocol::H2c) => Ok(BackendProtocol::Http2),
        (
            Speaks::Http,
            XBackendProtocol::Http | XBackendProtocol::Http11 | XBackendProtocol::Mcp,
        ) => Ok(BackendProtocol::Http1),
        (Speaks::Grpc, XBackendProtocol::Http) => Ok(BackendProtocol::Http2),
        (Speaks::Http | Speaks::Grpc, _) => unsupported(protocol),
    }
}

fn backend_tls(
    tls: &XBackendTls,
    key: &ObjectKey,
    given: Given<'_>,
) -> Result<Option<Arc<BackendTls>>, Rejected> {
    let with_client = match &tls.mode {
        XBackendTlsMode::None => return Ok(None),
        XBackendTlsMode::ServerOnly => false,
        XBackendTlsMode::ClientAndServer => true,
        XBackendTlsMode::Unknown(mode) => {
            let message = format!(
                "{key} has the TLS mode {mode:?}, expected one of {}",
                XBackendTlsMode::KNOWN.join(", ")
            );
            return Err(Rejected::new(InvalidBackend::InvalidTls, message));
        }
    };
    let invalid = |message: String| {
        Rejected::new(InvalidBackend::InvalidTls, format!("TLS of {key}: {message}"))
    };
    let validation = tls.validation.as_ref();
    let validation = validation.ok_or_else(|| invalid("validation is missing".to_owned()))?;
    let read = read_validation(validation, key, given);
    let mut verified = read.tls.map_err(|fault| invalid(fault.message))?;
    if with_client {
        let reference = tls.client_certificate_ref.as_ref();
        let reference =
            reference.ok_or_else(|| invalid("clientCertificateRef is missing".to_owned()))?;
        let certificate = key_pair(reference, key, &Reason::InvalidClientCertificateRef, given);
        let certificate = certificate.map_err(|fault| invalid(fault.message))?;
        verified.client_certificate = Some(certificate.pair);
    }
    Ok(Some(Arc::new(verified)))
}
