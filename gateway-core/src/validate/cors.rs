//! Cross-origin resource sharing.

use super::check::{At, Check};
use crate::api::HttpCorsFilter;
use crate::diagnostic::Code;

pub(super) fn cors(check: &mut Check<'_>, cors: &HttpCorsFilter, at: &At<'_>) {
    let origins: Vec<&str> = cors.allow_origins.iter().map(String::as_str).collect();
    check.text_set(&origins, 64, &at.field("allowOrigins"));
    for (index, origin) in origins.iter().enumerate() {
        self::origin(check, origin, &at.field("allowOrigins").index(index));
    }
    let methods: Vec<&str> = cors.allow_methods.iter().map(|method| method.as_str()).collect();
    check.text_set(&methods, 9, &at.field("allowMethods"));
    for (index, method) in cors.allow_methods.iter().enumerate() {
        check.known(&at.field("allowMethods").index(index), method, &[]);
    }
    for (name, headers) in
        [("allowHeaders", &cors.allow_headers), ("exposeHeaders", &cors.expose_headers)]
    {
        let list = at.field(name);
        let texts: Vec<&str> = headers.iter().map(String::as_str).collect();
        check.text_set(&texts, 64, &list);
        for (index, header) in texts.iter().enumerate() {
            check.header_name(&list.index(index), header);
        }
    }
    for (name, items) in [
        ("allowOrigins", &origins),
        ("allowMethods", &methods),
        ("allowHeaders", &cors.allow_headers.iter().map(String::as_str).collect()),
    ] {
        if items.len() > 1 && items.contains(&"*") {
            let message = "\"*\" stands for all and must be the only item";
            check.error_help(
                &at.field(name),
                Code::WildcardNotAlone,
                message,
                "remove \"*\" or all other items",
            );
        }
    }
    if let Some(seconds) = cors.max_age {
        check.number(&at.field("maxAge"), seconds, 1..=i32::MAX);
    }
}

fn origin(check: &mut Check<'_>, origin: &str, at: &At<'_>) {
    if check.required_text(at, origin, 253) && origin != "*" && !is_origin(origin) {
        let message = format!("{origin:?} is not an origin");
        let help = "write scheme, host and maybe port, as in https://example.com or https://*.example.com:8443";
        check.error_help(at, Code::InvalidOrigin, message, help);
    }
}

fn is_origin(origin: &str) -> bool {
    let Some(rest) = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))
    else {
        return false;
    };
    let (host, port) = rest.split_once(':').map_or((rest, "80"), |(host, port)| (host, port));
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_port = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    is_port && (host == "*" || name.split('.').all(is_label))
}
