//! A header field must have a value.

use http::{HeaderMap, HeaderName, HeaderValue};
use smallvec::SmallVec;

use super::ValuePattern;

/// Holds if the request has the field and its value fits.
///
/// A field sent several times is compared as its values joined by `,` (RFC 9110 section 5.3).
#[derive(Clone, Debug, PartialEq)]
pub struct HeaderPredicate {
    /// The field; names are compared without regard to case.
    pub name: HeaderName,
    /// What the value must be, byte for byte.
    pub value: ValuePattern,
}

impl HeaderPredicate {
    /// Whether the predicate holds for `headers`.
    #[must_use]
    pub fn is_match(&self, headers: &HeaderMap) -> bool {
        with_joined_value(headers, &self.name, |value| self.value.is_match(value)).unwrap_or(false)
    }
}

/// Calls `read` with the value of the field `name`, its lines joined by `,`; none if it is absent.
///
/// Up to 256 joined bytes need no allocation.
pub(crate) fn with_joined_value<T>(
    headers: &HeaderMap,
    name: &HeaderName,
    read: impl FnOnce(&[u8]) -> T,
) -> Option<T> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    match lines.next() {
        None => Some(read(first.as_bytes())),
        Some(second) => Some(read(&join(first, second, lines))),
    }
}

fn join<'a>(
    first: &HeaderValue,
    second: &'a HeaderValue,
    rest: impl Iterator<Item = &'a HeaderValue>,
) -> SmallVec<[u8; 256]> {
    let mut joined = SmallVec::from_slice(first.as_bytes());
    for line in std::iter::once(second).chain(rest) {
        joined.push(b',');
        joined.extend_from_slice(line.as_bytes());
    }
    joined
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::HeaderPredicate;
    use crate::matcher::Pattern;

    #[test]
    fn lines_of_one_field_are_joined() {
        let name = HeaderName::from_static("x-tag");
        let predicate =
            |value| HeaderPredicate { name: name.clone(), value: Pattern::exact(value) };
        let mut headers = HeaderMap::new();
        assert!(!predicate("").is_match(&headers));
        headers.append(&name, HeaderValue::from_static("a"));
        assert!(predicate("a").is_match(&headers));
        headers.append(&name, HeaderValue::from_static("b"));
        assert!(predicate("a,b").is_match(&headers));
        assert!(!predicate("a").is_match(&headers));
    }
}
