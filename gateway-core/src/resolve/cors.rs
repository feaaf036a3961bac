//! The `CORS` filter: origins and lists.
//!
//! In: the filter as written. Out: [`Cors`]. Not here: preflights and headers (`filter`).

use crate::{
    api::{CorsMethod, HttpCorsFilter, Reason},
    filter::{Cors, CorsOrigin},
    matcher::HostPattern,
};

use super::status::Fault;

/// Reads the filter.
///
/// # Errors
///
/// Says which value is wrong.
pub(super) fn cors(written: &HttpCorsFilter) -> Result<Cors, Fault> {
    let invalid = |message: String| Fault::new(Reason::UnsupportedValue, message);
    let max_age = u32::try_from(written.max_age())
        .map_err(|_| invalid(format!("maxAge is {}, expected 1 or more", written.max_age())))?;
    let mut allow_methods = Vec::with_capacity(written.allow_methods.len());
    for method in &written.allow_methods {
        if let CorsMethod::Unknown(method) = method {
            let known = CorsMethod::KNOWN.join(", ");
            return Err(invalid(format!("allowMethods has {method:?}, expected {known}")));
        }
        allow_methods.push(method.as_str().into());
    }
    let origins = written.allow_origins.iter().map(|text| {
        origin(text).ok_or_else(|| {
            invalid(format!("origin {text:?} is neither * nor a scheme, a host and maybe a port"))
        })
    });
    Ok(Cors {
        allow_origins: origins.collect::<Result<_, _>>()?,
        allow_credentials: written.allow_credentials(),
        allow_methods,
        allow_headers: names(&written.allow_headers).map_err(invalid)?,
        expose_headers: names(&written.expose_headers).map_err(invalid)?,
        max_age,
    })
}

fn names(written: &[String]) -> Result<Vec<Box<str>>, String> {
    let check = |name: &String| match name == "*" || http::HeaderName::try_from(name).is_ok() {
        true => Ok(name.as_str().into()),
        false => Err(format!("{name:?} is no header name")),
    };
    written.iter().map(check).collect()
}

fn origin(text: &str) -> Option<CorsOrigin> {
    if text == "*" {
        return Some(CorsOrigin::Any);
    }
    let (scheme, authority) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let (host, port) = split_port(authority)?;
    let default = match &*scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@*\\".contains(&byte);
    let host = host.to_ascii_lowercase();
    let name = host.strip_prefix('*').unwrap_or(&host);
    let scheme_is_sound = scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if scheme.is_empty() || !scheme_is_sound || host.is_empty() || !name.bytes().all(is_host) {
        return None;
    }
    // A host of `*` alone stands for every host of the scheme and port.
    let host = if name.is_empty() { HostPattern::Any } else { HostPattern::new(&host) };
    Some(CorsOrigin::Origin { scheme: scheme.into(), host, port: port.or(default) })
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rfind([':', ']']) {
        Some(at) if authority.as_bytes()[at] == b':' => {
            Some((&authority[..at], Some(authority[at + 1..].parse().ok()?)))
        }
        _ => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::origin;
    use crate::{filter::CorsOrigin, matcher::HostPattern};

    #[track_caller]
    fn check(text: &str, expect: Option<(&str, &str, Option<u16>)>) {
        let expect = expect.map(|(scheme, host, port)| CorsOrigin::Origin {
            scheme: scheme.into(),
            host: HostPattern::new(host),
            port,
        });
        assert_eq!(origin(text), expect, "{text}");
    }

    #[test]
    fn origins() {
        assert_eq!(origin("*"), Some(CorsOrigin::Any));
        check("https://a.example", Some(("https", "a.example", Some(443))));
        check("HTTP://A.example:8080", Some(("http", "a.example", Some(8080))));
        check("https://*.example", Some(("https", "*.example", Some(443))));
        check("app://x", Some(("app", "x", None)));
        check("http://[::1]:80", Some(("http", "[::1]", Some(80))));
        check("https://*", Some(("https", "", Some(443))));
        for bad in ["a.example", "https://", "https://a/b", "https://a:x", "https://a.*.b", "://a"]
        {
            check(bad, None);
        }
    }
}
