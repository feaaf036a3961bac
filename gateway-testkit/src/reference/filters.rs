//! What filters make of a request and its answer.

use std::collections::BTreeSet;

use gateway_core::api::{
    HttpHeaderFilter, HttpPathModifier, HttpPathModifierType, HttpRequestMirrorFilter,
    HttpRequestRedirectFilter, HttpRouteFilter, HttpUrlRewriteFilter,
};

use super::{
    backend, cors,
    decide::{Found, refuse},
    route::Backend,
    world::World,
};
use crate::corpus::{Decision, Forward, Request, Respond, changed_headers};

/// A request on its way to a backend.
#[derive(Clone, Debug)]
pub(super) struct Sent<'r> {
    request: &'r Request,
    path: String,
    host: String,
    headers: Vec<(String, String)>,
    mirrors: BTreeSet<String>,
    matched_prefix: Option<usize>,
    listener_port: i32,
}

impl<'r> Sent<'r> {
    pub(super) fn new(request: &'r Request, found: &Found<'_>) -> Self {
        Self {
            request,
            path: request.path().to_owned(),
            host: request.authority().to_owned(),
            headers: request.headers(),
            mirrors: BTreeSet::new(),
            matched_prefix: found.matched_prefix,
            listener_port: found.listener.spec.port,
        }
    }

    /// Applies filters in order; gives the answer of the first that answers.
    pub(super) fn apply(
        &mut self,
        world: &World,
        found: &Found<'_>,
        filters: &[HttpRouteFilter],
    ) -> Option<Decision> {
        for filter in filters {
            let error = backend::filter_error(world, found.route, filter);
            if let Some(modifier) = &filter.request_header_modifier {
                modify(&mut self.headers, modifier, &["host"]);
            } else if let Some(rewrite) = &filter.url_rewrite {
                self.rewrite(rewrite);
            } else if let Some(redirect) = &filter.request_redirect {
                return Some(self.redirect(redirect));
            } else if let Some(cors) = &filter.cors {
                if let Some(headers) = cors::preflight(cors, self.request) {
                    return Some(answer(200, "cors-preflight", &headers));
                }
            } else if let Some(mirror) = &filter.request_mirror {
                // SPEC: a mirror that cannot be resolved is dropped, the request goes on.
                if let (Ok(target), true) =
                    (backend::resolve(world, found.route, &mirror.backend_ref), gets_copies(mirror))
                {
                    self.mirrors.insert(target);
                }
            } else if error.is_some() {
                // SPEC: a filter that cannot be resolved is never skipped.
                return Some(refuse(500, "invalid-filter", self.request));
            }
        }
        None
    }

    /// The request as it reaches `target`, and what filters add to the answer.
    pub(super) fn forward(self, found: &Found<'_>, backend: &Backend, target: &str) -> Decision {
        let mut response = Vec::new();
        // SPEC: on the way back the filters of the backend come first.
        for filter in backend.filters.iter().chain(&found.rule.filters) {
            if let Some(modifier) = &filter.response_header_modifier {
                modify(&mut response, modifier, &[]);
            } else if let Some(cors) = &filter.cors {
                let headers = cors::response(cors, self.request);
                response.retain(|(name, _)| !headers.iter().any(|(other, _)| other == name));
                response.extend(headers);
            }
        }
        let query = self.request.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = format!("{}{query}", self.path);
        Decision::Forward(Forward {
            route: found.route.key(),
            rule: found.rule_place,
            backend: Some(target.to_owned()),
            path: Some(path).filter(|path| path != self.request.path_and_query()),
            host: Some(self.host).filter(|host| host != self.request.authority()),
            headers: changed_headers(&self.request.headers(), &self.headers),
            mirrors: self.mirrors,
            response_headers: changed_headers(&[], &response),
            ..Forward::default()
        })
    }

    fn rewrite(&mut self, rewrite: &HttpUrlRewriteFilter) {
        if let Some(modifier) = &rewrite.path {
            self.path = modified_path(modifier, &self.path, self.matched_prefix);
        }
        if let Some(hostname) = &rewrite.hostname {
            self.host.clone_from(hostname);
        }
    }

    // SPEC: HTTPRequestRedirectFilter: the port is the one given, else that of the given scheme,
    // else the listener's; the usual port of the scheme is not written.
    fn redirect(&self, redirect: &HttpRequestRedirectFilter) -> Decision {
        let own_scheme = if self.request.is_tls() { "https" } else { "http" };
        let given_scheme = redirect.scheme.as_ref().map(|scheme| scheme.as_str());
        let scheme = given_scheme.unwrap_or(own_scheme);
        let usual = |scheme: &str| if scheme == "https" { 443 } else { 80 };
        let port = match (redirect.port, given_scheme) {
            (Some(port), _) => port,
            (None, Some(scheme)) => usual(scheme),
            (None, None) => self.listener_port,
        };
        let own_host = without_port(&self.host);
        let host = redirect.hostname.as_deref().unwrap_or(own_host);
        let port = if port == usual(scheme) { String::new() } else { format!(":{port}") };
        let path = match &redirect.path {
            Some(modifier) => modified_path(modifier, &self.path, self.matched_prefix),
            None => self.path.clone(),
        };
        let query = self.request.query().map(|query| format!("?{query}")).unwrap_or_default();
        let location = format!("{scheme}://{host}{port}{path}{query}");
        let status = u16::try_from(redirect.status_code()).unwrap_or(302);
        answer(status, "redirect", &[("location".into(), location)])
    }
}

fn answer(status: u16, cause: &str, headers: &[(String, String)]) -> Decision {
    let headers = changed_headers(&[], headers);
    Decision::Respond(Respond { status, cause: cause.to_owned(), headers, grpc: None })
}

fn without_port(authority: &str) -> &str {
    let host = match authority.rfind(']') {
        Some(end) => &authority[..=end],
        None => authority.split(':').next().unwrap_or(authority),
    };
    host.strip_suffix('.').unwrap_or(host)
}

/// Whether any request is copied; a share between none and all is not modelled.
fn gets_copies(mirror: &HttpRequestMirrorFilter) -> bool {
    let fraction = mirror.fraction.as_ref().map(|fraction| fraction.numerator());
    mirror.percent.or(fraction).is_none_or(|numerator| numerator > 0)
}

// SPEC: rest = the path behind the prefix, "" or starting with "/"; the replacement loses its
// trailing slash; an empty result is "/".
fn modified_path(modifier: &HttpPathModifier, path: &str, prefix: Option<usize>) -> String {
    let new = if modifier.kind == HttpPathModifierType::ReplaceFullPath {
        modifier.replace_full_path.clone().unwrap_or_default()
    } else {
        let replacement = modifier.replace_prefix_match.as_deref().unwrap_or("");
        let replacement = replacement.strip_suffix('/').unwrap_or(replacement);
        format!("{replacement}{}", &path[prefix.unwrap_or(0)..])
    };
    if new.starts_with('/') { new } else { format!("/{new}") }
}

// SPEC: set replaces, add appends, remove deletes; of a name that occurs twice the first counts.
fn modify(headers: &mut Vec<(String, String)>, modifier: &HttpHeaderFilter, skip: &[&str]) {
    let mut seen: Vec<String> = skip.iter().map(|name| (*name).to_owned()).collect();
    let mut is_new = |name: &str| {
        let name = name.to_ascii_lowercase();
        let new = !seen.contains(&name);
        seen.push(name.clone());
        new.then_some(name)
    };
    for header in &modifier.set {
        if let Some(name) = is_new(&header.name) {
            headers.retain(|(other, _)| *other != name);
            headers.push((name, header.value.clone()));
        }
    }
    for header in &modifier.add {
        if let Some(name) = is_new(&header.name) {
            headers.push((name, header.value.clone()));
        }
    }
    for name in &modifier.remove {
        if let Some(name) = is_new(name) {
            headers.retain(|(other, _)| *other != name);
        }
    }
}
