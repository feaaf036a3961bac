//! The value types of the API: names, durations and the string enums.
//!
//! In: the text as it stands in a spec. Out: a parsed value, or an error that says what is wrong with the text.
//! Deliberately not here: which field takes which type (the kinds) and the limits of lists (`validate`).
//!
//! Spec structs keep the text, so that one bad value never hides the rest of an object. These types are what the
//! text is parsed into when it is used.

use std::fmt;
use std::str::FromStr;
use std::time;

use serde::{Deserialize, Serialize};

/// What all string enums have in common.
pub(crate) trait StringEnum: PartialEq {
    /// Every known value, as written in the API.
    const KNOWN: &'static [&'static str];

    /// The value as written in the API.
    fn as_str(&self) -> &str;
}

/// Declares an enum over strings that keeps values it does not know.
///
/// The API may add values at any time, so a value we have never heard of must survive reading and writing.
macro_rules! string_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
            /// A value this version does not know, kept as written; empty if a required field was left out.
            Unknown(String),
        }

        impl $name {
            /// Every known value, as written in the API.
            pub const KNOWN: &'static [&'static str] = &[$($text),+];

            /// The value as written in the API.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }

            /// Whether this version knows the value.
            #[must_use]
            pub fn is_known(&self) -> bool {
                !matches!(self, Self::Unknown(_))
            }
        }

        impl crate::api::values::StringEnum for $name {
            const KNOWN: &'static [&'static str] = Self::KNOWN;

            fn as_str(&self) -> &str {
                Self::as_str(self)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Unknown(String::new())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                match text {
                    $($text => Self::$variant,)+
                    other => Self::Unknown(other.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(|text| Self::from(text.as_str()))
            }
        }
    };
}
pub(crate) use string_enum;

// === Hostname ===

/// A hostname of a listener or a route: lower case, RFC 1123, possibly with `*.` as its first label.
///
/// ```
/// use gateway_core::api::Hostname;
/// assert!(Hostname::parse("*.example.com").unwrap().is_wildcard());
/// assert!(Hostname::parse("Example.com").is_err());
/// assert!(Hostname::parse("foo.*.com").is_err());
/// assert!(Hostname::parse("10.0.0.1").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hostname(Box<str>);

impl Hostname {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    ///
    /// Says what is wrong: too long, an IP address, a misplaced wildcard, or a label that is not RFC 1123.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        check_name(text.strip_prefix("*.").unwrap_or(text), text)?;
        Ok(Self(text.into()))
    }

    /// The hostname as written, with `*.` if it is a wildcard.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the first label is `*`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    /// What follows `*.`, or the whole name if it is no wildcard.
    #[must_use]
    pub fn suffix(&self) -> &str {
        self.0.strip_prefix("*.").unwrap_or(&self.0)
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hostname without wildcard, as redirects, rewrites and backend TLS take it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PreciseHostname(Box<str>);

impl PreciseHostname {
    /// Checks `text` and keeps it.
    ///
    /// # Errors
    ///
    /// As [`Hostname::parse`], and for any `*`.
    pub fn parse(text: &str) -> Result<Self, HostnameError> {
        check_name(text, text)?;
        Ok(Self(text.into()))
    }

    /// The hostname as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PreciseHostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a hostname.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostnameError {
    /// No characters at all.
    #[error("a hostname must not be empty")]
    Empty,
    /// Longer than DNS allows.
    #[error("a hostname has at most 253 characters")]
    TooLong,
    /// An address where a name is wanted.
    #[error("an IP address is not a hostname")]
    IpAddress,
    /// A `*` anywhere but as the whole first label, or where no wildcard is allowed.
    #[error(
        "a wildcard may only be the whole first label, as in *.example.com, and only where wildcards are allowed"
    )]
    Wildcard,
    /// Upper-case letters.
    #[error("a hostname is written in lower case")]
    UpperCase,
    /// Anything else outside of RFC 1123.
    #[error(
        "labels consist of a-z, 0-9 and '-', start and end with a letter or digit, and are separated by one '.'"
    )]
    Label,
}

fn check_name(name: &str, whole: &str) -> Result<(), HostnameError> {
    if whole.is_empty() {
        return Err(HostnameError::Empty);
    }
    if whole.len() > 253 {
        return Err(HostnameError::TooLong);
    }
    if name.contains('*') {
        return Err(HostnameError::Wildcard);
    }
    if name.parse::<std::net::IpAddr>().is_ok() {
        return Err(HostnameError::IpAddress);
    }
    if is_dns_subdomain(name) {
        return Ok(());
    }
    if is_dns_subdomain(&name.to_ascii_lowercase()) {
        return Err(HostnameError::UpperCase);
    }
    Err(HostnameError::Label)
}

/// Whether `text` is an RFC 1123 label: `a-z`, `0-9`, `-`, not at the ends, at most 63 characters.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// Whether `text` is an RFC 1123 subdomain: labels joined by `.`, at most 253 characters in all.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let edge =
        |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = label.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

// === Duration ===

/// A duration as the API writes it: one to four of `h`, `m`, `s`, `ms`, each a whole number of up to five digits
/// ([GEP-2257]).
///
/// Keeps the text as written; [`Duration::to_std`] gives its length.
///
/// ```
/// use std::time;
/// use gateway_core::api::Duration;
/// assert_eq!(Duration::new("1m30s").to_std(), Ok(time::Duration::from_secs(90)));
/// assert!(Duration::new("1.5s").to_std().is_err());
/// assert_eq!(Duration::from(time::Duration::from_millis(5400_010)).as_str(), "1h30m10ms");
/// ```
///
/// [GEP-2257]: https://gateway-api.sigs.k8s.io/geps/gep-2257/
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(String);

impl Duration {
    /// Keeps `text`, which may be anything.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Checks `text` and keeps it.
    ///
    /// # Errors
    ///
    /// If the text is not a duration of GEP-2257.
    pub fn parse(text: &str) -> Result<Self, DurationError> {
        parse_duration(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The text as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The length of the duration.
    ///
    /// # Errors
    ///
    /// If the text is not a duration of GEP-2257.
    pub fn to_std(&self) -> Result<time::Duration, DurationError> {
        parse_duration(&self.0)
    }
}

impl From<time::Duration> for Duration {
    /// The canonical text: largest unit first, zero components left out, below a millisecond cut off.
    fn from(length: time::Duration) -> Self {
        const UNITS: [(&str, u128); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let mut rest = length.as_millis();
        let mut text = String::new();
        for (unit, millis) in UNITS {
            let count = rest / millis;
            rest %= millis;
            if count > 0 {
                text.push_str(&format!("{count}{unit}"));
            }
        }
        if text.is_empty() {
            text.push_str("0s");
        }
        Self(text)
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        Self::parse(text)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text is not a duration of GEP-2257.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a duration is one to four whole numbers of at most five digits, each followed by h, m, s or ms, as in 1m30s"
)]
pub struct DurationError;

fn parse_duration(text: &str) -> Result<time::Duration, DurationError> {
    let mut rest = text.as_bytes();
    let mut millis: u64 = 0;
    let mut components = 0;
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        components += 1;
        if digits == 0 || digits > 5 || components > 4 {
            return Err(DurationError);
        }
        let number =
            rest[..digits].iter().fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
        let (unit, length) = match &rest[digits..] {
            [b'm', b's', ..] => (1, 2),
            [b'h', ..] => (3_600_000, 1),
            [b'm', ..] => (60_000, 1),
            [b's', ..] => (1_000, 1),
            _ => return Err(DurationError),
        };
        millis += number * unit;
        rest = &rest[digits + length..];
    }
    if components == 0 { Err(DurationError) } else { Ok(time::Duration::from_millis(millis)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: Option<u64>) {
        let parsed = Duration::new(text).to_std().ok();
        assert_eq!(parsed, millis.map(time::Duration::from_millis), "{text:?}");
    }

    #[test]
    fn durations_of_gep_2257() {
        check("10s", Some(10_000));
        check("1h30m10s", Some(5_410_000));
        check("10s30m1h", Some(5_410_000));
        check("1m1m", Some(120_000));
        check("2h60m", Some(10_800_000));
        check("0h0m0s", Some(0));
        check("99999h99999m99999s99999ms", Some(99_999 * (3_600_000 + 60_000 + 1_000 + 1)));
        for bad in [
            "",
            "0",
            "1",
            "1d",
            "-1s",
            "+1s",
            "1.5h",
            "100000ms",
            "1s1s1s1s1s",
            "s",
            "1 s",
            "1us",
            "1S",
            "1sm",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn canonical_durations_leave_out_zero_components() {
        for (millis, text) in
            [(0, "0s"), (1, "1ms"), (90_000, "1m30s"), (3_600_000, "1h"), (3_600_001, "1h1ms")]
        {
            assert_eq!(Duration::from(time::Duration::from_millis(millis)).as_str(), text);
        }
    }

    #[track_caller]
    fn check_hostname(text: &str, expected: Result<(), HostnameError>) {
        assert_eq!(Hostname::parse(text).map(|_| ()), expected, "{text:?}");
    }

    #[test]
    fn hostnames_are_rfc_1123_with_an_optional_wildcard_label() {
        for good in
            ["a", "example.com", "*.example.com", "*.com", "1.example.com", "a-b.c", "1.2.3"]
        {
            check_hostname(good, Ok(()));
        }
        check_hostname("", Err(HostnameError::Empty));
        check_hostname("*", Err(HostnameError::Wildcard));
        check_hostname("*.*.com", Err(HostnameError::Wildcard));
        check_hostname("a.*.com", Err(HostnameError::Wildcard));
        check_hostname("*a.com", Err(HostnameError::Wildcard));
        check_hostname("127.0.0.1", Err(HostnameError::IpAddress));
        check_hostname("::1", Err(HostnameError::IpAddress));
        check_hostname("Example.com", Err(HostnameError::UpperCase));
        for bad in
            ["*.", "a.", ".a", "a..b", "-a", "a-", "a_b", "example.com:80", "a b", "münchen.de"]
        {
            check_hostname(bad, Err(HostnameError::Label));
        }
        check_hostname(&"a".repeat(254), Err(HostnameError::TooLong));
        assert_eq!(PreciseHostname::parse("*.example.com"), Err(HostnameError::Wildcard));
    }
}
