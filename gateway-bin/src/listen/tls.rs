//! TLS of HTTPS and TLS listeners: the listener by server name, then its certificate.
//!
//! In: the TLS of the listeners of a socket. Out: a rustls configuration for each, chosen by the
//! client's server name. New handshakes use the newest ones; connections keep theirs, and end after
//! what they are at once their listener asks something else of clients. Not here: whether a
//! certificate may be used, which `resolve` has judged.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use gateway_core::{
    matcher::HostPattern,
    resolve::topology::{
        CipherSuite, ClientValidation, Listener, ListenerProtocol, ListenerTls, TlsOptions,
        TlsVersion,
    },
};
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    SupportedCipherSuite, SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{
        ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert,
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::Drain;
use crate::upstream::{
    lock,
    tls::{key_pair, roots_of_pem},
};

/// The TLS listeners of one socket, the most specific hostname first.
#[derive(Debug, Default)]
pub(crate) struct TlsListeners(Vec<TlsListener>);

#[derive(Debug)]
struct TlsListener {
    hostname: HostPattern,
    /// None for listeners that pass TLS through.
    source: Option<Arc<ListenerTls>>,
    is_https: bool,
    /// None for listeners that cannot be set up, and where there is nothing to set up.
    setup: Option<TlsSetup>,
    /// As that of the setup, also while there is none: connections outlive a certificate that breaks.
    drain: Arc<Drain>,
}

/// How TLS of a listener is ended.
#[derive(Clone, Debug)]
pub(super) struct TlsSetup {
    pub(super) config: Arc<ServerConfig>,
    /// Where everybody is let in: what a certificate has to pass to be believed.
    pub(super) lenient: Option<Arc<dyn ClientCertVerifier>>,
    /// The connections that were let in this way, for as long as the listener asks the same of
    /// clients.
    pub(super) drain: Arc<Drain>,
}

impl TlsListeners {
    /// The setup for a client that asks for `sni`; none closes the connection.
    // SPEC: a listener without hostname takes unknown server names and clients that send none.
    pub(super) fn choose(&self, sni: Option<&str>) -> Option<&TlsSetup> {
        let host = sni.unwrap_or("");
        let chosen = self.0.iter().find(|listener| listener.hostname.is_match(host));
        chosen.and_then(|listener| listener.setup.as_ref())
    }

    /// Whether any listener is not HTTPS, so that the route table has to be asked who a connection
    /// is for.
    pub(super) fn has_streams(&self) -> bool {
        self.0.iter().any(|listener| !listener.is_https)
    }

    /// The newest setup for `listener`, which may be from the table before this one.
    pub(super) fn of(&self, listener: &Listener) -> Option<TlsSetup> {
        let is_https = matches!(listener.protocol, ListenerProtocol::Https(_));
        let mut same = self.0.iter().filter(|known| known.hostname == listener.hostname);
        same.find(|known| known.is_https == is_https).and_then(|known| known.setup.clone())
    }

    /// Has connections ended that were let in as `before` told and would not be let in that way now.
    /// A certificate that was renewed ends none.
    pub(super) fn drain_outdated(&self, before: &Self, patience: Duration) {
        for TlsListener { drain, .. } in &before.0 {
            if !self.0.iter().any(|kept| Arc::ptr_eq(&kept.drain, drain)) {
                drain.begin(Some(patience));
            }
        }
    }

    /// Joins connections of `before` to those of the listeners that they would find today, if they
    /// would find the same terms.
    fn keep_connections(&mut self, before: &Self) {
        let is_new = |listener: &TlsListener| {
            !before.0.iter().any(|known| known.hostname == listener.hostname)
        };
        let new: Vec<(HostPattern, Option<Arc<ListenerTls>>)> = self
            .0
            .iter()
            .filter(|listener| listener.source.is_some() && is_new(listener))
            .map(|listener| (listener.hostname.clone(), listener.source.clone()))
            .collect();
        for listener in &mut self.0 {
            let same = before.0.iter().find(|known| {
                known.hostname == listener.hostname
                    && known.is_https == listener.is_https
                    && have_same_terms(&known.source, &listener.source)
            });
            // Names that have a stricter listener of their own now were among those of this one.
            let taken = new.iter().any(|(hostname, source)| {
                listener.hostname.intersect(hostname).as_ref() == Some(hostname)
                    && !have_same_terms(source, &listener.source)
            });
            if let Some(known) = same.filter(|_| !taken) {
                listener.drain = Arc::clone(&known.drain);
            }
            if let Some(setup) = &mut listener.setup {
                setup.drain = Arc::clone(&listener.drain);
            }
        }
    }
}

/// Whether clients are let in on the same terms.
fn have_same_terms(one: &Option<Arc<ListenerTls>>, other: &Option<Arc<ListenerTls>>) -> bool {
    let terms = |tls: &Option<Arc<ListenerTls>>| {
        tls.as_ref().map(|tls| (tls.client_validation.clone(), tls.options.clone()))
    };
    terms(one) == terms(other)
}

/// Builds configurations, and keeps what must outlive them: ticket keys.
#[derive(Debug)]
pub(crate) struct TlsFactory {
    provider: Arc<CryptoProvider>,
    /// One set of ticket keys for each way to verify clients that is in use, so that a session cannot
    /// be carried from a listener that asks for no certificate to one that does.
    tickets: Mutex<HashMap<Option<ClientValidation>, Arc<dyn ProducesTickets>>>,
}

impl TlsFactory {
    pub(crate) fn new(provider: Arc<CryptoProvider>) -> Self {
        Self { provider, tickets: Mutex::default() }
    }

    /// The configurations of a socket's listeners; those of `before` whose source is the same stay.
    pub(crate) fn listeners(
        &self,
        listeners: &[Arc<Listener>],
        before: &TlsListeners,
    ) -> TlsListeners {
        let mut built: Vec<TlsListener> = listeners
            .iter()
            .map(|listener| {
                let hostname = listener.hostname.clone();
                let (tls, is_https) = match &listener.protocol {
                    ListenerProtocol::Https(tls) => (tls, true),
                    ListenerProtocol::TlsTerminate(tls) => (tls, false),
                    _ => {
                        return TlsListener {
                            hostname,
                            source: None,
                            is_https: false,
                            setup: None,
                            drain: Arc::default(),
                        };
                    }
                };
                let is_same = |known: &&TlsListener| {
                    known.is_https == is_https && known.source.as_ref() == Some(tls)
                };
                let setup = match before.0.iter().find(is_same) {
                    Some(known) => known.setup.clone(),
                    // INVARIANT: without setup every handshake is refused.
                    None => self.setup(tls, is_https).ok(),
                };
                let (source, drain) = (Some(Arc::clone(tls)), Arc::default());
                TlsListener { hostname, source, is_https, setup, drain }
            })
            .collect();
        built.sort_by(|a, b| a.hostname.specificity_cmp(&b.hostname));
        let mut built = TlsListeners(built);
        built.keep_connections(before);
        self.forget_tickets();
        built
    }

    fn setup(&self, tls: &ListenerTls, is_https: bool) -> Result<TlsSetup, String> {
        let builder = ServerConfig::builder_with_provider(self.provider_for(&tls.options))
            .with_protocol_versions(&versions(tls.options.min_version))
            .map_err(|error| error.to_string())?;
        let mut lenient = None;
        let builder = match &tls.client_validation {
            None => builder.with_no_client_auth(),
            Some(validation) => {
                let verifier = self.client_verifier(validation)?;
                if validation.allow_insecure_fallback {
                    lenient = Some(Arc::clone(&verifier));
                    builder.with_client_cert_verifier(Arc::new(InsecureFallback(verifier)))
                } else {
                    builder.with_client_cert_verifier(verifier)
                }
            }
        };
        let certificates = Certificates::new(tls, &self.provider)?;
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        if is_https {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = self.tickets(tls.client_validation.as_ref())?;
        Ok(TlsSetup { config: Arc::new(config), lenient, drain: Arc::default() })
    }

    fn provider_for(&self, options: &TlsOptions) -> Arc<CryptoProvider> {
        if options.cipher_suites.is_empty() {
            return Arc::clone(&self.provider);
        }
        let suites = options.cipher_suites.iter().map(|suite| supported(*suite));
        let cipher_suites = suites.collect();
        Arc::new(CryptoProvider { cipher_suites, ..(*self.provider).clone() })
    }

    fn tickets(
        &self,
        validation: Option<&ClientValidation>,
    ) -> Result<Arc<dyn ProducesTickets>, String> {
        let mut tickets = lock(&self.tickets);
        if let Some(known) = tickets.get(&validation.cloned()) {
            return Ok(Arc::clone(known));
        }
        let new = rustls::crypto::ring::Ticketer::new().map_err(|error| error.to_string())?;
        tickets.insert(validation.cloned(), Arc::clone(&new));
        Ok(new)
    }

    /// Forgets the keys that no configuration uses any more: sessions with them cannot be resumed
    /// anyway.
    fn forget_tickets(&self) {
        lock(&self.tickets).retain(|_, keys| Arc::strong_count(keys) > 1);
    }

    fn client_verifier(
        &self,
        validation: &ClientValidation,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let roots = Arc::new(roots_of_pem(&validation.trusted)?);
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
        verifier.map_err(|error| error.to_string())
    }
}

fn versions(least: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match least {
        TlsVersion::V1_2 => vec![&TLS13, &TLS12],
        TlsVersion::V1_3 => vec![&TLS13],
    }
}

fn supported(suite: CipherSuite) -> SupportedCipherSuite {
    use rustls::crypto::ring::cipher_suite as ring;
    match suite {
        CipherSuite::Aes256GcmSha384 => ring::TLS13_AES_256_GCM_SHA384,
        CipherSuite::Aes128GcmSha256 => ring::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Chacha20Poly1305Sha256 => ring::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheEcdsaAes256GcmSha384 => ring::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaAes128GcmSha256 => ring::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256 => {
            ring::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
        }
        CipherSuite::EcdheRsaAes256GcmSha384 => ring::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaAes128GcmSha256 => ring::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaChacha20Poly1305Sha256 => {
            ring::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
        }
    }
}

/// The certificates of one listener with the names that they are for.
struct Certificates(Vec<(Vec<HostPattern>, Arc<CertifiedKey>)>);

impl Certificates {
    fn new(tls: &ListenerTls, provider: &CryptoProvider) -> Result<Self, String> {
        let mut certificates = Vec::new();
        for pair in &tls.certificates {
            let (chain, key) = key_pair(pair)?;
            let names = names_of(&chain)?;
            let key = CertifiedKey::from_der(chain, key, provider);
            certificates.push((names, Arc::new(key.map_err(|error| error.to_string())?)));
        }
        if certificates.is_empty() {
            return Err("the listener has no certificate".to_owned());
        }
        Ok(Self(certificates))
    }

    // SPEC: the longest match, exact over wildcard; else the first certificate.
    fn choose(&self, sni: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let sni = sni.unwrap_or("");
        let best = |names: &[HostPattern]| {
            names
                .iter()
                .filter(|name| covers(name, sni))
                .min_by(|a, b| a.specificity_cmp(b))
                .cloned()
        };
        let fitting = self.0.iter().filter_map(|(names, key)| Some((best(names)?, key)));
        let fitting = fitting.min_by(|(a, _), (b, _)| a.specificity_cmp(b));
        fitting.map(|(_, key)| key).or_else(|| self.0.first().map(|(_, key)| key))
    }
}

/// A wildcard of a certificate stands for one label only (RFC 6125 section 6.4.3).
fn covers(name: &HostPattern, sni: &str) -> bool {
    match name {
        HostPattern::Wildcard(suffix) => {
            name.is_match(sni) && !sni[..sni.len() - suffix.len()].contains('.')
        }
        _ => name.is_match(sni),
    }
}

fn names_of(chain: &[CertificateDer<'static>]) -> Result<Vec<HostPattern>, String> {
    let leaf = chain.first().ok_or("the chain is empty")?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
    Ok(leaf.valid_dns_names().map(HostPattern::new).collect())
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(names, _)| names)).finish()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).cloned()
    }
}

/// `AllowInsecureFallback`: a certificate is asked for, and whatever comes is let in.
#[derive(Debug)]
struct InsecureFallback(Arc<dyn ClientCertVerifier>);

impl ClientCertVerifier for InsecureFallback {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use gateway_core::{
        api::{Kind, ObjectKey},
        backend::KeyPair,
        matcher::HostPattern,
        resolve::topology::{
            ClientValidation, Listener, ListenerProtocol, ListenerTls, TlsOptions,
        },
    };

    use super::{TlsFactory, TlsListeners, lock};

    /// A certificate that anybody may trust, and its key.
    fn pair() -> (Arc<KeyPair>, Arc<str>) {
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).expect("made");
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let trusted: Arc<str> = certificate.clone().into();
        let (certificate, private_key) = (certificate.into_bytes().into(), key.into_bytes().into());
        (Arc::new(KeyPair { certificate, private_key }), trusted)
    }

    fn listener(trusted: Option<Arc<str>>, pair: &Arc<KeyPair>) -> Arc<Listener> {
        let gateway = ObjectKey::new(Kind::Gateway, "default", "gw");
        let validation = |trusted| ClientValidation { trusted, allow_insecure_fallback: false };
        let tls = ListenerTls {
            certificates: vec![Arc::clone(pair)],
            client_validation: trusted.map(validation),
            options: TlsOptions::default(),
        };
        Arc::new(Listener {
            gateway: gateway.clone(),
            owner: gateway,
            name: "web".into(),
            hostname: HostPattern::new(""),
            port: 443,
            protocol: ListenerProtocol::Https(Arc::new(tls)),
        })
    }

    #[test]
    fn ticket_keys_last_as_long_as_the_authority_that_they_are_for() {
        let factory = TlsFactory::new(Arc::new(rustls::crypto::ring::default_provider()));
        let (certificate, _) = pair();
        let mut socket = TlsListeners::default();
        let other = factory.listeners(&[listener(None, &certificate)], &TlsListeners::default());
        for _ in 0..5 {
            let (_, trusted) = pair();
            socket = factory.listeners(&[listener(Some(trusted), &certificate)], &socket);
        }
        // The old configuration was there until the new one was.
        assert!(lock(&factory.tickets).len() <= 3);
        socket = factory.listeners(&[listener(None, &certificate)], &socket);
        factory.forget_tickets();
        assert_eq!(lock(&factory.tickets).len(), 1);
        drop((socket, other));
    }
}
