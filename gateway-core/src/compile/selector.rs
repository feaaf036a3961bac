//! The second level of the index: many matches of one path, told apart by a value.
//!
//! In: the matches of one path, such as a thousand tenants by a header. Out: those that ask for the
//! value that the request has, and those that do not ask. Not here: the comparison of the value,
//! which every candidate makes by itself; equal hashes are no proof.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;

use super::{
    candidate::Request,
    hasher::Hasher,
    span_index::{Span, SpanIndex},
};
use crate::matcher::{HeaderLine, Pattern, RouteMatch, first_value, header_bytes, method_segment};

/// Up to so many matches of one path are simply tried one after the other.
pub(super) const FEW: usize = 8;

/// Sends a request on by one of its values.
#[derive(Clone, Debug)]
pub(super) struct Selector {
    key: ValueKey,
    /// Matches that ask for exactly one value, by its hash.
    values: SpanIndex,
    /// Matches that ask for another kind of value or none.
    pub(super) rest: Span,
}

/// A value of a request that matches may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ValueKey {
    Header(OrdHeaderName),
    QueryParam(Box<str>),
    GrpcMethod,
}

/// A header name with the order of its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OrdHeaderName(HeaderName);

impl PartialOrd for OrdHeaderName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for OrdHeaderName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl Selector {
    pub(super) fn new(key: ValueKey, values: &[(u64, Span)], rest: Span) -> Self {
        Self { key, values: SpanIndex::new(values), rest }
    }

    /// The matches that ask for the value of this request. A field that is looked up for it is
    /// noted in the request.
    pub(super) fn find<'a>(&'a self, hasher: Hasher, request: &Request<'a>) -> Span {
        self.key.hash_of(hasher, request).map_or(Span::EMPTY, |hash| self.values.find(hash))
    }

    pub(super) fn bytes(&self) -> usize {
        self.values.bytes()
    }
}

impl ValueKey {
    /// The key, not among `used`, by which `entries` differ most; none if they agree in all keys.
    pub(super) fn best<'a>(
        entries: impl Iterator<Item = &'a RouteMatch>,
        used: &[Self],
    ) -> Option<Self> {
        let mut values: BTreeMap<Self, BTreeSet<&str>> = BTreeMap::new();
        for entry in entries {
            for (key, value) in exact_values(entry) {
                values.entry(key).or_default().insert(value);
            }
        }
        for key in used {
            values.remove(key);
        }
        let (key, values) = values.into_iter().max_by_key(|(_, values)| values.len())?;
        (values.len() > 1).then_some(key)
    }

    /// The hash of the one value that `entry` asks for; none if it is no exact value.
    pub(super) fn hash_in(&self, hasher: Hasher, entry: &RouteMatch) -> Option<u64> {
        exact_values(entry)
            .find(|(key, _)| key == self)
            .map(|(_, value)| hasher.text(value.as_bytes()))
    }

    fn hash_of<'a>(&'a self, hasher: Hasher, request: &Request<'a>) -> Option<u64> {
        let head = request.head;
        match self {
            Self::Header(OrdHeaderName(name)) => {
                let mut lines = head.headers.get_all(name).iter();
                let first = lines.next()?;
                Some(match lines.next() {
                    None => {
                        let value = first.as_bytes();
                        request.note(HeaderLine { name, value });
                        hasher.text(value)
                    }
                    // A client that repeats the field must not get around the index.
                    Some(_) => hasher.bytes(header_bytes(head.headers, name)),
                })
            }
            Self::QueryParam(name) => first_value(head.query?, name).map(|value| {
                value.plain().map_or_else(|| hasher.bytes(value.bytes()), |text| hasher.text(text))
            }),
            Self::GrpcMethod => method_segment(head.path).map(|text| hasher.text(text.as_bytes())),
        }
    }
}

fn exact_values(entry: &RouteMatch) -> impl Iterator<Item = (ValueKey, &str)> {
    let headers = entry.headers.iter().map(|predicate| {
        (ValueKey::Header(OrdHeaderName(predicate.name.clone())), &predicate.value)
    });
    let query_params = entry
        .query_params
        .iter()
        .map(|predicate| (ValueKey::QueryParam(predicate.name.clone()), &predicate.value));
    let grpc_method = entry.grpc_method.iter().map(|value| (ValueKey::GrpcMethod, value));
    headers.chain(query_params).chain(grpc_method).filter_map(|(key, value)| match value {
        Pattern::Exact(value) => Some((key, &**value)),
        Pattern::Regex(_) => None,
    })
}
