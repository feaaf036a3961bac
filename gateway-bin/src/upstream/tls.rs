//! TLS towards backends, as a BackendTLSPolicy asks for it.
//!
//! In: [`BackendTls`] with PEM texts. Out: a rustls configuration that refuses every backend which
//! the policy does not name. Not here: a way around verification.

use std::sync::Arc;

use gateway_core::backend::{BackendProtocol, BackendTls, BackendTrust, KeyPair, SubjectAltName};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};

use super::connect::ClientTls;

/// Builds the configuration for connections under `policy`.
///
/// # Errors
/// If the policy names no usable authority, name or client certificate; the text says which.
pub(super) fn client_tls(
    policy: &BackendTls,
    protocol: BackendProtocol,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientTls, Box<str>> {
    let name = ServerName::try_from(policy.hostname.to_string())
        .map_err(|_| format!("{} is no hostname", policy.hostname))?;
    let verifier = WebPkiServerVerifier::builder_with_provider(
        Arc::new(roots(&policy.trust)?),
        Arc::clone(provider),
    )
    .build()
    .map_err(|error| error.to_string())?;
    let verifier = PolicyVerifier { verifier, names: policy.subject_alt_names.clone() };
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &policy.client_certificate {
        Some(pair) => {
            let (chain, key) = key_pair(pair)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| error.to_string())?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = match protocol {
        BackendProtocol::Http1 => vec![b"http/1.1".to_vec()],
        BackendProtocol::Http2 => vec![b"h2".to_vec()],
        // Whatever the bytes are, the client has chosen it.
        BackendProtocol::Tcp | BackendProtocol::Udp => Vec::new(),
    };
    Ok((Arc::new(config), name))
}

/// Reads a certificate chain and its key.
///
/// # Errors
/// If either is not PEM or missing.
pub(crate) fn key_pair(
    pair: &KeyPair,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let chain = CertificateDer::pem_slice_iter(&pair.certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the PEM text".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(&pair.private_key)
        .map_err(|error| format!("the private key is not PEM: {error}"))?;
    Ok((chain, key))
}

/// Reads PEM certificates of authorities.
///
/// # Errors
/// If there is none that can be used.
pub(crate) fn roots_of_pem(pem: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err("there is no usable authority in the PEM text".to_owned());
    }
    Ok(roots)
}

fn roots(trust: &BackendTrust) -> Result<RootCertStore, String> {
    match trust {
        BackendTrust::Certificates(pem) => roots_of_pem(pem),
        BackendTrust::System => {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                return Err("the system trusts no authority".to_owned());
            }
            Ok(roots)
        }
    }
}

/// Verifies the chain always, then the hostname or, if the policy names any, one of its subject
/// alternative names.
#[derive(Debug)]
struct PolicyVerifier {
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<SubjectAltName>,
}

impl ServerCertVerifier for PolicyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if self.names.is_empty() {
            return verified;
        }
        // SPEC: with subjectAltNames the certificate need not bear the hostname. The chain was
        // verified before the name, so an error about the name means that the chain is good.
        match verified {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(error) => return Err(error),
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if self.names.iter().any(|name| has_name(&certificate, end_entity, name)) {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidForName))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn has_name(
    parsed: &ParsedCertificate<'_>,
    certificate: &CertificateDer<'_>,
    name: &SubjectAltName,
) -> bool {
    match name {
        SubjectAltName::Hostname(hostname) => ServerName::try_from(&**hostname)
            .is_ok_and(|name| rustls::client::verify_server_name(parsed, &name).is_ok()),
        SubjectAltName::Uri(uri) => webpki::EndEntityCert::try_from(certificate)
            .is_ok_and(|certificate| certificate.valid_uri_names().any(|name| name == &**uri)),
    }
}
