//! GatewayClass, Gateway and ListenerSet.

use std::net::IpAddr;

use super::check::{At, Check};
use super::listener::{self, NamespaceSelection};
use super::text::is_domain_prefixed;
use crate::api::{
    AddressType, FrontendTlsConfig, GatewayClassSpec, GatewayInfrastructure, GatewaySpec,
    GatewaySpecAddress, GatewayTlsConfig, Hostname, HostnameError, ListenerSetSpec, TlsConfig,
};
use crate::diagnostic::Code;

pub(super) fn class(check: &mut Check<'_>, spec: &GatewayClassSpec, at: &At<'_>) {
    check.domain_prefixed(&at.field("controllerName"), &spec.controller_name);
    if let Some(parameters) = &spec.parameters_ref {
        check.parameters(&at.field("parametersRef"), parameters);
    }
    if let Some(description) = &spec.description {
        check.text_length(&at.field("description"), description, 64);
    }
}

pub(super) fn listener_set(check: &mut Check<'_>, spec: &ListenerSetSpec, at: &At<'_>) {
    let parent = at.field("parentRef");
    check.optional_group(&parent, spec.parent_ref.group.as_deref());
    check.optional_kind(&parent, spec.parent_ref.kind.as_deref());
    check.object_name(&parent, &spec.parent_ref.name);
    check.optional_namespace(&parent, spec.parent_ref.namespace.as_deref());
    listener::listeners(check, &spec.listeners, &at.field("listeners"));
}

pub(super) fn gateway(check: &mut Check<'_>, spec: &GatewaySpec, at: &At<'_>) {
    check.required_text(&at.field("gatewayClassName"), &spec.gateway_class_name, 253);
    listener::listeners(check, &spec.listeners, &at.field("listeners"));
    addresses(check, &spec.addresses, &at.field("addresses"));
    if let Some(infrastructure) = &spec.infrastructure {
        self::infrastructure(check, infrastructure, &at.field("infrastructure"));
    }
    if let Some(namespaces) =
        spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref())
    {
        let selection = NamespaceSelection {
            from: namespaces.from.as_ref(),
            selector: namespaces.selector.as_ref(),
            except: &[],
        };
        let allowed = at.field("allowedListeners");
        listener::namespaces(check, selection, &allowed.field("namespaces"));
    }
    if let Some(tls) = &spec.tls {
        self::tls(check, tls, &at.field("tls"));
    }
    let scope_at = at.field("defaultScope");
    if let Some(scope) = check.experimental(&scope_at, spec.default_scope.as_ref()) {
        check.known(&scope_at, scope, &[]);
    }
}

fn addresses(check: &mut Check<'_>, addresses: &[GatewaySpecAddress], list: &At<'_>) {
    check.list_length(list, addresses.len(), 0..=16);
    for (index, address) in addresses.iter().enumerate() {
        self::address(check, address, &list.index(index));
    }
    let values = addresses.iter().map(|address| match (address.kind(), &address.value) {
        (kind @ (AddressType::IpAddress | AddressType::Hostname), Some(value)) => {
            Some((kind, value))
        }
        _ => None,
    });
    check.unique(list, values, |check, at, earlier, _| {
        check.error(
            &at.field("value"),
            Code::DuplicateItem,
            format!("the same address as item {earlier}"),
        );
    });
}

fn address(check: &mut Check<'_>, address: &GatewaySpecAddress, at: &At<'_>) {
    if let Some(AddressType::Unknown(kind)) = &address.kind {
        address_type(check, kind, &at.field("type"));
    }
    let Some(value) = &address.value else { return };
    let value_at = at.field("value");
    if !check.text_length(&value_at, value, 253) {
        return;
    }
    match address.kind() {
        AddressType::IpAddress if value.parse::<IpAddr>().is_err() => {
            let message = format!("{value:?} is not an IP address");
            let help = "give an IPv4 or IPv6 address, or type: Hostname";
            check.error_help(&value_at, Code::InvalidAddress, message, help);
        }
        AddressType::Hostname => match Hostname::parse(value) {
            Ok(_) | Err(HostnameError::IpAddress) => {}
            Err(_) => {
                check.error(&value_at, Code::InvalidAddress, format!("{value:?} is not a hostname"))
            }
        },
        _ => {}
    }
}

/// The pattern of the schema is not anchored, so it takes any text with one of the known types in it.
fn address_type(check: &mut Check<'_>, kind: &str, at: &At<'_>) {
    if !check.required_text(at, kind, 253) || is_domain_prefixed(kind) {
        return;
    }
    let message = format!("{kind:?} is not a type of address");
    let help = "use IPAddress, Hostname, or a type of the implementation with its domain, as in example.net/name";
    if kind.starts_with("Hostname") || kind.contains("IPAddress") || kind.contains("NamedAddress") {
        check.warning(at, Code::UnknownValue, message, help);
    } else {
        check.error_help(at, Code::UnknownValue, message, help);
    }
}

fn infrastructure(check: &mut Check<'_>, infrastructure: &GatewayInfrastructure, at: &At<'_>) {
    let labels = at.field("labels");
    check.list_length(&labels, infrastructure.labels.len(), 0..=8);
    check.labels(&labels, &infrastructure.labels);
    let annotations = at.field("annotations");
    check.options(&annotations, &infrastructure.annotations, 16);
    for key in infrastructure.annotations.keys() {
        check.label_key(&annotations.field(key), key);
    }
    if let Some(parameters) = &infrastructure.parameters_ref {
        check.local_reference(&at.field("parametersRef"), parameters);
    }
}

fn tls(check: &mut Check<'_>, tls: &GatewayTlsConfig, at: &At<'_>) {
    if let Some(certificate) =
        tls.backend.as_ref().and_then(|backend| backend.client_certificate_ref.as_ref())
    {
        let backend = at.field("backend");
        check.secret_reference(&backend.field("clientCertificateRef"), certificate);
    }
    if let Some(frontend) = &tls.frontend {
        self::frontend(check, frontend, &at.field("frontend"));
    }
}

fn frontend(check: &mut Check<'_>, frontend: &FrontendTlsConfig, at: &At<'_>) {
    tls_config(check, frontend.default.as_ref(), &at.field("default"));
    let list = at.field("perPort");
    check.list_length(&list, frontend.per_port.len(), 0..=64);
    for (index, per_port) in frontend.per_port.iter().enumerate() {
        let at = list.index(index);
        check.port(&at.field("port"), per_port.port);
        tls_config(check, per_port.tls.as_ref(), &at.field("tls"));
    }
    check.unique(
        &list,
        frontend.per_port.iter().map(|item| Some(item.port)),
        |check, at, earlier, port| {
            let message = format!("port {port} is already in the list, as item {earlier}");
            check.error(&at.field("port"), Code::DuplicateItem, message);
        },
    );
}

fn tls_config(check: &mut Check<'_>, config: Option<&TlsConfig>, at: &At<'_>) {
    let Some(config) = config else { return check.missing(at) };
    let Some(validation) = &config.validation else { return };
    let at = at.field("validation");
    let list = at.field("caCertificateRefs");
    check.list_length(&list, validation.ca_certificate_refs.len(), 1..=16);
    for (index, reference) in validation.ca_certificate_refs.iter().enumerate() {
        check.object_reference(&list.index(index), reference);
    }
    if let Some(mode) = &validation.mode {
        check.known(&at.field("mode"), mode, &[]);
    }
}
