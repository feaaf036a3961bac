//! The stable codes of all findings, in one table.
//!
//! In: nothing. Out: [`Code`]. Deliberately not here: the findings themselves.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $code:literal, $title:literal;)+) => {
        /// Which rule is broken. Codes are stable: one is never reused for another rule.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)+
        }

        impl Code {
            /// All codes, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code as shown, such as `GW0007`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The rule in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

// The one table of all codes. GW00 reading, GW01 single values, GW02 Gateways and listeners, GW03 routes,
// GW04 policies and backends, from GW05 on: findings about several objects together.
codes! {
    Syntax = "GW0001", "the text is not valid YAML";
    LimitExceeded = "GW0002", "the text is too large, too deep or expands too far";
    NotAnObject = "GW0003", "the document is not a Kubernetes object";
    UnknownKind = "GW0004", "the kind is not read by a gateway";
    UnservedVersion = "GW0005", "the version of the kind is not served";
    UnknownField = "GW0006", "the field does not exist";
    WrongType = "GW0007", "the value has the wrong type";
    DuplicateObject = "GW0008", "the object is defined twice";
    DuplicateField = "GW0009", "the field is given twice";
    MissingName = "GW0010", "the object has no name";
    FindingsHidden = "GW0011", "there are more findings than are shown";
    Required = "GW0101", "a required field is missing";
    UnknownValue = "GW0102", "the value is not one of the known ones";
    Length = "GW0103", "the text is too long";
    ListLength = "GW0104", "the list is too long or too short";
    OutOfRange = "GW0105", "the number is out of range";
    InvalidHostname = "GW0106", "the hostname is not valid";
    InvalidName = "GW0107", "the name is not valid";
    InvalidHeaderName = "GW0108", "the header name is not valid";
    InvalidHeaderValue = "GW0109", "the header value is not valid";
    InvalidDuration = "GW0110", "the duration is not valid";
    InvalidPath = "GW0111", "the path is not valid";
    InvalidGroupKind = "GW0112", "the group or kind is not valid";
    InvalidAddress = "GW0113", "the address is not valid";
    InvalidUri = "GW0114", "the URI is not valid";
    InvalidLabel = "GW0115", "the label or annotation is not valid";
    DuplicateItem = "GW0116", "an item is in the list twice";
    InvalidOrigin = "GW0117", "the origin is not valid";
    InvalidDomainPrefix = "GW0118", "the value needs a domain as prefix";
    InvalidBase64 = "GW0119", "the value is not base64";
    ExperimentalField = "GW0120", "the field is not in the standard channel";
    ListenerTlsForbidden = "GW0201", "the protocol of the listener takes no TLS settings";
    ListenerTlsMode = "GW0202", "the TLS mode does not fit the protocol of the listener";
    ListenerHostnameForbidden = "GW0203", "the protocol of the listener takes no hostname";
    ListenersNotDistinct = "GW0204", "two listeners claim the same port, protocol and hostname";
    ListenerCertificateMissing = "GW0205", "a listener that terminates TLS needs a certificate";
    ParentRefsAmbiguous = "GW0301", "several references to one parent need a section name each";
    ParentRefsDuplicate = "GW0302", "two references to the same part of a parent";
    BackendPortMissing = "GW0303", "a reference to a Service needs a port";
    FilterMember = "GW0304", "the type and the settings of a filter do not agree";
    FilterRepeated = "GW0305", "the filter may only be used once";
    RedirectWithRewrite = "GW0306", "redirect and rewrite exclude each other";
    RedirectWithBackends = "GW0307", "a rule that redirects has no backends";
    PrefixWithoutPrefixMatch = "GW0308", "replacing the prefix needs exactly one prefix match";
    MirrorShareTwice = "GW0309", "the share to mirror is given twice";
    FractionAboveOne = "GW0310", "the fraction is more than the whole";
    WildcardNotAlone = "GW0311", "the wildcard stands for all and excludes other items";
    PathModifierMember = "GW0312", "the type and the value of a path modifier do not agree";
    TooManyMatches = "GW0313", "the route has too many matches";
    TimeoutOrder = "GW0314", "the backend timeout is longer than the request timeout";
    ExternalAuthMember = "GW0315", "the protocol and the settings of an authorization service do not agree";
    SessionLifetime = "GW0316", "a permanent session cookie needs an absolute timeout";
    SessionCookieConfig = "GW0317", "cookie settings are for sessions in cookies";
    GrpcMethodEmpty = "GW0318", "a method match needs a service or a method";
    TargetRefsAmbiguous = "GW0401", "several references to one target need a section name each";
    TargetRefsDuplicate = "GW0402", "two references to the same target";
    TrustAnchors = "GW0403", "exactly one source of CA certificates is needed";
    SubjectAltNameMember = "GW0404", "the type and the value of a subject alternative name do not agree";
    BackendTypeMember = "GW0405", "the type and the settings of a backend do not agree";
    BackendClientCertificate = "GW0406", "the client certificate does not fit the TLS mode";
    ParentNotFound = "GW0501", "the parent does not exist";
    NotAttached = "GW0502", "no listener of the parent takes the route";
    ReferenceNotFound = "GW0503", "what is referred to does not exist";
    ReferenceNotPermitted = "GW0504", "the reference leaves its namespace without permission";
    ReferenceKind = "GW0505", "the kind cannot be referred to here";
    UnsupportedProtocol = "GW0506", "the protocol is not supported";
    CertificateUnusable = "GW0507", "the certificate cannot be used";
    ListenerNotServed = "GW0508", "the listener is not served";
    RuleDropped = "GW0509", "the rule is not taken";
    UnsupportedValue = "GW0510", "the value is not supported";
    PolicyWithoutEffect = "GW0511", "the policy has no effect";
    Ignored = "GW0512", "the setting has no effect";
    AddressUnusable = "GW0513", "the address cannot be used";
    ParametersUnsupported = "GW0514", "the parameters are not supported";
    TlsOverlap = "GW0515", "clients may take two TLS listeners for each other";
    DuplicateMatch = "GW0601", "another match is the same and comes first";
    UnreachableMatch = "GW0602", "another match always comes first";
    NoWeight = "GW0603", "no backend of the rule has a weight";
    PlainExpression = "GW0604", "the regular expression is a plain value";
    HostnameNotServed = "GW0605", "no listener serves the hostname";
    RouteUnattached = "GW0606", "the route has no parent";
    GrantUnused = "GW0607", "the grant permits nothing that is referred to";
    OddEncoding = "GW0608", "no path of a request is encoded like this";
    Unreadable = "GW0801", "the file cannot be read";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn codes_are_unique_and_in_order() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].as_str() < pair[1].as_str(), "{} {}", pair[0], pair[1]);
        }
        assert!(
            Code::ALL
                .iter()
                .all(|code| code.as_str().len() == 6 && code.as_str().starts_with("GW"))
        );
    }
}
