//! Authorization services.

use super::backend;
use super::check::{At, Check};
use super::text::is_path_text;
use crate::api::{ExternalAuthProtocol, HttpExternalAuthFilter};
use crate::diagnostic::Code;

pub(super) fn external_auth(check: &mut Check<'_>, auth: &HttpExternalAuthFilter, at: &At<'_>) {
    check.known(&at.field("protocol"), &auth.protocol, &[]);
    backend::reference(check, &auth.backend_ref, &at.field("backendRef"));
    for (protocol, name, is_set) in [
        (ExternalAuthProtocol::Grpc, "grpc", auth.grpc.is_some()),
        (ExternalAuthProtocol::Http, "http", auth.http.is_some()),
    ] {
        if auth.protocol == protocol && !is_set {
            let message = format!("the protocol is {protocol}, but {name} is not set");
            let help = format!("add {name}, which may be empty: {name}: {{}}");
            check.error_help(&at.field(name), Code::ExternalAuthMember, message, help);
        } else if auth.protocol != protocol && is_set {
            let message =
                format!("{name} is set, but the protocol is {:?}", auth.protocol.as_str());
            check.error(&at.field(name), Code::ExternalAuthMember, message);
        }
    }
    if let Some(grpc) = &auth.grpc {
        let at = at.field("grpc");
        check.text_set(&texts(&grpc.allowed_headers), 64, &at.field("allowedHeaders"));
    }
    let Some(http) = &auth.http else { return };
    let at = at.field("http");
    check.text_set(&texts(&http.allowed_headers), 64, &at.field("allowedHeaders"));
    check.text_set(&texts(&http.allowed_response_headers), 64, &at.field("allowedResponseHeaders"));
    if let Some(path) = &http.path
        && check.text_length(&at.field("path"), path, 1024)
        && !is_path_text(path)
    {
        let message =
            format!("the path {path:?} is empty or has characters that must be percent-encoded");
        check.error(&at.field("path"), Code::InvalidPath, message);
    }
}

fn texts(items: &[String]) -> Vec<&str> {
    items.iter().map(String::as_str).collect()
}
