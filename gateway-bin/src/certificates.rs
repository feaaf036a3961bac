//! Looks into certificates for `resolve`, so that a listener whose certificate cannot serve says so
//! in its status rather than in failed handshakes.

use std::sync::Arc;

use gateway_core::{backend::KeyPair, scope::CertificateCheck};
use rustls::{crypto::CryptoProvider, sign::CertifiedKey};

use crate::upstream::tls::{key_pair, roots_of_pem};

/// Judges certificates as the data plane will.
#[derive(Debug)]
pub struct Certificates(Arc<CryptoProvider>);

impl Default for Certificates {
    fn default() -> Self {
        Self(Arc::new(rustls::crypto::ring::default_provider()))
    }
}

impl CertificateCheck for Certificates {
    fn names(&self, pair: &KeyPair) -> Result<Vec<String>, String> {
        let (chain, key) = key_pair(pair)?;
        let leaf = chain.first().ok_or("the chain is empty")?.clone();
        CertifiedKey::from_der(chain, key, &self.0).map_err(|error| error.to_string())?;
        let leaf = webpki::EndEntityCert::try_from(&leaf).map_err(|error| error.to_string())?;
        Ok(leaf.valid_dns_names().map(str::to_owned).collect())
    }

    fn authorities(&self, pem: &str) -> Result<(), String> {
        roots_of_pem(pem).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use gateway_core::{backend::KeyPair, scope::CertificateCheck};
    use rcgen::{CertificateParams, KeyPair as Key};

    use super::Certificates;

    fn pair(certificate: &str, key: &Key) -> KeyPair {
        KeyPair {
            certificate: certificate.as_bytes().into(),
            private_key: key.serialize_pem().into_bytes().into(),
        }
    }

    #[test]
    fn names_of_good_pairs_and_reasons_of_bad_ones() {
        let (key, other) = (Key::generate().expect("a key"), Key::generate().expect("a key"));
        let names = vec!["a.example".to_owned(), "*.b.example".to_owned()];
        let params = CertificateParams::new(names.clone()).expect("parameters");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let check = Certificates::default();
        assert_eq!(check.names(&pair(&certificate, &key)), Ok(names));
        assert!(check.names(&pair(&certificate, &other)).is_err());
        assert!(check.names(&pair("", &key)).is_err());
        assert!(check.names(&pair("-----BEGIN CERTIFICATE-----", &key)).is_err());
        assert_eq!(check.authorities(&certificate), Ok(()));
        assert!(check.authorities("no PEM").is_err());
    }
}
