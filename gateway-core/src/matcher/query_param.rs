//! A query parameter must have a value.

use std::borrow::Cow;

use super::ValuePattern;

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
    /// Whether the predicate holds for a query as received, without its `?`.
    #[must_use]
    pub fn is_match(&self, query: Option<&str>) -> bool {
        query
            .and_then(|query| first_value(query, &self.name))
            .is_some_and(|value| self.value.is_match(&value))
    }
}

/// The decoded value of the first parameter called `name`. Allocates only for an escaped value.
// SPEC: of a repeated parameter the first value counts.
pub(crate) fn first_value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name && is_plain(key) || *decode(key) == *name.as_bytes()).then(|| decode(value))
    })
}

fn is_plain(text: &str) -> bool {
    memchr::memchr2(b'%', b'+', text.as_bytes()).is_none()
}

fn decode(text: &str) -> Cow<'_, [u8]> {
    if is_plain(text) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let [byte, tail @ ..] = rest {
        rest = tail;
        decoded.push(match (byte, tail) {
            (b'+', _) => b' ',
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    rest = after;
                    high << 4 | low
                }
                _ => b'%',
            },
            _ => *byte,
        });
    }
    Cow::Owned(decoded)
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
            let got = first_value(query, "a");
            assert_eq!(got.as_deref(), expect.map(str::as_bytes), "{query}");
        }
    }
}
