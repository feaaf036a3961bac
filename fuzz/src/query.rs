use gateway_core::matcher::{Pattern, QueryPredicate};

use crate::lines;

/// Lines: a name, a value, a query. The first parameter of the name counts, after decoding.
pub fn query_match(data: &[u8]) {
    let [name, value, query] = lines(data);
    let predicate =
        QueryPredicate { name: name.as_str().into(), value: Pattern::exact(value.as_str()) };
    let first = query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| decode(key) == name.as_bytes());
    let expect = first.is_some_and(|(_, found)| decode(found) == value.as_bytes());
    assert_eq!(predicate.is_match(Some(&query)), expect, "{name}={value} {query}");
    assert!(!predicate.is_match(None));
}

/// `+` is a blank, `%` with two hexadecimal digits a byte, everything else itself.
fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).and_then(|digit| char::from(*digit).to_digit(16));
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.extend(u8::try_from(high * 16 + low));
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            (byte, ..) => decoded.push(byte),
        }
        at += 1;
    }
    decoded
}
