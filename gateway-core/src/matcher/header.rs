//! A header field must have a value.

use http::{HeaderMap, HeaderName};
use smallvec::SmallVec;

use super::{Pattern, ValuePattern};

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
    /// Whether the predicate holds for `headers`. Allocates only to run an expression over lines
    /// that together are longer than 256 bytes.
    #[must_use]
    pub fn is_match(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(&self.name).iter();
        let Some(first) = lines.next() else { return false };
        if lines.next().is_none() {
            return self.value.is_match(first.as_bytes());
        }
        let bytes = header_bytes(headers, &self.name);
        match &self.value {
            Pattern::Exact(value) => bytes.eq(value.bytes()),
            regex @ Pattern::Regex(_) => {
                let mut joined = SmallVec::<[u8; 256]>::new();
                bytes.for_each(|byte| joined.push(byte));
                regex.is_match(&joined)
            }
        }
    }
}

/// A field that a request has exactly once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeaderLine<'a> {
    pub(crate) name: &'a HeaderName,
    pub(crate) value: &'a [u8],
}

/// The lines of the field `name`, joined by `,`.
pub(crate) fn header_bytes<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = u8> + use<'h> {
    let mut separator: Option<u8> = None;
    headers.get_all(name).iter().flat_map(move |line| {
        separator.replace(b',').into_iter().chain(line.as_bytes().iter().copied())
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::HeaderPredicate;
    use crate::matcher::{Pattern, RegexLimits};

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
        assert!(!predicate("a,").is_match(&headers));
        assert!(!predicate("a,b,").is_match(&headers));
        let regex = Pattern::regex("a,[bc]", RegexLimits::default()).expect("valid");
        assert!(HeaderPredicate { name, value: regex }.is_match(&headers));
    }
}
