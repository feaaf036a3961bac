//! `tls.options` of listeners: how old a TLS and which cipher suites clients may use.
//!
//! In: the options as written. Out: [`TlsOptions`], or a fault where an option of ours cannot be
//! obeyed: a listener that serves less strictly than it was told would be worse than one that does
//! not serve. Options of others are none of our business, and only remarked on.

use std::{collections::BTreeMap, fmt};

use crate::{
    api::{OWN_PREFIX, ObjectKey, Reason},
    diagnostic::{Code, suggest::nearest},
};

use super::{note::Notes, status::Fault};

/// The oldest version of TLS: `1.2` or `1.3`.
const MIN_VERSION: &str = "gateway-rs.github.io/min-tls-version";
/// Cipher suites, separated by commas.
const CIPHER_SUITES: &str = "gateway-rs.github.io/tls-cipher-suites";

/// What the `tls.options` of a listener ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The oldest version that clients may use.
    pub min_version: TlsVersion,
    /// The suites that clients may use, the first best; empty: all that are safe.
    pub cipher_suites: Vec<CipherSuite>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V1_2,
    /// TLS 1.3.
    V1_3,
}

macro_rules! cipher_suites {
    ($($suite:ident, $version:ident, $name:literal;)+) => {
        /// A cipher suite that is safe.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CipherSuite {
            $(#[doc = concat!("`", $name, "`")] $suite,)+
        }

        impl CipherSuite {
            /// All of them, the best first.
            pub const ALL: &[Self] = &[$(Self::$suite,)+];

            /// The name that IANA has registered.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$suite => $name,)+ }
            }

            /// The only version of TLS that has it.
            #[must_use]
            pub const fn version(self) -> TlsVersion {
                match self { $(Self::$suite => TlsVersion::$version,)+ }
            }
        }
    };
}

cipher_suites! {
    Aes256GcmSha384, V1_3, "TLS_AES_256_GCM_SHA384";
    Aes128GcmSha256, V1_3, "TLS_AES_128_GCM_SHA256";
    Chacha20Poly1305Sha256, V1_3, "TLS_CHACHA20_POLY1305_SHA256";
    EcdheEcdsaAes256GcmSha384, V1_2, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    EcdheEcdsaAes128GcmSha256, V1_2, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    EcdheEcdsaChacha20Poly1305Sha256, V1_2, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    EcdheRsaAes256GcmSha384, V1_2, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    EcdheRsaAes128GcmSha256, V1_2, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256";
    EcdheRsaChacha20Poly1305Sha256, V1_2, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads the options of a listener; remarks on those that are nobody's.
///
/// # Errors
///
/// If one of ours has a value that cannot be obeyed.
pub(super) fn tls_options(
    options: &BTreeMap<String, String>,
    owner: &ObjectKey,
    field: &str,
    notes: &mut Notes,
) -> Result<TlsOptions, Fault> {
    let mut read = TlsOptions::default();
    for (key, value) in options {
        match key.as_str() {
            MIN_VERSION => read.min_version = version(value)?,
            CIPHER_SUITES => read.cipher_suites = suites(value)?,
            // SPEC: options that are not known are passed over, and the user is told.
            other => notes.warn(owner, field, Code::Ignored, unknown(other)),
        }
    }
    let usable = |suite: &CipherSuite| suite.version() >= read.min_version;
    if !read.cipher_suites.is_empty() && !read.cipher_suites.iter().any(usable) {
        let message = format!(
            "tls.options {CIPHER_SUITES} has no suite of TLS 1.3, which {MIN_VERSION} asks for"
        );
        return Err(Fault::new(Reason::UnsupportedValue, message));
    }
    Ok(read)
}

fn version(value: &str) -> Result<TlsVersion, Fault> {
    match value.trim() {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        other => {
            let message = format!("tls.options {MIN_VERSION} is {other:?}, expected 1.2 or 1.3");
            Err(Fault::new(Reason::UnsupportedValue, message))
        }
    }
}

fn suites(value: &str) -> Result<Vec<CipherSuite>, Fault> {
    let suite = |name: &str| {
        let known = CipherSuite::ALL.iter().find(|suite| suite.as_str() == name);
        known.copied().ok_or_else(|| {
            let names = || CipherSuite::ALL.iter().map(|suite| suite.as_str());
            let expected = match nearest(name, names()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("expected some of {}", names().collect::<Vec<_>>().join(", ")),
            };
            let message = format!("tls.options {CIPHER_SUITES} has {name:?}, {expected}");
            Fault::new(Reason::UnsupportedValue, message)
        })
    };
    value.split(',').map(str::trim).map(suite).collect()
}

fn unknown(key: &str) -> String {
    let known = [MIN_VERSION, CIPHER_SUITES];
    match nearest(key, known) {
        Some(near) => format!("tls.options has no {key:?}, did you mean {near}?"),
        None if key.starts_with(OWN_PREFIX) => {
            format!("tls.options has no {key:?}, it has {}", known.join(" and "))
        }
        None => format!("the option {key:?} of tls.options is not known here and has no effect"),
    }
}

#[cfg(test)]
mod tests {
    use super::{CIPHER_SUITES, MIN_VERSION, Notes, tls_options};
    use crate::api::{Kind, ObjectKey};

    #[track_caller]
    fn check(options: &[(&str, &str)], expect: Result<&str, &str>, remark: Option<&str>) {
        let owner = ObjectKey::new(Kind::Gateway, "default", "gw");
        let mut notes = Notes::default();
        let options = options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let read = tls_options(&options.collect(), &owner, "spec", &mut notes);
        let read = read.map_err(|fault| fault.message).map(|options| {
            let suites: Vec<_> = options.cipher_suites.iter().map(ToString::to_string).collect();
            format!("{:?} {}", options.min_version, suites.join(" "))
        });
        match (read, expect) {
            (Ok(read), Ok(expect)) => assert_eq!(read, expect),
            (Err(read), Err(expect)) => assert!(read.contains(expect), "{read}"),
            (read, expect) => panic!("{read:?}, expected {expect:?}"),
        }
        let remarks: Vec<_> = notes.iter().map(ToString::to_string).collect();
        assert_eq!(remarks.len(), usize::from(remark.is_some()), "{remarks:?}");
        assert!(remarks.iter().all(|have| have.contains(remark.unwrap_or(""))), "{remarks:?}");
    }

    const SUITES: &str = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 , TLS_AES_128_GCM_SHA256";

    #[test]
    fn options_are_read_in_their_order() {
        check(&[], Ok("V1_2 "), None);
        check(&[(MIN_VERSION, "1.2")], Ok("V1_2 "), None);
        check(&[(MIN_VERSION, "1.3")], Ok("V1_3 "), None);
        let expect = "V1_2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 TLS_AES_128_GCM_SHA256";
        check(&[(CIPHER_SUITES, SUITES)], Ok(expect), None);
    }

    #[test]
    fn what_cannot_be_obeyed_is_a_fault() {
        check(&[(MIN_VERSION, "1.1")], Err("expected 1.2 or 1.3"), None);
        check(&[(MIN_VERSION, "")], Err("expected 1.2 or 1.3"), None);
        check(&[(CIPHER_SUITES, "")], Err("expected some of TLS_AES_256_GCM_SHA384"), None);
        let wrong = "TLS_AES_128_GCM_SHA265";
        check(&[(CIPHER_SUITES, wrong)], Err("did you mean TLS_AES_128_GCM_SHA256?"), None);
        let old = [(MIN_VERSION, "1.3"), (CIPHER_SUITES, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")];
        check(&old, Err("no suite of TLS 1.3"), None);
    }

    #[test]
    fn what_is_not_known_is_remarked_on() {
        check(&[("example.com/x", "1")], Ok("V1_2 "), Some("has no effect"));
        check(&[("gateway-rs.github.io/x", "1")], Ok("V1_2 "), Some("it has"));
        let near = "gateway-rs.github.io/min-tls-versoin";
        check(&[(near, "1.3")], Ok("V1_2 "), Some("did you mean"));
    }
}
