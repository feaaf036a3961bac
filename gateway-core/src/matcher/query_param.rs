//! A query parameter must have a value.

use smallvec::SmallVec;

use super::{Pattern, ValuePattern};

/// Holds if the query has the parameter and its first value fits.
///
/// Names and values are compared after percent-decoding, with `+` read as a space, byte for byte.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryPredicate {
    /// The parameter; case-sensitive.
    pub name: Box<str>,
    /// What the value must be. A parameter without `=` has the empty value.
    pub value: ValuePattern,
}

impl QueryPredicate {
    /// Whether the predicate holds for a query as received, without its `?`. Allocates only to run
    /// an expression over an escaped value of more than 256 bytes.
    #[must_use]
    pub fn is_match(&self, query: Option<&str>) -> bool {
        let Some(value) = query.and_then(|query| first_value(query, &self.name)) else {
            return false;
        };
        match (value.plain(), &self.value) {
            (Some(plain), pattern) => pattern.is_match(plain),
            (None, Pattern::Exact(exact)) => value.bytes().eq(exact.bytes()),
            (None, regex @ Pattern::Regex(_)) => {
                let mut decoded = SmallVec::<[u8; 256]>::new();
                value.bytes().for_each(|byte| decoded.push(byte));
                regex.is_match(&decoded)
            }
        }
    }
}

/// The value of a parameter as received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryValue<'q>(&'q [u8]);

impl<'q> QueryValue<'q> {
    /// The decoded value, if it is the same as the received one.
    pub(crate) fn plain(self) -> Option<&'q [u8]> {
        is_plain(self.0).then_some(self.0)
    }

    /// The decoded value, byte for byte.
    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> + use<'q> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (byte, tail) = rest.split_first()?;
            rest = tail;
            Some(match (byte, tail) {
                (b'+', _) => b' ',
                (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                    (Some(high), Some(low)) => {
                        rest = after;
                        high << 4 | low
                    }
                    _ => b'%',
                },
                _ => *byte,
            })
        })
    }
}

/// The value of the first parameter called `name`.
// SPEC: of a repeated parameter the first value counts.
pub(crate) fn first_value<'q>(query: &'q str, name: &str) -> Option<QueryValue<'q>> {
    let mut rest = Some(query.as_bytes());
    while let Some(query) = rest {
        let pair = match memchr::memchr(b'&', query) {
            Some(end) => {
                rest = Some(&query[end + 1..]);
                &query[..end]
            }
            None => {
                rest = None;
                query
            }
        };
        let (key, value) = match memchr::memchr(b'=', pair) {
            Some(end) => (&pair[..end], &pair[end + 1..]),
            None => (pair, &[][..]),
        };
        let is_name = if is_plain(key) {
            key == name.as_bytes()
        } else {
            QueryValue(key).bytes().eq(name.bytes())
        };
        if is_name {
            return Some(QueryValue(value));
        }
    }
    None
}

fn is_plain(text: &[u8]) -> bool {
    memchr::memchr2(b'%', b'+', text).is_none()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::first_value;

    #[test]
    fn the_first_decoded_value_counts() {
        for (query, expect) in [
            ("a=1", Some("1")),
            ("b=1", None),
            ("", None),
            ("A=1", None),
            ("a", Some("")),
            ("x&a=1&a=2", Some("1")),
            ("a=x%20y", Some("x y")),
            ("a=x+y", Some("x y")),
            ("%61=1", Some("1")),
            ("a=%zz%", Some("%zz%")),
            ("a=b=c", Some("b=c")),
            ("aa=1", None),
        ] {
            let got = first_value(query, "a").map(|value| value.bytes().collect::<Vec<u8>>());
            assert_eq!(got.as_deref(), expect.map(str::as_bytes), "{query}");
        }
    }
}
