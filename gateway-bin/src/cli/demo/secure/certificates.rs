//! An authority and its certificates, made in memory.
//!
//! Out: Secrets and a ConfigMap for the Gateway, configurations for backends, and a folder with the
//! three files that curl needs: whom to trust, and who the client is. Keys of servers are never
//! written down.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use gateway_core::api::{ConfigMap, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// The namespace of the demo's objects.
const NAMESPACE: &str = "default";

/// The demo's own authority.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> io::Result<Self> {
        let mut params = CertificateParams::new([]).map_err(io::Error::other)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = named("gateway demo");
        let key = KeyPair::generate().map_err(io::Error::other)?;
        CertifiedIssuer::self_signed(params, key).map(Self).map_err(io::Error::other)
    }

    /// PEM.
    pub(super) fn certificate(&self) -> String {
        self.0.pem()
    }

    /// The ConfigMap that listeners and policies trust.
    pub(super) fn config_map(&self, name: &str) -> ConfigMap {
        let mut map = ConfigMap::default();
        map.metadata.name = name.to_owned();
        map.metadata.namespace = NAMESPACE.to_owned();
        map.data.insert("ca.crt".to_owned(), self.certificate());
        map
    }

    /// The Secret of a listener.
    pub(super) fn secret(&self, name: &str, host: &str) -> io::Result<Secret> {
        let (certificate, key) = self.sign(host)?;
        Ok(Secret::tls(NAMESPACE, name, certificate.pem(), key.serialize_pem()))
    }

    /// What a backend of this name shows.
    pub(super) fn server(&self, host: &str) -> io::Result<Arc<ServerConfig>> {
        let (certificate, key) = self.sign(host)?;
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        // Not the provider of the process: a library must not set one.
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }

    /// A client's certificate and its key in one text of PEM, as curl takes them.
    pub(super) fn client(&self, name: &str) -> io::Result<String> {
        let (certificate, key) = self.sign(name)?;
        Ok(certificate.pem() + &key.serialize_pem())
    }

    fn sign(&self, name: &str) -> io::Result<(rcgen::Certificate, KeyPair)> {
        let mut params = CertificateParams::new([name.to_owned()]).map_err(io::Error::other)?;
        params.distinguished_name = named(name);
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.0).map_err(io::Error::other)?;
        Ok((certificate, key))
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// The files for curl, in a folder that only this user can open and that goes with this.
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn write(authority: &str, client: &str) -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("gateway-demo-{}", std::process::id()));
        // A folder that is there already may be somebody else's.
        DirBuilder::new().mode(0o700).create(&path)?;
        let files = Self(path);
        fs::write(files.authority(), authority)?;
        fs::write(files.client(), client)?;
        Ok(files)
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    pub(super) fn client(&self) -> PathBuf {
        self.0.join("client.pem")
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // What cannot be removed stays for the system to clean up.
        let _ = fs::remove_dir_all(&self.0);
    }
}
