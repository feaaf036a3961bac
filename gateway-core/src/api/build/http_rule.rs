//! Building rules and filters of HTTPRoutes.

use std::time;

use crate::api::*;

impl HttpRouteRule {
    /// Begins an alternative match; conditions that follow belong to it.
    #[must_use]
    pub fn or(mut self) -> Self {
        self.matches.push(HttpRouteMatch::default());
        self
    }

    /// Matches paths that start with the segments of `value`.
    #[must_use]
    pub fn path_prefix(self, value: impl Into<String>) -> Self {
        self.path(PathMatchType::PathPrefix, value)
    }

    /// Matches exactly this path.
    #[must_use]
    pub fn path_exact(self, value: impl Into<String>) -> Self {
        self.path(PathMatchType::Exact, value)
    }

    /// Matches paths by a regular expression.
    #[must_use]
    pub fn path_regex(self, value: impl Into<String>) -> Self {
        self.path(PathMatchType::RegularExpression, value)
    }

    /// Matches this method.
    #[must_use]
    pub fn method(mut self, method: HttpMethod) -> Self {
        self.last_match().method = Some(method);
        self
    }

    /// Matches a header with exactly this value.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.last_match().headers.push(HttpHeaderMatch {
            kind: None,
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Matches a query parameter with exactly this value.
    #[must_use]
    pub fn query_param(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.last_match().query_params.push(HttpQueryParamMatch {
            kind: None,
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a filter for all backends of the rule.
    #[must_use]
    pub fn filter(mut self, filter: HttpRouteFilter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Adds a filter for the backend added last.
    #[must_use]
    pub fn backend_filter(mut self, filter: HttpRouteFilter) -> Self {
        if let Some(backend) = self.backend_refs.last_mut() {
            backend.filters.push(filter);
        }
        self
    }

    /// Limits the time from the arrival of a request to the end of its response.
    #[must_use]
    pub fn timeout(mut self, limit: time::Duration) -> Self {
        self.timeouts.get_or_insert_default().request = Some(limit.into());
        self
    }

    fn path(mut self, kind: PathMatchType, value: impl Into<String>) -> Self {
        self.last_match().path =
            Some(HttpPathMatch { kind: Some(kind), value: Some(value.into()) });
        self
    }

    fn last_match(&mut self) -> &mut HttpRouteMatch {
        if self.matches.is_empty() {
            self.matches.push(HttpRouteMatch::default());
        }
        self.matches.last_mut().expect("a match was pushed if there was none")
    }
}

impl HttpRouteFilter {
    /// Changes request headers.
    #[must_use]
    pub fn request_headers(change: HttpHeaderFilter) -> Self {
        Self {
            request_header_modifier: Some(change),
            ..Self::of(FilterType::RequestHeaderModifier)
        }
    }

    /// Changes response headers.
    #[must_use]
    pub fn response_headers(change: HttpHeaderFilter) -> Self {
        Self {
            response_header_modifier: Some(change),
            ..Self::of(FilterType::ResponseHeaderModifier)
        }
    }

    /// Sends a copy of every request to `backend`.
    #[must_use]
    pub fn mirror(backend: BackendObjectReference) -> Self {
        let mirror =
            HttpRequestMirrorFilter { backend_ref: backend, ..HttpRequestMirrorFilter::default() };
        Self { request_mirror: Some(mirror), ..Self::of(FilterType::RequestMirror) }
    }

    /// Answers with a redirect.
    #[must_use]
    pub fn redirect(redirect: HttpRequestRedirectFilter) -> Self {
        Self { request_redirect: Some(redirect), ..Self::of(FilterType::RequestRedirect) }
    }

    /// Answers with a permanent redirect to the same URL over HTTPS.
    #[must_use]
    pub fn redirect_to_https() -> Self {
        Self::redirect(HttpRequestRedirectFilter {
            scheme: Some(RedirectScheme::Https),
            status_code: Some(301),
            ..HttpRequestRedirectFilter::default()
        })
    }

    /// Changes host or path on the way to the backend.
    #[must_use]
    pub fn url_rewrite(rewrite: HttpUrlRewriteFilter) -> Self {
        Self { url_rewrite: Some(rewrite), ..Self::of(FilterType::UrlRewrite) }
    }

    /// Replaces the path prefix that matched.
    #[must_use]
    pub fn replace_prefix(prefix: impl Into<String>) -> Self {
        let path = Some(HttpPathModifier::replace_prefix(prefix));
        Self::url_rewrite(HttpUrlRewriteFilter { hostname: None, path })
    }

    /// Answers cross-origin preflights and marks responses.
    #[must_use]
    pub fn cors(cors: HttpCorsFilter) -> Self {
        Self { cors: Some(cors), ..Self::of(FilterType::Cors) }
    }

    /// Asks an authorization service first.
    #[must_use]
    pub fn external_auth(auth: HttpExternalAuthFilter) -> Self {
        Self { external_auth: Some(auth), ..Self::of(FilterType::ExternalAuth) }
    }

    /// A filter of the application, by the object that configures it.
    #[must_use]
    pub fn extension(
        group: impl Into<String>,
        kind: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        let extension_ref = LocalObjectReference {
            group: Some(group.into()),
            kind: kind.into(),
            name: name.into(),
        };
        Self { extension_ref: Some(extension_ref), ..Self::of(FilterType::ExtensionRef) }
    }

    fn of(kind: FilterType) -> Self {
        Self { kind, ..Self::default() }
    }
}

impl HttpHeaderFilter {
    /// Overwrites a header.
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set.push(HttpHeader { name: name.into(), value: value.into() });
        self
    }

    /// Appends to a header.
    #[must_use]
    pub fn add(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.add.push(HttpHeader { name: name.into(), value: value.into() });
        self
    }

    /// Removes a header.
    #[must_use]
    pub fn remove(mut self, name: impl Into<String>) -> Self {
        self.remove.push(name.into());
        self
    }
}

impl HttpPathModifier {
    /// Replaces the whole path.
    #[must_use]
    pub fn replace_full(path: impl Into<String>) -> Self {
        let kind = HttpPathModifierType::ReplaceFullPath;
        Self { kind, replace_full_path: Some(path.into()), replace_prefix_match: None }
    }

    /// Replaces the prefix that matched.
    #[must_use]
    pub fn replace_prefix(prefix: impl Into<String>) -> Self {
        let kind = HttpPathModifierType::ReplacePrefixMatch;
        Self { kind, replace_full_path: None, replace_prefix_match: Some(prefix.into()) }
    }
}
