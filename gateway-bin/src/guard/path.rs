//! Paths in one normal form (RFC 3986 section 6.2.2), or refused.
//!
//! A path that two programs can read in two ways passes a route of one and reaches a handler of
//! the other. So percent-encoded letters, digits, `-`, `.`, `_` and `~` are decoded, the hex digits of the
//! rest are upper case, and what stays doubtful is refused: dot segments, encoded slashes,
//! backslashes, control bytes, bytes of no UTF-8 text. `//` and `;` stay as they are. The query
//! is not touched.

use http::{Uri, request, uri};

use super::Refusal;

/// Normalises the path of an origin-form target.
pub(super) fn settle(head: &mut request::Parts) -> Result<(), Refusal> {
    let path = head.uri.path().as_bytes();
    if path.first() != Some(&b'/') {
        return Err(Refusal::bad("the path must start with /"));
    }
    let (mut dots, mut encoded) = (false, false);
    let mut before = 0;
    for &byte in path {
        match byte {
            0..=b' ' | 0x7f.. | b'\\' | b'#' => {
                return Err(Refusal::bad("the path has a forbidden character"));
            }
            b'%' => encoded = true,
            b'.' if before == b'/' => dots = true,
            _ => {}
        }
        before = byte;
    }
    if encoded {
        let decoded = normal_form(path)?;
        check_segments(&decoded)?;
        return replace(head, decoded);
    }
    if dots {
        check_segments(path)?;
    }
    Ok(())
}

fn normal_form(path: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut normal = Vec::with_capacity(path.len());
    let mut rest = path.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            normal.push(byte);
            continue;
        }
        let (high, low) = (hex(rest.next())?, hex(rest.next())?);
        match high << 4 | low {
            0..=0x1f | 0x7f | b'/' | b'\\' | 0xc0 | 0xc1 | 0xf5.. => {
                return Err(Refusal::bad("the path has a forbidden encoded character"));
            }
            plain @ (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~') => {
                normal.push(plain);
            }
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                normal.extend([b'%', DIGITS[usize::from(high)], DIGITS[usize::from(low)]]);
            }
        }
    }
    Ok(normal)
}

fn hex(digit: Option<u8>) -> Result<u8, Refusal> {
    match digit {
        Some(digit @ b'0'..=b'9') => Ok(digit - b'0'),
        Some(digit @ b'a'..=b'f') => Ok(digit - b'a' + 10),
        Some(digit @ b'A'..=b'F') => Ok(digit - b'A' + 10),
        _ => Err(Refusal::bad("the path has a broken percent-encoding")),
    }
}

/// Refuses `.` and `..`, also with parameters (`..;x`), which some backends cut off first.
fn check_segments(path: &[u8]) -> Result<(), Refusal> {
    let name = |segment: &[u8]| {
        let end = segment.iter().position(|byte| *byte == b';').unwrap_or(segment.len());
        matches!(&segment[..end], b"." | b"..")
    };
    if path.split(|byte| *byte == b'/').any(name) {
        return Err(Refusal::bad("the path has a dot segment"));
    }
    Ok(())
}

fn replace(head: &mut request::Parts, mut path: Vec<u8>) -> Result<(), Refusal> {
    if path == head.uri.path().as_bytes() {
        return Ok(());
    }
    if let Some(query) = head.uri.query() {
        path.push(b'?');
        path.extend_from_slice(query.as_bytes());
    }
    let malformed = |_| Refusal::bad("the path is malformed");
    let mut parts = uri::Parts::default();
    parts.path_and_query = Some(uri::PathAndQuery::from_maybe_shared(path).map_err(malformed)?);
    head.uri = Uri::from_parts(parts).map_err(|_| Refusal::bad("the path is malformed"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use gateway_core::matcher::normal_path;
    use http::Request;
    use proptest::prelude::*;

    use super::settle;

    proptest! {
        #[test]
        fn admitted_paths_have_the_form_that_routes_are_compared_in(
            path in "(/([a-z.;~]|%[0-9a-fA-F]{2}|%[2-7][0-9a-fA-F]){0,5}){1,3}",
        ) {
            let request = Request::get(&path).body(()).expect("a request");
            let (mut head, ()) = request.into_parts();
            if settle(&mut head).is_ok() {
                prop_assert_eq!(head.uri.path(), normal_path(&path));
            }
        }
    }
}
