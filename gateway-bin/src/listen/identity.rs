//! Who a client is by its certificate, in the words of the header `X-Forwarded-Client-Cert`.
//!
//! In: a connection whose handshake is done. Out: the header's value, for verified certificates
//! only. Not here: whether backends are told (`Limits::client_certificates`).

use std::{fmt::Write as _, sync::Arc};

use http::HeaderValue;
use rustls::{
    ServerConnection, crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256, pki_types::UnixTime,
    server::danger::ClientCertVerifier,
};

/// Bytes of all names together; backends limit what they read.
const MOST: usize = 4096;

/// The SHA-256 of the client's certificate and the URIs and DNS names in it:
/// `Hash=<hex>;URI=<uri>;DNS=<name>`, as Envoy writes them.
///
/// `lenient` is the verifier of a listener that lets everybody in: the certificate has to pass it.
pub(super) fn client_certificate(
    connection: &ServerConnection,
    lenient: Option<&Arc<dyn ClientCertVerifier>>,
) -> Option<HeaderValue> {
    let (leaf, intermediates) = connection.peer_certificates()?.split_first()?;
    if let Some(verifier) = lenient {
        verifier.verify_client_cert(leaf, intermediates, UnixTime::now()).ok()?;
    }
    let hash = TLS13_AES_128_GCM_SHA256.tls13()?.common.hash_provider.hash(leaf);
    let mut value = String::from("Hash=");
    for byte in hash.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(value, "{byte:02x}");
    }
    if let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) {
        leaf.valid_uri_names().for_each(|uri| add(&mut value, "URI", uri));
        leaf.valid_dns_names().for_each(|name| add(&mut value, "DNS", name));
    }
    HeaderValue::try_from(value).ok()
}

/// Adds an element. A name that could be read as another one, or not at all, is left out.
fn add(value: &mut String, key: &str, name: &str) {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if !is_plain || name.contains('"') || value.len() + name.len() > MOST {
        return;
    }
    let quote = if name.contains([';', ',', '=']) { "\"" } else { "" };
    let _ = write!(value, ";{key}={quote}{name}{quote}");
}

#[cfg(test)]
mod tests {
    use super::{MOST, add};

    #[track_caller]
    fn check(name: &str, expect: &str) {
        let mut value = String::from("Hash=00");
        add(&mut value, "URI", name);
        assert_eq!(value, format!("Hash=00{expect}"));
    }

    #[test]
    fn names_cannot_pass_for_other_elements() {
        check("spiffe://a.example/x", ";URI=spiffe://a.example/x");
        check("spiffe://a/x;DNS=b", ";URI=\"spiffe://a/x;DNS=b\"");
        check("spiffe://a/x,Hash=b", ";URI=\"spiffe://a/x,Hash=b\"");
        for left_out in ["a\"b", "a\\b", "a b", "a\r\nb", "ä", &"a".repeat(MOST)] {
            check(left_out, "");
        }
    }
}
