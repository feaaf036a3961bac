//! What a request was matched to, for handlers, logs and metrics.

use std::{fmt, sync::Arc};

use gateway_core::{
    backend::Backend,
    compile::Found,
    resolve::topology::{Listener, Route, Rule},
};

/// The match of a request, independent of the table that it came from.
///
/// An inner service finds it in the extensions of its request.
#[derive(Clone, Debug)]
pub struct OwnedMatch {
    /// The listener that took the request.
    pub listener: Arc<Listener>,
    /// The route.
    pub route: Arc<Route>,
    /// Its rule.
    pub rule: Arc<Rule>,
    /// The place in [`Rule::matches`] of the entry that fitted.
    pub match_index: usize,
    /// Bytes of the path that a matched prefix covers, without trailing slash.
    pub matched_prefix: Option<usize>,
    /// The backend that was chosen; none if the gateway answered before.
    pub backend: Option<Arc<Backend>>,
}

impl OwnedMatch {
    /// The match of `found`, at the backend that was chosen.
    #[must_use]
    pub fn of(found: &Found<'_>, backend: Option<&Arc<Backend>>) -> Self {
        Self {
            listener: Arc::clone(found.listener),
            route: Arc::clone(found.route),
            rule: Arc::clone(found.rule),
            match_index: found.match_index,
            matched_prefix: found.matched_prefix,
            backend: backend.cloned(),
        }
    }
}

/// `namespace/name#rule`, the rule by its name or else its index: a label for metrics.
impl fmt::Display for OwnedMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}#", self.route.key.namespace, self.route.key.name)?;
        match &self.rule.name {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.rule.index),
        }
    }
}
