//! `RequestHeaderModifier` and `ResponseHeaderModifier`: set, add, remove.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Sets, adds and removes header fields, in this order.
///
/// A name occurs at most once over the three lists; `resolve` reports others and drops them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderModifier {
    /// Replaces all values of the field, or creates it.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Adds a value to those that the field has.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Deletes the field.
    pub remove: Vec<HeaderName>,
}

impl HeaderModifier {
    /// Changes `headers`.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }

    /// Changes the headers of a request; the `Host` field is left as it is.
    // SPEC: the host is changed by URLRewrite; a changed Host here would part the authority that
    // was matched from the one that is forwarded.
    pub(super) fn apply_to_request(&self, headers: &mut HeaderMap) {
        let host = headers.get(header::HOST).cloned();
        self.apply(headers);
        match host {
            Some(host) => headers.insert(header::HOST, host),
            None => headers.remove(header::HOST),
        };
    }
}
