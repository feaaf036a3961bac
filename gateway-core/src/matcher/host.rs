//! Hostnames of listeners and routes, ready to be compared with a request's host.

use std::{cmp::Ordering, fmt};

/// The hosts that a listener or an attached route serves.
///
/// Always lower case. A wildcard covers one label or more on the left and never the apex:
/// `*.example.com` covers `a.example.com` and `a.b.example.com`, not `example.com`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// Exactly this name.
    Exact(Box<str>),
    /// Every name that ends in this suffix, which starts with a dot: `.example.com`.
    Wildcard(Box<str>),
    /// Every host, also none at all.
    Any,
}

impl HostPattern {
    /// Reads a hostname of the Gateway API: `a.example.com`, `*.example.com`, or empty or `*` for any.
    /// Whether the name is well formed was checked before (`api::Hostname`).
    ///
    /// ```
    /// use gateway_core::matcher::HostPattern;
    /// let wildcard = HostPattern::new("*.example.com");
    /// assert!(wildcard.is_match("a.b.EXAMPLE.com"));
    /// assert!(!wildcard.is_match("example.com"));
    /// ```
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        match hostname.strip_prefix('*') {
            _ if hostname.is_empty() => Self::Any,
            Some("") => Self::Any,
            Some(suffix) => Self::Wildcard(suffix.to_ascii_lowercase().into()),
            None => Self::Exact(hostname.to_ascii_lowercase().into()),
        }
    }

    /// Whether `host` (no port, any letter case) is one of the hosts.
    #[must_use]
    pub fn is_match(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.eq_ignore_ascii_case(host),
            Self::Wildcard(suffix) => {
                let (host, suffix) = (host.as_bytes(), suffix.as_bytes());
                host.len() > suffix.len()
                    && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
            }
            Self::Any => true,
        }
    }

    /// The hosts that both patterns cover, itself a pattern; none if they are disjoint.
    // SPEC: the narrower of listener hostname and route hostname is what an attached route serves.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let narrower = match (self, other) {
            (Self::Any, narrow) | (narrow, Self::Any) => narrow,
            (Self::Exact(name), pattern) if pattern.is_match(name) => self,
            (pattern, Self::Exact(name)) if pattern.is_match(name) => other,
            (Self::Wildcard(a), Self::Wildcard(b)) if a.ends_with(&**b) => self,
            (Self::Wildcard(a), Self::Wildcard(b)) if b.ends_with(&**a) => other,
            _ => return None,
        };
        Some(narrower.clone())
    }

    /// Orders by specificity, the most specific first: exact before wildcard before any, then the
    /// one with more characters.
    #[must_use]
    pub fn specificity_cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }

    fn rank(&self) -> (u8, std::cmp::Reverse<usize>) {
        let (class, length) = match self {
            Self::Exact(name) => (0, name.len()),
            Self::Wildcard(suffix) => (1, suffix.len()),
            Self::Any => (2, 0),
        };
        (class, std::cmp::Reverse(length))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostPattern;

    #[track_caller]
    fn check(listener: &str, route: &str, expect: Option<&str>) {
        let (listener, route) = (HostPattern::new(listener), HostPattern::new(route));
        let got = listener.intersect(&route).map(|pattern| pattern.to_string());
        assert_eq!(got.as_deref(), expect);
        assert_eq!(
            route.intersect(&listener).map(|pattern| pattern.to_string()).as_deref(),
            expect
        );
    }

    #[test]
    fn intersection() {
        check("", "", Some("*"));
        check("", "a.example", Some("a.example"));
        check("*.example", "", Some("*.example"));
        check("a.example", "a.example", Some("a.example"));
        check("a.example", "b.example", None);
        check("foo.x.example", "*.x.example", Some("foo.x.example"));
        check("x.example", "*.x.example", None);
        check("*.x.example", "a.b.x.example", Some("a.b.x.example"));
        check("*.x.example", "*.x.example", Some("*.x.example"));
        check("*.x.example", "*.y.x.example", Some("*.y.x.example"));
        check("*.x.example", "*.z.example", None);
        check("*.x.example", "*.ax.example", None);
    }

    #[test]
    fn a_wildcard_needs_a_label() {
        assert!(!HostPattern::new("*.example").is_match(".example"));
        assert!(!HostPattern::new("*.example").is_match("example"));
        assert!(HostPattern::new("*.example").is_match("a.example"));
    }
}
