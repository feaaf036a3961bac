//! Listeners, of Gateways and ListenerSets.

use super::check::{At, Check};
use crate::api::{
    AllowedRoutes, FromNamespaces, LabelSelector, Listener, ListenerTlsConfig, ProtocolType,
    TlsModeType, is_dns_subdomain,
};
use crate::diagnostic::Code;

pub(super) fn listeners(check: &mut Check<'_>, listeners: &[Listener], list: &At<'_>) {
    check.list_length(list, listeners.len(), 1..=64);
    for (index, listener) in listeners.iter().enumerate() {
        self::listener(check, listener, &list.index(index));
    }
    check.unique_texts(list, Some("name"), listeners.iter().map(|listener| listener.name.as_str()));
    let claims = listeners
        .iter()
        .map(|listener| Some((listener.port, &listener.protocol, &listener.hostname)));
    check.unique(list, claims, |check, at, earlier, _| {
        let message = format!("the same port, protocol and hostname as listener {earlier}");
        let help = "change one of the three, or let both kinds of routes attach to one listener";
        check.error_help(at, Code::ListenersNotDistinct, message, help);
    });
}

fn listener(check: &mut Check<'_>, listener: &Listener, at: &At<'_>) {
    check.section_name(&at.field("name"), &listener.name);
    check.port(&at.field("port"), listener.port);
    protocol(check, &listener.protocol, &at.field("protocol"));
    if let Some(hostname) = &listener.hostname {
        let at = at.field("hostname");
        check.hostname(&at, hostname);
        if matches!(listener.protocol, ProtocolType::Tcp | ProtocolType::Udp)
            && !hostname.is_empty()
        {
            let message =
                format!("a listener for {} cannot tell hostnames apart", listener.protocol);
            check.error_help(&at, Code::ListenerHostnameForbidden, message, "remove the hostname");
        }
    }
    protocol_and_tls(check, listener, at);
    if let Some(tls) = &listener.tls {
        self::tls(check, tls, &at.field("tls"));
    }
    if let Some(routes) = &listener.allowed_routes {
        allowed_routes(check, routes, &at.field("allowedRoutes"));
    }
}

fn protocol(check: &mut Check<'_>, protocol: &ProtocolType, at: &At<'_>) {
    let text = protocol.as_str();
    if check.required_text(at, text, 255) && !is_protocol(text) {
        let message = format!("{text:?} is not a protocol");
        let help = "use HTTP, HTTPS, TLS, TCP, UDP, or a protocol of the implementation, as in example.net/quic";
        check.error_help(at, Code::UnknownValue, message, help);
    }
}

fn is_protocol(text: &str) -> bool {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match text.split_once('/') {
        Some((domain, word)) => is_dns_subdomain(domain) && is_word(word),
        None => is_dns_subdomain(&text.to_ascii_lowercase()) && !text.contains('.'),
    }
}

// SPEC: HTTPS without tls passes the schema; such a listener is not programmed.
fn protocol_and_tls(check: &mut Check<'_>, listener: &Listener, at: &At<'_>) {
    let tls_at = at.field("tls");
    match (&listener.protocol, &listener.tls) {
        (ProtocolType::Http | ProtocolType::Tcp | ProtocolType::Udp, Some(_)) => {
            let message = format!("a listener for {} takes no TLS settings", listener.protocol);
            let help = match listener.protocol {
                ProtocolType::Http => "use the protocol HTTPS, or remove tls",
                _ => "use the protocol TLS, or remove tls",
            };
            check.error_help(&tls_at, Code::ListenerTlsForbidden, message, help);
        }
        (ProtocolType::Https, Some(tls)) if *tls.mode() == TlsModeType::Passthrough => {
            let message = "a listener for HTTPS cannot pass TLS through";
            let help = "use the protocol TLS and a TLSRoute, or the mode Terminate";
            check.error_help(&tls_at.field("mode"), Code::ListenerTlsMode, message, help);
        }
        (ProtocolType::Tls, None) => {
            let message = "a listener for TLS needs to know where TLS ends";
            check.error_help(
                &tls_at,
                Code::ListenerTlsMode,
                message,
                "set mode to Terminate or Passthrough",
            );
        }
        _ => {}
    }
}

fn tls(check: &mut Check<'_>, tls: &ListenerTlsConfig, at: &At<'_>) {
    if let Some(mode) = &tls.mode {
        check.known(&at.field("mode"), mode, &[]);
    }
    let list = at.field("certificateRefs");
    check.list_length(&list, tls.certificate_refs.len(), 0..=64);
    for (index, reference) in tls.certificate_refs.iter().enumerate() {
        check.secret_reference(&list.index(index), reference);
    }
    check.options(&at.field("options"), &tls.options, 16);
    if *tls.mode() == TlsModeType::Terminate
        && tls.certificate_refs.is_empty()
        && tls.options.is_empty()
    {
        let message = "a listener that terminates TLS needs a certificate";
        let help = "name the Secret with the certificate in certificateRefs";
        check.error_help(&list, Code::ListenerCertificateMissing, message, help);
    }
}

fn allowed_routes(check: &mut Check<'_>, routes: &AllowedRoutes, at: &At<'_>) {
    if let Some(namespaces) = &routes.namespaces {
        let selection = NamespaceSelection {
            from: namespaces.from.as_ref(),
            selector: namespaces.selector.as_ref(),
            except: &["None"],
        };
        self::namespaces(check, selection, &at.field("namespaces"));
    }
    let list = at.field("kinds");
    check.list_length(&list, routes.kinds.len(), 0..=8);
    for (index, kind) in routes.kinds.iter().enumerate() {
        let at = list.index(index);
        check.optional_group(&at, kind.group.as_deref());
        check.kind(&at.field("kind"), &kind.kind);
    }
}

/// How namespaces are chosen, for routes or for ListenerSets.
#[derive(Clone, Copy)]
pub(super) struct NamespaceSelection<'s> {
    pub(super) from: Option<&'s FromNamespaces>,
    pub(super) selector: Option<&'s LabelSelector>,
    pub(super) except: &'s [&'s str],
}

pub(super) fn namespaces(check: &mut Check<'_>, selection: NamespaceSelection<'_>, at: &At<'_>) {
    if let Some(from) = selection.from {
        check.known(&at.field("from"), from, selection.except);
    }
    let selector_at = at.field("selector");
    let Some(selector) = selection.selector else {
        if selection.from == Some(&FromNamespaces::Selector) {
            let message = "from: Selector without a selector chooses no namespace";
            check.warning(
                &selector_at,
                Code::Required,
                message,
                "add a selector, or use from: All",
            );
        }
        return;
    };
    let list = selector_at.field("matchExpressions");
    for (index, expression) in selector.match_expressions.iter().enumerate() {
        let at = list.index(index);
        check.required_text(&at.field("key"), &expression.key, usize::MAX);
        let operator = at.field("operator");
        if expression.operator.as_str().is_empty() {
            check.missing(&operator);
        } else if !expression.operator.is_known() {
            let message = format!(
                "unknown operator {:?}; the selector chooses no namespace",
                expression.operator.as_str()
            );
            check.warning(
                &operator,
                Code::UnknownValue,
                message,
                "use In, NotIn, Exists or DoesNotExist",
            );
        }
    }
}
