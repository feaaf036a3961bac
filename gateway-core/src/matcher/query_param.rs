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
pub(crate) struct QueryValue<'q> {
    text: &'q [u8],
    is_escaped: bool,
}

impl<'q> QueryValue<'q> {
    /// The value at the start of `query`.
    fn at_start(query: &'q [u8]) -> Self {
        let (text, is_escaped) = match memchr::memchr3(b'&', b'%', b'+', query) {
            None => (query, false),
            Some(at) if query[at] == b'&' => (&query[..at], false),
            Some(_) => (split_pair(query).0, true),
        };
        Self { text, is_escaped }
    }

    /// The decoded value, if it is the same as the received one.
    pub(crate) fn plain(self) -> Option<&'q [u8]> {
        (!self.is_escaped).then_some(self.text)
    }

    /// The decoded value, byte for byte.
    pub(crate) fn bytes(self) -> impl Iterator<Item = u8> + use<'q> {
        decoded(self.text)
    }
}

/// The value of the first parameter called `name`.
// SPEC: of a repeated parameter the first value counts.
// PERF: bench `match`, workload header: the name as it is written is compared first.
pub(crate) fn first_value<'q>(query: &'q str, name: &str) -> Option<QueryValue<'q>> {
    let mut rest = Some(query.as_bytes());
    while let Some(query) = rest {
        match query.strip_prefix(name.as_bytes()) {
            Some([b'=', value @ ..]) if is_plain(name) => return Some(QueryValue::at_start(value)),
            Some(value @ ([] | [b'&', ..])) if is_plain(name) => {
                return Some(QueryValue::at_start(value));
            }
            _ => {}
        }
        let (pair, after) = split_pair(query);
        if let Some(end) = memchr::memchr3(b'=', b'%', b'+', pair)
            && pair[end] != b'='
        {
            let end = memchr::memchr(b'=', pair);
            let (key, value) = pair.split_at(end.unwrap_or(pair.len()));
            if decoded(key).eq(name.bytes()) {
                return Some(QueryValue::at_start(value.strip_prefix(b"=").unwrap_or(value)));
            }
        }
        rest = after;
    }
    None
}

/// Whether a query can have `name` as it is. The API lets names have `%`, `&` and `+`, which mean
/// themselves in a query only when they are escaped.
fn is_plain(name: &str) -> bool {
    !name.bytes().any(|byte| b"%&+=".contains(&byte))
}

/// The first pair of `query`, and what follows it if anything does.
fn split_pair(query: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'&', query) {
        Some(end) => (&query[..end], Some(&query[end + 1..])),
        None => (query, None),
    }
}

fn decoded(text: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text;
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
            ("aa=1&a=2", Some("2")),
            ("a&a=2", Some("")),
            ("%61", Some("")),
            ("%61=&a=2", Some("")),
            ("b=%61&a=x&", Some("x")),
            ("a=%26&b", Some("&")),
            ("&&a=1", Some("1")),
        ] {
            let got = first_value(query, "a").map(|value| value.bytes().collect::<Vec<u8>>());
            assert_eq!(got.as_deref(), expect.map(str::as_bytes), "{query}");
        }
    }

    #[test]
    fn names_are_compared_decoded_too() {
        for (name, query, expect) in [
            ("a+b", "a+b=1", None),
            ("a+b", "a+b=1&a%2Bb=2", Some("2")),
            ("a b", "a+b=1", Some("1")),
            ("a%62", "a%62=1", None),
            ("a%62", "a%2562=1", Some("1")),
            ("a&b", "a&b=1", None),
            ("a&b", "a%26b=1", Some("1")),
            ("=a", "=a", None),
        ] {
            let got = first_value(query, name).map(|value| value.bytes().collect::<Vec<u8>>());
            assert_eq!(got.as_deref(), expect.map(str::as_bytes), "{name} {query}");
        }
    }
}
