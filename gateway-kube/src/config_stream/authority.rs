//! The controller's own certificate authority, and the certificate that it shows to data planes.
//!
//! In: a Secret of the controller's namespace, made at the first start. Out: the authority's
//! certificate for the pods, and short-lived certificates for the server, whose keys never leave the
//! process. Not here: the server.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    ByteString,
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::{Span, Timestamp, ToSpan, civil::Date, tz::TimeZone},
};
use kube::{Api, api::PostParams};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use tokio::time::interval;

use super::server::Resolver;
use crate::{
    connect::Connection,
    notice::{Notice, Notices},
};

/// The kind and the keys of the Secret.
const KIND: &str = "kubernetes.io/tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Years that the authority lasts.
const AUTHORITY_YEARS: i32 = 10;

/// Days that a certificate of the server lasts. A new one is made every day.
const SERVER_DAYS: i32 = 14;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The Secret cannot be read or written.
    #[error("cannot read or make the Secret {0}")]
    Secret(String, #[source] Box<kube::Error>),
    /// The Secret holds something else.
    #[error("the Secret {0} holds no authority ({1}); delete it to have a new one made")]
    Unusable(String, String),
    /// A certificate cannot be made.
    #[error("cannot make a certificate")]
    Certificate(#[source] rcgen::Error),
    /// A certificate cannot be used.
    #[error("cannot use a certificate")]
    Tls(#[source] rustls::Error),
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    key: KeyPair,
}

impl Authority {
    /// Makes a new one.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn new() -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Certificate)?;
        let mut params = authority_params();
        last(&mut params, AUTHORITY_YEARS.years());
        let certificate = params.self_signed(&key).map_err(AuthorityError::Certificate)?;
        Ok(Self { certificate: certificate.pem(), key })
    }

    /// Reads one from PEM.
    ///
    /// # Errors
    /// A message if the texts are no certificate and its key.
    pub fn read(certificate: &str, key: &str) -> Result<Self, String> {
        let key = KeyPair::from_pem(key).map_err(|error| format!("{KEY}: {error}"))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|error| format!("{CERTIFICATE}: {error}"))?;
        certified(der, &key).map_err(|error| format!("{CERTIFICATE}: {error}"))?;
        Ok(Self { certificate: certificate.to_owned(), key })
    }

    /// Its certificate as PEM, for those who are to trust it.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Makes a certificate for a server of this name with a key of its own.
    ///
    /// # Errors
    /// If the name is neither a DNS name nor an address.
    pub fn issue(&self, name: &str) -> Result<CertifiedKey, AuthorityError> {
        let key = KeyPair::generate().map_err(AuthorityError::Certificate)?;
        let names = [name.to_owned()];
        let mut params = CertificateParams::new(names).map_err(AuthorityError::Certificate)?;
        params.distinguished_name = DistinguishedName::new();
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        last(&mut params, SERVER_DAYS.days());
        let issuer = Issuer::new(authority_params(), &self.key);
        let made = params.signed_by(&key, &issuer).map_err(AuthorityError::Certificate)?;
        certified(made.der().clone(), &key).map_err(AuthorityError::Tls)
    }
}

/// Reads the authority of the Secret, which is made if there is none. Replicas share it.
///
/// # Errors
/// If the API server refuses, or the Secret holds something else.
pub async fn keep_authority(
    connection: &Connection,
    namespace: &str,
    name: &str,
) -> Result<Authority, AuthorityError> {
    let api: Api<Secret> = Api::namespaced(connection.client.clone(), namespace);
    let said = || format!("{namespace}/{name}");
    let failed = |error| AuthorityError::Secret(said(), Box::new(error));
    let mut found = api.get_opt(name).await.map_err(failed)?;
    if found.is_none() {
        let authority = Authority::new()?;
        match api.create(&PostParams::default(), &authority.secret(name)).await {
            Ok(_) => return Ok(authority),
            // Another replica was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed(error)),
        }
        found = Some(api.get(name).await.map_err(failed)?);
    }
    let data = found.and_then(|secret| secret.data).unwrap_or_default();
    let text = |key: &str| {
        let value = data.get(key).ok_or_else(|| format!("{key} is missing"))?;
        String::from_utf8(value.0.clone()).map_err(|_| format!("{key} is no text"))
    };
    let authority = match (text(CERTIFICATE), text(KEY)) {
        (Ok(certificate), Ok(key)) => Authority::read(&certificate, &key),
        (Err(error), _) | (_, Err(error)) => Err(error),
    };
    authority.map_err(|error| AuthorityError::Unusable(said(), error))
}

/// Shows a new certificate for `name` every day, until the task is dropped.
pub async fn renew(authority: &Authority, name: &str, shown: &Resolver, notices: &Notices) {
    let mut daily = interval(DAY);
    // The first one is shown already.
    daily.tick().await;
    loop {
        daily.tick().await;
        match authority.issue(name) {
            Ok(certificate) => shown.show(certificate),
            Err(error) => notices(Notice::Unserved(error.to_string())),
        }
    }
}

impl Authority {
    fn secret(&self, name: &str) -> Secret {
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        Secret {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            type_: Some(KIND.to_owned()),
            data: Some(
                [
                    (CERTIFICATE.to_owned(), text(&self.certificate)),
                    (KEY.to_owned(), text(&self.key.serialize_pem())),
                ]
                .into(),
            ),
            ..Secret::default()
        }
    }
}

/// What issued certificates refer to: the same for every authority.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "gateway configuration");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

fn certified(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
) -> Result<CertifiedKey, rustls::Error> {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    CertifiedKey::from_der(vec![certificate], key, &provider)
}

/// Sets from when to when a certificate counts: from yesterday, since clocks differ.
fn last(params: &mut CertificateParams, until: Span) {
    let of = |date: Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(i32::from(date.year()), month, day)
    };
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    params.not_before = of(today.saturating_sub(1.day()));
    params.not_after = of(today.saturating_add(until));
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn an_authority_survives_its_secret() {
        let made = Authority::new().expect("there is randomness");
        let secret = made.secret("ca").data.expect("data");
        let text = |key: &str| String::from_utf8(secret[key].0.clone()).expect("text");
        let read = Authority::read(&text("tls.crt"), &text("tls.key")).expect("it can be read");
        assert_eq!(read.certificate(), made.certificate());
        assert_eq!(read.key.serialized_der(), made.key.serialized_der());
    }

    #[test]
    fn anything_else_is_told() {
        let (one, other) = (Authority::new().expect("one"), Authority::new().expect("other"));
        let wrong = |certificate: &str, key: &str| {
            Authority::read(certificate, key).map(|_| ()).expect_err("it is no authority")
        };
        assert!(wrong("x", &one.key.serialize_pem()).starts_with("tls.crt: "));
        assert!(wrong(one.certificate(), "x").starts_with("tls.key: "));
        assert!(wrong(one.certificate(), &other.key.serialize_pem()).starts_with("tls.crt: "));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let authority = Authority::new().expect("there is randomness");
        assert!(authority.issue("gateway.gateway-system.svc").is_ok());
        assert!(authority.issue("127.0.0.1").is_ok());
        assert!(authority.issue("naïve").is_err());
    }
}
