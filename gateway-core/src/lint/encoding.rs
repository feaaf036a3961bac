//! Expressions that ask for an encoding that paths do not come in.
//!
//! In: the text of an expression over a path. Out: what it asks for in vain. Not here: exact paths and
//! prefixes, which `resolve` brings into the normal form.

use crate::matcher::{escaped, is_unreserved, normal_path};

/// The first percent-encoded byte of `source` that is not in normal form, and how requests have it.
pub(super) fn odd_encoding(source: &str) -> Option<(&str, String)> {
    let ignores_case = source.contains("(?i");
    let mut in_class = false;
    let mut at = 0;
    while at < source.len() {
        let rest = &source.as_bytes()[at..];
        match rest {
            [b'\\', b'%', ..] => {}
            [b'\\', ..] => at += 1,
            [b'[', ..] => in_class = true,
            [b']', ..] => in_class = false,
            // In a class each char stands for itself.
            [b'%', ..] if !in_class && escaped(rest).is_some() => {
                let written = &source[at..at + 3];
                let normal = normal_path(written);
                let plain = escaped(rest).is_some_and(is_unreserved);
                if plain || (normal != written && !ignores_case) {
                    return Some((written, normal.into_owned()));
                }
                at += 2;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::odd_encoding;

    #[test]
    fn encodings() {
        for (source, expect) in [
            ("/a%20b", None),
            ("/a%2Db", Some(("%2D", "-"))),
            (r"/a\%2db", Some(("%2d", "-"))),
            ("/caf%c3%a9", Some(("%c3", "%C3"))),
            ("(?i)/caf%c3%a9", None),
            ("(?i)/%61", Some(("%61", "a"))),
            ("/%C3%a9", Some(("%a9", "%A9"))),
            ("/[%61]", None),
            (r"/\[%61", Some(("%61", "a"))),
            ("/%[0-9a-f]{2}", None),
            ("/é%6", None),
        ] {
            let got = odd_encoding(source);
            assert_eq!(got.as_ref().map(|(odd, normal)| (*odd, &**normal)), expect, "{source}");
        }
    }
}
