//! Building rules of GRPCRoutes.

use crate::api::*;

impl GrpcRouteRule {
    /// Begins an alternative match; conditions that follow belong to it.
    #[must_use]
    pub fn or(mut self) -> Self {
        self.matches.push(GrpcRouteMatch::default());
        self
    }

    /// Matches this service, by its full name.
    #[must_use]
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.last_match().method.get_or_insert_default().service = Some(name.into());
        self
    }

    /// Matches this method.
    #[must_use]
    pub fn method(mut self, name: impl Into<String>) -> Self {
        self.last_match().method.get_or_insert_default().method = Some(name.into());
        self
    }

    /// Matches metadata with exactly this value.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.last_match().headers.push(GrpcHeaderMatch {
            kind: None,
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// Adds a filter for all backends of the rule.
    #[must_use]
    pub fn filter(mut self, filter: GrpcRouteFilter) -> Self {
        self.filters.push(filter);
        self
    }

    fn last_match(&mut self) -> &mut GrpcRouteMatch {
        if self.matches.is_empty() {
            self.matches.push(GrpcRouteMatch::default());
        }
        self.matches.last_mut().expect("a match was pushed if there was none")
    }
}
