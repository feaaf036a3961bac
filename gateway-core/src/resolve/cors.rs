//! The `CORS` filter: numbers and lists.
//!
//! In: the filter as written. Out: [`Cors`]. Not here: origins, preflights and headers (`filter`).

use crate::{
    api::{CorsMethod, HttpCorsFilter, Reason},
    filter::{Cors, CorsOrigin},
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
        CorsOrigin::parse(text).ok_or_else(|| {
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
