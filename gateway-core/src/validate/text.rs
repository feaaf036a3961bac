//! Checks of single texts: names, hostnames, durations, headers and paths.

use std::collections::BTreeMap;
use std::time;

use super::check::{At, Check};
use crate::api::{Duration, is_dns_label, is_dns_subdomain};
use crate::diagnostic::Code;

impl Check<'_> {
    /// A text that must not be empty and has a greatest length. Says whether it makes sense to look further.
    pub(super) fn required_text(&mut self, at: &At<'_>, text: &str, most: usize) -> bool {
        if text.is_empty() {
            self.missing(at);
        }
        !text.is_empty() && self.text_length(at, text, most)
    }

    pub(super) fn text_length(&mut self, at: &At<'_>, text: &str, most: usize) -> bool {
        let length = text.chars().count();
        if length > most {
            self.error(
                at,
                Code::Length,
                format!("{length} characters, but at most {most} are allowed"),
            );
        }
        length <= most
    }

    /// The name of a listener, a rule or a section.
    pub(super) fn section_name(&mut self, at: &At<'_>, name: &str) {
        if self.required_text(at, name, 253) && !is_dns_subdomain(name) {
            let message = format!("{name:?} is not a name");
            self.error_help(at, Code::InvalidName, message, NAME_HELP);
        }
    }

    pub(super) fn namespace(&mut self, at: &At<'_>, namespace: &str) {
        if self.required_text(at, namespace, 63) && !is_dns_label(namespace) {
            let message = format!("{namespace:?} is not the name of a namespace");
            self.error_help(at, Code::InvalidName, message, LABEL_HELP);
        }
    }

    pub(super) fn group(&mut self, at: &At<'_>, group: &str) {
        if self.text_length(at, group, 253) && !group.is_empty() && !is_dns_subdomain(group) {
            let help = match group.split_once('/') {
                Some((group, _)) => format!("a group has no version, write {group:?}"),
                None => "a group is a domain in lower case, or empty for the core group".to_owned(),
            };
            self.error_help(at, Code::InvalidGroupKind, format!("{group:?} is not a group"), help);
        }
    }

    pub(super) fn kind(&mut self, at: &At<'_>, kind: &str) {
        let bytes = kind.as_bytes();
        let valid = bytes.first().is_some_and(u8::is_ascii_alphabetic)
            && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        if self.required_text(at, kind, 63) && !valid {
            self.error(at, Code::InvalidGroupKind, format!("{kind:?} is not a kind"));
        }
    }

    /// The schema does not say so, but an address is no hostname by the words of the specification.
    pub(super) fn hostname(&mut self, at: &At<'_>, hostname: &str) {
        let name = hostname.strip_prefix("*.").unwrap_or(hostname);
        self.any_hostname(at, hostname, name);
    }

    pub(super) fn precise_hostname(&mut self, at: &At<'_>, hostname: &str) {
        self.any_hostname(at, hostname, hostname);
    }

    fn any_hostname(&mut self, at: &At<'_>, whole: &str, name: &str) {
        if !self.required_text(at, whole, 253) {
            return;
        }
        if !is_dns_subdomain(name) {
            let help = hostname_help(whole, name);
            self.error_help(
                at,
                Code::InvalidHostname,
                format!("{whole:?} is not a valid hostname"),
                help,
            );
        } else if name.parse::<std::net::IpAddr>().is_ok() {
            let message = format!("{whole:?} is an IP address and matches no hostname");
            self.warning(
                at,
                Code::InvalidHostname,
                message,
                "leave the hostname out to serve every host",
            );
        }
    }

    /// A domain, a slash and a path, such as `example.net/gateway-controller`.
    pub(super) fn domain_prefixed(&mut self, at: &At<'_>, text: &str) {
        if self.required_text(at, text, 253) && !is_domain_prefixed(text) {
            let message = format!("{text:?} does not have the form domain/path");
            self.error_help(
                at,
                Code::InvalidDomainPrefix,
                message,
                "write for instance example.net/gateway-controller",
            );
        }
    }

    /// The length of a duration, if it is one.
    pub(super) fn duration(&mut self, at: &At<'_>, duration: &Duration) -> Option<time::Duration> {
        let parsed = duration.to_std();
        if parsed.is_err() {
            let message = format!("{:?} is not a duration", duration.as_str());
            self.error_help(at, Code::InvalidDuration, message, duration_help(duration.as_str()));
        }
        parsed.ok()
    }

    pub(super) fn header_name(&mut self, at: &At<'_>, name: &str) {
        if self.required_text(at, name, 256) && !is_token(name) {
            let message = format!("{name:?} is not a valid header name");
            self.error_help(
                at,
                Code::InvalidHeaderName,
                message,
                "letters, digits and !#$%&'*+-.^_`|~ are allowed",
            );
        }
    }

    pub(super) fn header_value(&mut self, at: &At<'_>, value: &str) {
        // Only the experimental channel has a pattern for values; a value that breaks it is no valid header anyway.
        if self.required_text(at, value, 4096) && !is_field_value(value) {
            let message = format!("{value:?} is not a valid header value");
            let help =
                "visible ASCII characters are allowed, with single spaces or tabs between them";
            if self.is_standard() {
                self.warning(at, Code::InvalidHeaderValue, message, help);
            } else {
                self.error_help(at, Code::InvalidHeaderValue, message, help);
            }
        }
    }

    /// The key of a label or annotation.
    pub(super) fn label_key(&mut self, at: &At<'_>, key: &str) {
        let (prefix, name) =
            key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
        if prefix.is_some_and(|prefix| !is_dns_subdomain(prefix) || prefix.len() >= 253)
            || !is_label_name(name)
        {
            let help = "a key is a name of up to 63 characters, maybe after a domain and a slash";
            self.error_help(at, Code::InvalidLabel, format!("{key:?} is not a valid key"), help);
        }
    }

    pub(super) fn labels(&mut self, at: &At<'_>, labels: &BTreeMap<String, String>) {
        for (key, value) in labels {
            self.label_key(&at.field(key), key);
            if !value.is_empty() && !is_label_name(value) {
                let help = "a value has up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
                self.error_help(
                    &at.field(key),
                    Code::InvalidLabel,
                    format!("{value:?} is not a valid value"),
                    help,
                );
            }
        }
    }

    /// Settings of the implementation, or annotations: at most so many, with values of any text.
    pub(super) fn options(&mut self, at: &At<'_>, options: &BTreeMap<String, String>, most: usize) {
        self.list_length(at, options.len(), 0..=most);
        for (key, value) in options {
            self.text_length(&at.field(key), value, 4096);
        }
    }
}

const NAME_HELP: &str = "use a-z, 0-9, '-' and '.', with a letter or digit at both ends";
const LABEL_HELP: &str = "use a-z, 0-9 and '-', with a letter or digit at both ends";

fn hostname_help(whole: &str, name: &str) -> String {
    if name.contains('*') {
        return "a wildcard is the whole first label, as in *.example.com, where wildcards are allowed".to_owned();
    }
    if is_dns_subdomain(&whole.to_ascii_lowercase()) {
        return format!("write {:?}", whole.to_ascii_lowercase());
    }
    match name.split_once(':') {
        Some((host, _)) if is_dns_subdomain(host) => "a hostname has no port".to_owned(),
        _ => NAME_HELP.to_owned(),
    }
}

fn duration_help(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return format!("add a unit, as in {text}s");
    }
    "write one to four whole numbers of at most five digits, each with h, m, s or ms, as in 1m30s"
        .to_owned()
}

pub(super) fn is_domain_prefixed(text: &str) -> bool {
    let is_path_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    text.split_once('/').is_some_and(|(domain, path)| {
        is_dns_subdomain(domain) && !path.is_empty() && path.bytes().all(is_path_byte)
    })
}

/// A name of HTTP: a token.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Visible characters, with at most one space or tab between two of them.
fn is_field_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let is_visible = |byte: &u8| matches!(byte, b'!'..=b'~');
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    bytes.first().is_some_and(is_visible)
        && bytes.last().is_some_and(is_visible)
        && bytes.iter().all(|byte| is_visible(byte) || is_space(byte))
        && !bytes.windows(2).any(|pair| pair.iter().all(is_space))
}

fn is_label_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    name.len() <= 63
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Characters that may stand in a path as they are, and percent-encoded ones.
pub(super) fn is_path_text(text: &str) -> bool {
    let mut bytes = text.bytes();
    let mut valid = !text.is_empty();
    while let Some(byte) = bytes.next() {
        valid &= match byte {
            b'%' => {
                bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
                    && bytes.next().is_some_and(|b| b.is_ascii_hexdigit())
            }
            _ => byte.is_ascii_alphanumeric() || b"-/._~!$&'()*+,;=:@".contains(&byte),
        };
    }
    valid
}
