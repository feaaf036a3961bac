//! Filters of rules and backends.
//!
//! In: filters as written. Out: [`Filter`]s in the same order, or why the rule cannot be taken.
//! Not here: what filters do (`filter`).

use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{
    api::{
        self, ExternalAuthProtocol, FilterType, Fraction, HttpHeaderFilter, HttpPathModifier,
        HttpPathModifierType, HttpRequestMirrorFilter, HttpRouteFilter, PreciseHostname, Reason,
        RedirectScheme,
    },
    backend::Turns,
    diagnostic::Code,
    filter::{
        AuthProtocol, ExternalAuth, Filter, HeaderModifier, Mirror, PathModifier, Redirect,
        UrlRewrite,
    },
    matcher::Scheme,
    scope::NoFilter,
};

use super::{cors::cors, rule::Lowering, status::Fault};

/// What the filters of a place depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'p> {
    /// The field of the list, such as `spec.rules[0].filters`.
    pub(super) field: &'p str,
    /// Whether the rule has exactly one match, by prefix.
    pub(super) one_prefix: bool,
    /// Whether the rule has backends.
    pub(super) has_backends: bool,
    /// Whether it is a GRPCRoute.
    pub(super) grpc: bool,
}

/// Reads a list of filters. References that lead nowhere are noted in `lowering`.
///
/// # Errors
///
/// A value or a combination that cannot be taken.
pub(super) fn filters(
    written: &[HttpRouteFilter],
    place: Place<'_>,
    lowering: &mut Lowering<'_>,
) -> Result<Vec<Filter>, Fault> {
    check_combination(written, place)?;
    let mut filters = Vec::with_capacity(written.len());
    for (index, filter) in written.iter().enumerate() {
        let field = format!("{}[{index}]", place.field);
        match read(filter, place, &field, lowering) {
            Ok(filter) => filters.extend(filter),
            Err(mut fault) => {
                fault.message = format!("{field}: {}", fault.message);
                return Err(fault);
            }
        }
    }
    Ok(filters)
}

// SPEC: one of each kind, mirrors and extensions apart; a redirect answers, so that neither a
// rewrite nor backends make sense beside it.
fn check_combination(written: &[HttpRouteFilter], place: Place<'_>) -> Result<(), Fault> {
    let incompatible = |message: String| {
        Err(Fault::new(Reason::IncompatibleFilters, format!("{}: {message}", place.field)))
    };
    let has = |kind: FilterType| written.iter().any(|filter| filter.kind == kind);
    for (index, filter) in written.iter().enumerate() {
        let may_repeat =
            matches!(filter.kind, FilterType::RequestMirror | FilterType::ExtensionRef);
        if !may_repeat && written[..index].iter().any(|earlier| earlier.kind == filter.kind) {
            return incompatible(format!("{} is used twice, expected once", filter.kind));
        }
    }
    if has(FilterType::RequestRedirect) && has(FilterType::UrlRewrite) {
        return incompatible("RequestRedirect and URLRewrite exclude each other".to_owned());
    }
    if has(FilterType::RequestRedirect) && place.has_backends {
        return incompatible(
            "RequestRedirect answers, so the rule must have no backendRefs".into(),
        );
    }
    Ok(())
}

fn value(message: impl Into<String>) -> Fault {
    Fault::new(Reason::UnsupportedValue, message)
}

fn missing(kind: &FilterType) -> Fault {
    value(format!("type is {kind}, but its settings are missing"))
}

fn read(
    filter: &HttpRouteFilter,
    place: Place<'_>,
    field: &str,
    lowering: &mut Lowering<'_>,
) -> Result<Option<Filter>, Fault> {
    let missing = || missing(&filter.kind);
    Ok(Some(match &filter.kind {
        FilterType::RequestHeaderModifier => {
            let written = filter.request_header_modifier.as_ref().ok_or_else(missing)?;
            Filter::RequestHeaderModifier(header_modifier(written, true, field, lowering)?)
        }
        FilterType::ResponseHeaderModifier => {
            let written = filter.response_header_modifier.as_ref().ok_or_else(missing)?;
            Filter::ResponseHeaderModifier(header_modifier(written, false, field, lowering)?)
        }
        FilterType::RequestMirror => {
            let written = filter.request_mirror.as_ref().ok_or_else(missing)?;
            return mirror(written, field, lowering);
        }
        FilterType::ExtensionRef => {
            let written = filter.extension_ref.as_ref().ok_or_else(missing)?;
            extension(written, field, lowering)
        }
        kind if place.grpc => {
            return Err(value(format!(
                "type is {:?}, expected RequestHeaderModifier, ResponseHeaderModifier, \
                 RequestMirror or ExtensionRef",
                kind.as_str()
            )));
        }
        FilterType::RequestRedirect => {
            let written = filter.request_redirect.as_ref().ok_or_else(missing)?;
            Filter::RequestRedirect(redirect(written, place)?)
        }
        FilterType::UrlRewrite => {
            let written = filter.url_rewrite.as_ref().ok_or_else(missing)?;
            Filter::UrlRewrite(url_rewrite(written, place)?)
        }
        FilterType::Cors => {
            let written = filter.cors.as_ref().ok_or_else(missing)?;
            Filter::Cors(Arc::new(cors(written)?))
        }
        FilterType::ExternalAuth => {
            let written = filter.external_auth.as_ref().ok_or_else(missing)?;
            external_auth(written, field, lowering)?
        }
        FilterType::Unknown(kind) => {
            return Err(value(format!(
                "type is {kind:?}, expected one of {}",
                FilterType::KNOWN.join(", ")
            )));
        }
    }))
}

// === Headers ===

// SPEC: a name counts once over the three lists; of several entries the first.
fn header_modifier(
    written: &HttpHeaderFilter,
    request: bool,
    field: &str,
    lowering: &mut Lowering<'_>,
) -> Result<HeaderModifier, Fault> {
    let mut modifier = HeaderModifier::default();
    let mut seen: Vec<HeaderName> = Vec::new();
    let mut take = |name: &str| -> Result<Option<HeaderName>, Fault> {
        let parsed = header_name(name)?;
        let problem = if request && parsed == header::HOST {
            "the Host of a request is changed by URLRewrite only"
        } else if !HeaderModifier::may_change_in_response(&parsed) {
            "the field frames the message and is not changed by routes"
        } else if seen.contains(&parsed) {
            "the name occurs before; the first entry counts"
        } else {
            seen.push(parsed.clone());
            return Ok(Some(parsed));
        };
        lowering.warn(field, Code::Ignored, format!("header {name}: {problem}"));
        Ok(None)
    };
    for header in &written.set {
        if let Some(name) = take(&header.name)? {
            modifier.set.push((name, header_value(&header.value)?));
        }
    }
    for header in &written.add {
        if let Some(name) = take(&header.name)? {
            modifier.add.push((name, header_value(&header.value)?));
        }
    }
    for name in &written.remove {
        modifier.remove.extend(take(name)?);
    }
    Ok(modifier)
}

/// A header name in any case.
pub(super) fn header_name(name: &str) -> Result<HeaderName, Fault> {
    HeaderName::try_from(name).map_err(|_| value(format!("{name:?} is no header name")))
}

fn header_value(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::try_from(text).map_err(|_| value(format!("{text:?} is no header value")))
}

pub(super) fn header_names(names: &[String]) -> Result<Vec<HeaderName>, Fault> {
    names.iter().map(|name| header_name(name)).collect()
}

// === Redirect and rewrite ===

fn redirect(written: &api::HttpRequestRedirectFilter, place: Place<'_>) -> Result<Redirect, Fault> {
    let scheme = match &written.scheme {
        None => None,
        Some(RedirectScheme::Http) => Some(Scheme::Http),
        Some(RedirectScheme::Https) => Some(Scheme::Https),
        Some(RedirectScheme::Unknown(scheme)) => {
            return Err(value(format!("scheme is {scheme:?}, expected http or https")));
        }
    };
    let port = match written.port {
        None => None,
        Some(port) => match u16::try_from(port) {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(value(format!("port is {port}, expected 1 to 65535"))),
        },
    };
    let status = match written.status_code() {
        301 => StatusCode::MOVED_PERMANENTLY,
        302 => StatusCode::FOUND,
        303 => StatusCode::SEE_OTHER,
        307 => StatusCode::TEMPORARY_REDIRECT,
        308 => StatusCode::PERMANENT_REDIRECT,
        other => {
            let message = format!("statusCode is {other}, expected 301, 302, 303, 307 or 308");
            return Err(value(message));
        }
    };
    let hostname = written.hostname.as_deref().map(precise_hostname).transpose()?;
    let path = written.path.as_ref().map(|path| path_modifier(path, place)).transpose()?;
    Ok(Redirect { scheme, hostname, path, port, status })
}

fn url_rewrite(written: &api::HttpUrlRewriteFilter, place: Place<'_>) -> Result<UrlRewrite, Fault> {
    let hostname = match &written.hostname {
        None => None,
        Some(hostname) => Some(header_value(&precise_hostname(hostname)?)?),
    };
    let path = written.path.as_ref().map(|path| path_modifier(path, place)).transpose()?;
    Ok(UrlRewrite { hostname, path })
}

fn precise_hostname(text: &str) -> Result<Box<str>, Fault> {
    PreciseHostname::parse(text)
        .map(|hostname| hostname.as_str().into())
        .map_err(|error| value(format!("hostname {text:?} is not valid: {error}")))
}

fn path_modifier(written: &HttpPathModifier, place: Place<'_>) -> Result<PathModifier, Fault> {
    let text = |text: &Option<String>| match text {
        None => Err(value(format!("path.type is {}, but its value is missing", written.kind))),
        Some(text) if !is_path(text) => {
            Err(value(format!("path {text:?} has characters that a path cannot have")))
        }
        Some(text) => Ok(text.as_str().into()),
    };
    match &written.kind {
        HttpPathModifierType::ReplaceFullPath => {
            text(&written.replace_full_path).map(PathModifier::ReplaceFullPath)
        }
        // SPEC: the prefix that is replaced is the one that matched, so there must be just one.
        HttpPathModifierType::ReplacePrefixMatch if !place.one_prefix => Err(Fault::new(
            Reason::IncompatibleFilters,
            "ReplacePrefixMatch needs exactly one match in the rule, of type PathPrefix",
        )),
        HttpPathModifierType::ReplacePrefixMatch => {
            text(&written.replace_prefix_match).map(PathModifier::ReplacePrefixMatch)
        }
        HttpPathModifierType::Unknown(kind) => Err(value(format!(
            "path.type is {kind:?}, expected ReplaceFullPath or ReplacePrefixMatch"
        ))),
    }
}

/// Whether `text` can stand in a URI as a path, with or without its first slash.
fn is_path(text: &str) -> bool {
    let absolute = format!("/{}", text.strip_prefix('/').unwrap_or(text));
    !text.contains(['?', '#']) && absolute.parse::<http::uri::PathAndQuery>().is_ok()
}

// === Filters with references ===

/// A mirror that leads nowhere is left out; the request itself goes its way.
fn mirror(
    written: &HttpRequestMirrorFilter,
    field: &str,
    lowering: &mut Lowering<'_>,
) -> Result<Option<Filter>, Fault> {
    let fraction = share(written)?;
    let field = format!("{field}.requestMirror.backendRef");
    Ok(lowering.backend(&written.backend_ref, &field).ok().map(|backend| {
        Filter::RequestMirror(Arc::new(Mirror { backend, fraction, turns: Turns::default() }))
    }))
}

fn share(written: &HttpRequestMirrorFilter) -> Result<(u32, u32), Fault> {
    let (numerator, denominator) = match (written.percent, &written.fraction) {
        (Some(_), Some(_)) => {
            return Err(value("percent and fraction exclude each other"));
        }
        (Some(percent), None) => (percent, 100),
        (None, Some(fraction)) => (fraction.numerator(), Fraction::denominator(fraction)),
        (None, None) => (1, 1),
    };
    match (u32::try_from(numerator), u32::try_from(denominator)) {
        (Ok(numerator), Ok(denominator)) if denominator > 0 && numerator <= denominator => {
            Ok((numerator, denominator))
        }
        _ => Err(value(format!("the share is {numerator}/{denominator}, expected 0 to 1"))),
    }
}

// SPEC: an extension that cannot be resolved is never skipped: its requests are answered with 500.
fn extension(
    written: &api::LocalObjectReference,
    field: &str,
    lowering: &mut Lowering<'_>,
) -> Filter {
    let (group, kind, name) = (written.group(), &written.kind, &written.name);
    let (reason, problem) = match lowering.backends.given.scope.filter(group, kind, name) {
        Ok(filter) => return Filter::Custom(Arc::clone(filter)),
        Err(NoFilter::UnknownKind) => (Reason::InvalidKind, "is of a kind that is no filter here"),
        Err(NoFilter::UnknownName) => (Reason::BackendNotFound, "does not exist"),
    };
    let fault = Fault::new(reason, format!("filter {group}/{kind} {name} {problem}"));
    lowering.unresolved(fault, &format!("{field}.extensionRef"));
    Filter::Invalid
}

// SPEC: external authorization fails closed.
fn external_auth(
    written: &api::HttpExternalAuthFilter,
    field: &str,
    lowering: &mut Lowering<'_>,
) -> Result<Filter, Fault> {
    let grpc = written.grpc.clone().unwrap_or_default();
    let http = written.http.clone().unwrap_or_default();
    let protocol = match &written.protocol {
        ExternalAuthProtocol::Grpc => {
            AuthProtocol::Grpc { allowed_headers: header_names(&grpc.allowed_headers)? }
        }
        ExternalAuthProtocol::Http => AuthProtocol::Http {
            path: match http.path.as_deref().unwrap_or("") {
                path if is_path(path) => path.into(),
                path => return Err(value(format!("http.path {path:?} is no path"))),
            },
            allowed_headers: header_names(&http.allowed_headers)?,
            allowed_response_headers: header_names(&http.allowed_response_headers)?,
        },
        ExternalAuthProtocol::Unknown(protocol) => {
            return Err(value(format!("protocol is {protocol:?}, expected HTTP or GRPC")));
        }
    };
    let max_size = written.forward_body.as_ref().and_then(|body| body.max_size).unwrap_or(0);
    let max_body_bytes = usize::try_from(max_size)
        .map_err(|_| value(format!("forwardBody.maxSize is {max_size}, expected 0 or more")))?;
    let field = format!("{field}.externalAuth.backendRef");
    let speaks_grpc = matches!(protocol, AuthProtocol::Grpc { .. });
    Ok(match lowering.auth_backend(&written.backend_ref, speaks_grpc, &field) {
        Ok(backend) => {
            Filter::ExternalAuth(Arc::new(ExternalAuth { backend, protocol, max_body_bytes }))
        }
        Err(_) => Filter::Invalid,
    })
}
