//! What backends are told about the client: `X-Forwarded-For`, `-Proto`, `-Host` and
//! `-Client-Cert`.

use std::net::IpAddr;

use gateway_core::matcher::Scheme;
use http::{HeaderName, HeaderValue, header, request};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// The other end of a client's connection.
#[derive(Clone, Debug)]
pub struct Peer {
    address: HeaderValue,
    scheme: Scheme,
    certificate: Option<HeaderValue>,
}

impl Peer {
    /// A client at `address` over plain text or TLS.
    #[must_use]
    pub fn new(address: IpAddr, scheme: Scheme) -> Self {
        // IPv4 clients of an IPv6 socket are known by their IPv4 address.
        let address = HeaderValue::from_str(&address.to_canonical().to_string());
        let address = address.unwrap_or(HeaderValue::from_static("unknown"));
        Self { address, scheme, certificate: None }
    }

    /// With a verified certificate, which backends are told of in these words.
    #[must_use]
    pub fn with_certificate(self, certificate: HeaderValue) -> Self {
        Self { certificate: Some(certificate), ..self }
    }

    /// The address as text.
    #[must_use]
    pub const fn address(&self) -> &HeaderValue {
        &self.address
    }

    /// Plain text or TLS.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }
}

/// Whether backends take the field for the word of a proxy.
pub(super) fn is_forgeable(name: &str) -> bool {
    match name.as_bytes().first() {
        Some(b'x') => name.starts_with("x-forwarded-") || name == "x-real-ip",
        Some(b'f') => name == "forwarded",
        _ => false,
    }
}

/// Sets the fields. Behind trusted proxies what they wrote stays, and the peer is put last.
pub(super) fn set(head: &mut request::Parts, peer: &Peer, trusted_hops: usize) {
    let proto = HeaderValue::from_static(peer.scheme.as_str());
    let host = head.headers.get(header::HOST).cloned();
    if let Some(certificate) = &peer.certificate {
        head.headers.insert(CERTIFICATE, certificate.clone());
    }
    if trusted_hops == 0 {
        head.headers.insert(FOR, peer.address.clone());
        head.headers.insert(PROTO, proto);
        if let Some(host) = host {
            head.headers.insert(HOST, host);
        }
        return;
    }
    let address = chain(head, peer);
    head.headers.insert(FOR, address);
    head.headers.entry(PROTO).or_insert(proto);
    if let Some(host) = host {
        head.headers.entry(HOST).or_insert(host);
    }
}

fn chain(head: &request::Parts, peer: &Peer) -> HeaderValue {
    let mut chain = Vec::new();
    for value in head.headers.get_all(FOR) {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(peer.address.as_bytes());
    HeaderValue::from_bytes(&chain).unwrap_or_else(|_| peer.address.clone())
}
