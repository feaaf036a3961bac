//! Backends as rules name them once every reference is resolved, and the choice among them.
//!
//! In: what `resolve` found out about a `backendRef`. Out: the backend of one request. Not here:
//! endpoints and connections, which change too often to live in a route table.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{api::Kind, filter::Filter};

/// The identity of a backend: what pools of connections and metrics are keyed by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendKey {
    /// `Service` or `XBackend`.
    pub kind: Kind,
    /// Namespace of the object.
    pub namespace: Box<str>,
    /// Name of the object.
    pub name: Box<str>,
    /// The port of the object, not that of its endpoints.
    pub port: u16,
}

impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

/// A backend that exists and may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    /// Its identity.
    pub key: BackendKey,
    /// What it speaks.
    pub protocol: BackendProtocol,
    /// TLS towards it, from a BackendTLSPolicy; none: plain text.
    pub tls: Option<Arc<BackendTls>>,
    /// A DNS name to connect to instead of endpoints: `ExternalName` Services and XBackends.
    pub external_hostname: Option<Box<str>>,
    /// How many of the requests may be retries, from an XBackendTrafficPolicy.
    pub retry_budget: Option<RetryBudget>,
    /// Sessions kept for the whole backend, from an XBackendTrafficPolicy.
    pub session_persistence: Option<Arc<SessionPersistence>>,
    /// How each connection of a TCPRoute or TLSRoute tells whom it is for, from an annotation of the
    /// Service; none: not at all.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// The protocol towards a backend, from `appProtocol` and the kind of the route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BackendProtocol {
    /// HTTP/1.1, upgrades allowed.
    #[default]
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// Plain bytes: TCPRoute and TLSRoute.
    Tcp,
    /// Datagrams: UDPRoute.
    Udp,
}

/// How a TLS connection to a backend is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The name sent as SNI, and verified unless there are subject alternative names.
    pub hostname: Box<str>,
    /// Whom to trust.
    pub trust: BackendTrust,
    /// If not empty, one of these must be in the certificate instead of the hostname.
    pub subject_alt_names: Vec<SubjectAltName>,
    /// Certificate chain and key (PEM) of the Gateway, presented when the backend asks.
    pub client_certificate: Option<Arc<KeyPair>>,
}

/// The authorities that a backend's certificate may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackendTrust {
    /// PEM certificates.
    Certificates(Arc<str>),
    /// Those of the system.
    System,
}

/// A name in a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SubjectAltName {
    /// A DNS name.
    Hostname(Box<str>),
    /// A URI, compared byte for byte.
    Uri(Box<str>),
}

/// A certificate chain and its private key, both PEM.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyPair {
    /// The chain, leaf first.
    pub certificate: Box<[u8]>,
    /// The private key.
    pub private_key: Box<[u8]>,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

/// How many requests to a backend may be retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// Retries among the requests of an interval, in percent.
    pub percent: u8,
    /// The interval that is counted.
    pub interval: Duration,
    /// Retries that are always allowed: so many in this time.
    pub min_retries: (u32, Duration),
}

/// Requests of one client stay with one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionPersistence {
    /// Name of the cookie or header; none: one is made from the rule.
    pub name: Option<Box<str>>,
    /// Whether the token travels in a header rather than a cookie.
    pub header: bool,
    /// When a session ends, counted from its start.
    pub absolute_timeout: Option<Duration>,
    /// Whether the cookie outlives the browser; needs `absolute_timeout`.
    pub permanent: bool,
}

/// One `backendRef` of a rule.
#[derive(Clone, Debug)]
pub struct WeightedBackend {
    /// Its share: weight over the sum of all weights. 0 gets nothing.
    pub weight: u32,
    /// The backend, or why requests of its share are answered with 500.
    pub target: Result<Arc<Backend>, InvalidBackend>,
    /// Filters for requests to this backend alone.
    pub filters: Vec<Filter>,
}

/// Why a `backendRef` cannot be used. The status of the route tells the details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidBackend {
    /// Not a kind that can be a backend.
    InvalidKind,
    /// The object or its port does not exist.
    NotFound,
    /// In another namespace, and no ReferenceGrant permits it.
    NotPermitted,
    /// Its `appProtocol` cannot be spoken.
    UnsupportedProtocol,
    /// One of its filters is invalid.
    InvalidFilter,
    /// Its BackendTLSPolicy is invalid.
    InvalidTls,
}

impl fmt::Display for InvalidBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidKind => "its kind cannot be a backend",
            Self::NotFound => "it does not exist, or its port does not",
            Self::NotPermitted => "no ReferenceGrant permits the reference",
            Self::UnsupportedProtocol => "its appProtocol is not supported",
            Self::InvalidFilter => "one of its filters is invalid",
            Self::InvalidTls => "its BackendTLSPolicy is invalid",
        })
    }
}

/// The backends of a rule with their weights.
#[derive(Clone, Debug, Default)]
pub struct WeightedBackends {
    backends: Vec<WeightedBackend>,
    /// Sum of the weights divided by their greatest common divisor.
    total: u64,
    divisor: u64,
    /// Coprime to `total` and near its golden section, so that successive turns lie far apart.
    stride: u64,
}

impl WeightedBackends {
    /// Backends in the order of the rule.
    #[must_use]
    pub fn new(backends: Vec<WeightedBackend>) -> Self {
        let divisor = backends.iter().fold(0, |divisor, b| gcd(divisor, u64::from(b.weight)));
        let sum: u64 = backends.iter().map(|backend| u64::from(backend.weight)).sum();
        let total = sum.checked_div(divisor).unwrap_or(0);
        Self { stride: golden_stride(total), backends, total, divisor }
    }

    /// The backend of the request number `turn`; none if no backend has a weight.
    ///
    /// Of any `n` successive turns, where `n` is the sum of the weights divided by their greatest
    /// common divisor, each backend gets exactly its share, well mixed.
    #[must_use]
    pub fn pick(&self, turn: u64) -> Option<&WeightedBackend> {
        if let [only] = &*self.backends {
            return (only.weight > 0).then_some(only);
        }
        let mut place = (turn % self.total.max(1)) * self.stride % self.total.max(1);
        self.backends.iter().find(|backend| {
            let share = u64::from(backend.weight).checked_div(self.divisor).unwrap_or(0);
            match place.checked_sub(share) {
                None => true,
                Some(rest) => {
                    place = rest;
                    false
                }
            }
        })
    }

    /// All of them, in the order of the rule.
    #[must_use]
    pub fn as_slice(&self) -> &[WeightedBackend] {
        &self.backends
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn golden_stride(total: u64) -> u64 {
    // At most 16 weights of 1,000,000 each, so the product fits.
    let start = (total.saturating_mul(618_034) / 1_000_000).max(1);
    (start..=total.max(1)).find(|stride| gcd(*stride, total) == 1).unwrap_or(1)
}

/// Counts requests, one by one, so that shares come out exactly over all threads.
///
/// A clone shares the count.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<AtomicU64>);

impl Turns {
    /// The number of the next request, from 0.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{InvalidBackend, WeightedBackend, WeightedBackends};

    fn backends(weights: &[u32]) -> WeightedBackends {
        let backend = |weight: &u32| WeightedBackend {
            weight: *weight,
            target: Err(InvalidBackend::NotFound),
            filters: Vec::new(),
        };
        WeightedBackends::new(weights.iter().map(backend).collect())
    }

    fn counts(weights: &[u32], turns: std::ops::Range<u64>) -> Vec<u32> {
        let backends = backends(weights);
        let mut counts = vec![0; weights.len()];
        for turn in turns {
            let Some(picked) = backends.pick(turn) else { continue };
            let place = backends.as_slice().iter().position(|b| std::ptr::eq(b, picked));
            counts[place.expect("one of the list")] += 1;
        }
        counts
    }

    #[test]
    fn shares_are_exact() {
        assert_eq!(counts(&[70, 30, 0], 0..10), [7, 3, 0]);
        assert_eq!(counts(&[0, 0], 0..10), [0, 0]);
        assert_eq!(counts(&[0], 0..10), [0]);
        assert_eq!(counts(&[], 0..1), [0; 0]);
        assert_eq!(counts(&[1_000_000; 16], 0..16), [1; 16]);
    }

    proptest! {
        #[test]
        fn any_window_of_turns_has_the_exact_shares(
            weights in proptest::collection::vec(0u32..20, 1..6),
            start in 0u64..1000,
        ) {
            let sum: u32 = weights.iter().sum();
            let counts = counts(&weights, start..start + u64::from(sum));
            prop_assert_eq!(counts, weights);
        }
    }
}
