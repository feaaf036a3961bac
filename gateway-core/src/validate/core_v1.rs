//! The fields of core objects that are read; the API server checks more than that.

use std::collections::BTreeMap;

use super::check::{At, Check};
use crate::api::{Base64, EndpointSlice, ServiceSpec};
use crate::diagnostic::Code;

pub(super) fn service(check: &mut Check<'_>, spec: &ServiceSpec, at: &At<'_>) {
    if let Some(kind) = &spec.kind {
        check.known(&at.field("type"), kind, &[]);
    }
    let list = at.field("ports");
    for (index, port) in spec.ports.iter().enumerate() {
        let at = list.index(index);
        check.port(&at.field("port"), port.port);
        if port.name.is_none() && spec.ports.len() > 1 {
            check.error(
                &at.field("name"),
                Code::Required,
                "a Service with several ports needs a name for each",
            );
        }
        if let Some(protocol) = &port.protocol {
            check.known(&at.field("protocol"), protocol, &[]);
        }
    }
    check.unique(
        &list,
        spec.ports.iter().map(|port| port.name.as_ref()),
        |check, at, earlier, name| {
            let message = format!("port {earlier} has the name {name:?}, too");
            check.error(&at.field("name"), Code::DuplicateItem, message);
        },
    );
}

pub(super) fn endpoint_slice(check: &mut Check<'_>, slice: &EndpointSlice, at: &At<'_>) {
    check.known(&at.field("addressType"), &slice.address_type, &[]);
    let list = at.field("ports");
    for (index, port) in slice.ports.iter().enumerate() {
        if let Some(number) = port.port {
            check.port(&list.index(index).field("port"), number);
        }
    }
    let list = at.field("endpoints");
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let at = list.index(index);
        if endpoint.addresses.is_empty() {
            check.missing(&at.field("addresses"));
        }
    }
}

pub(super) fn base64_map(check: &mut Check<'_>, values: &BTreeMap<String, Base64>, at: &At<'_>) {
    for (key, value) in values {
        if let Err(error) = value.decode() {
            let help = "put plain text into stringData (Secret) or data (ConfigMap)";
            check.error_help(&at.field(key), Code::InvalidBase64, error.to_string(), help);
        }
    }
}
