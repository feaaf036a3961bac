//! `CORS`, as far as headers go.

use gateway_core::api::{CorsMethod, HttpCorsFilter};

use super::hostname;
use crate::corpus::Request;

/// The headers of the answer, if `request` is a preflight.
// SPEC: a preflight is OPTIONS with Origin and Access-Control-Request-Method; the gateway answers.
pub(super) fn preflight(cors: &HttpCorsFilter, request: &Request) -> Option<Vec<(String, String)>> {
    let asked = header(request, "access-control-request-method")?;
    let origin = header(request, "origin").filter(|_| request.method() == "OPTIONS")?;
    let mut headers = vec![line("vary", "Origin")];
    if !is_allowed(cors, &origin) {
        return Some(headers);
    }
    headers.extend(common(cors, &origin));
    let methods: Vec<_> = cors.allow_methods.iter().map(CorsMethod::as_str).collect();
    let list = |list: &[&str], asked: &str| match list {
        ["*"] => asked.to_owned(),
        _ => list.join(","),
    };
    if !methods.is_empty() {
        headers.push(line("access-control-allow-methods", &list(&methods, &asked)));
    }
    let allowed: Vec<_> = cors.allow_headers.iter().map(String::as_str).collect();
    if let Some(asked) = header(request, "access-control-request-headers")
        && !allowed.is_empty()
    {
        headers.push(line("access-control-allow-headers", &list(&allowed, &asked)));
    }
    headers.push(line("access-control-max-age", &cors.max_age().to_string()));
    Some(headers)
}

/// The headers of an answer of the backend.
pub(super) fn response(cors: &HttpCorsFilter, request: &Request) -> Vec<(String, String)> {
    let mut headers = vec![line("vary", "Origin")];
    if let Some(origin) = header(request, "origin").filter(|origin| is_allowed(cors, origin)) {
        headers.extend(common(cors, &origin));
    }
    headers
}

fn common(cors: &HttpCorsFilter, origin: &str) -> Vec<(String, String)> {
    let mut headers = vec![line("access-control-allow-origin", origin)];
    if cors.allow_credentials() {
        headers.push(line("access-control-allow-credentials", "true"));
    }
    // SPEC: the wildcard means every header only where there are no credentials.
    let is_hidden = cors.expose_headers == ["*"] && cors.allow_credentials();
    if !cors.expose_headers.is_empty() && !is_hidden {
        headers.push(line("access-control-expose-headers", &cors.expose_headers.join(",")));
    }
    headers
}

fn is_allowed(cors: &HttpCorsFilter, origin: &str) -> bool {
    cors.allow_origins.iter().any(|allowed| {
        allowed == "*"
            || match (parts(allowed), parts(origin)) {
                (Some(allowed), Some(origin)) => {
                    allowed.0 == origin.0
                        && hostname::covers(&allowed.1, &origin.1)
                        && allowed.2 == origin.2
                }
                _ => false,
            }
    })
}

/// Scheme, host and port of an origin, the port of the scheme filled in.
fn parts(origin: &str) -> Option<(String, String, String)> {
    let (scheme, authority) = origin.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let usual = match &*scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    };
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, usual));
    Some((scheme, host.to_ascii_lowercase(), port.to_owned()))
}

fn header(request: &Request, name: &str) -> Option<String> {
    request.headers().into_iter().find(|(other, _)| other == name).map(|(_, value)| value)
}

fn line(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}
