//! Bytes in base64, as Secrets and ConfigMaps have them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes in standard base64, kept as written so that a bad value can be reported. `Debug` shows only the length.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Base64(String);

impl Base64 {
    /// Keeps `text`, which may be anything.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Encodes `bytes`.
    #[must_use]
    pub fn encode(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for chunk in bytes.chunks(3) {
            let group = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let digit = (group >> (18 - 6 * place)) as usize & 63;
                text.push(if place > chunk.len() { '=' } else { char::from(ALPHABET[digit]) });
            }
        }
        Self(text)
    }

    /// The bytes. Line breaks in the text are skipped.
    ///
    /// # Errors
    ///
    /// If the text is not standard base64 with padding.
    pub fn decode(&self) -> Result<Vec<u8>, Base64Error> {
        let digits: Vec<u8> =
            self.0.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let (chunks, rest) = digits.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(Base64Error);
        }
        let mut bytes = Vec::with_capacity(chunks.len() * 3);
        for (index, chunk) in chunks.iter().enumerate() {
            let padding = chunk.iter().rev().take_while(|digit| **digit == b'=').count();
            if padding > 2 || (padding > 0 && index + 1 != chunks.len()) {
                return Err(Base64Error);
            }
            let (mut group, kept) = (0_u32, 4 - padding);
            for digit in &chunk[..kept] {
                group = group << 6 | u32::from(digit_value(*digit).ok_or(Base64Error)?);
            }
            group <<= 6 * padding;
            bytes.extend_from_slice(&group.to_be_bytes()[1..kept]);
        }
        Ok(bytes)
    }
}

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({} characters)", self.0.len())
    }
}

/// A text is not standard base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not base64: expected groups of four of A-Z, a-z, 0-9, + and /, the last one padded with ="
)]
pub struct Base64Error;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn digit_value(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, bytes: Option<&[u8]>) {
        assert_eq!(Base64::new(text).decode().ok().as_deref(), bytes, "{text:?}");
        if let Some(bytes) = bytes {
            assert_eq!(Base64::encode(bytes).0, text.replace(['\r', '\n'], ""));
        }
    }

    #[test]
    fn base64_is_decoded_strictly() {
        check("", Some(b""));
        check("Zg==", Some(b"f"));
        check("Zm8=", Some(b"fo"));
        check("Zm9v", Some(b"foo"));
        check("Zm9v\nYmFy\r\n", Some(b"foobar"));
        check("/+//", Some(&[0xff, 0xef, 0xff]));
        for bad in ["Z", "Zg", "Zg=", "Zm9v=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9_"] {
            check(bad, None);
        }
    }
}
