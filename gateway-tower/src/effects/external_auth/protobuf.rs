//! As much of the protobuf encoding as the few messages of the check need.
//!
//! In and out: fields by their numbers. Not here: what the numbers mean (`check`).

/// Writes fields of a message.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

impl Writer {
    /// A string or bytes field; an empty one is the default and not written.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) -> &mut Self {
        if !value.is_empty() {
            self.length_delimited(field, value);
        }
        self
    }

    /// An integer field; zero is the default and not written.
    pub(super) fn varint(&mut self, field: u32, value: u64) -> &mut Self {
        if value != 0 {
            self.raw_varint(u64::from(field) << 3 | VARINT);
            self.raw_varint(value);
        }
        self
    }

    /// A field that is a message, also an empty one.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut message = Self::default();
        write(&mut message);
        self.length_delimited(field, &message.0);
        self
    }

    fn length_delimited(&mut self, field: u32, value: &[u8]) {
        self.raw_varint(u64::from(field) << 3 | LENGTH);
        self.raw_varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// A field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Of a fixed size, which no message here has.
    Other,
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the fields of a message. Stops after the first malformed one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let key = self.raw_varint()?;
        let field = u32::try_from(key >> 3).ok().filter(|field| *field != 0)?;
        let value = match key & 7 {
            VARINT => Value::Varint(self.raw_varint()?),
            LENGTH => {
                let length = usize::try_from(self.raw_varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            FIXED64 => self.take(8).map(|_| Value::Other)?,
            FIXED32 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some((field, value))
    }

    fn raw_varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Malformed, Reader, Value, Writer};

    #[test]
    fn the_wire_form_is_that_of_the_specification() {
        let mut message = Writer::default();
        message.varint(1, 150).bytes(2, b"testing").message(3, |inner| {
            inner.varint(1, 150);
        });
        let bytes = message.finish();
        assert_eq!(bytes, b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\x96\x01");
        let fields = Reader::new(&bytes).collect::<Result<Vec<_>, _>>();
        let inner = Value::Bytes(b"\x08\x96\x01");
        assert_eq!(
            fields,
            Ok(vec![(1, Value::Varint(150)), (2, Value::Bytes(b"testing")), (3, inner)])
        );
    }

    #[test]
    fn malformed_messages_are_told_apart() {
        for bytes in [
            &b"\x08"[..],
            b"\x12\x07short",
            b"\x0b",
            b"\x00\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(Reader::new(bytes).collect::<Result<Vec<_>, _>>(), Err(Malformed));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(Reader::new(&bytes).count() <= bytes.len());
        }

        #[test]
        fn what_is_written_is_read(field in 1u32..1000, number in 1u64.., text in "\\PC{1,200}") {
            let mut message = Writer::default();
            message.varint(field, number).bytes(field, text.as_bytes());
            let bytes = message.finish();
            let fields = Reader::new(&bytes).collect::<Result<Vec<_>, _>>();
            let expect =
                vec![(field, Value::Varint(number)), (field, Value::Bytes(text.as_bytes()))];
            prop_assert_eq!(fields, Ok(expect));
        }
    }
}
