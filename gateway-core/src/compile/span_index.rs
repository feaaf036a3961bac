//! An immutable hash table from 64-bit hashes to ranges of a list that is kept elsewhere.
//!
//! In: hashes, each once, with their ranges. Out: the range of a hash, in about one probe. Not
//! here: keys. Whoever reads the range compares what is in it, so that keys of equal hash may
//! share a range.

/// A range of a list, or one of the marked kinds of the list that it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    /// 0: nothing.
    pub(super) length: u32,
}

impl Span {
    pub(super) const EMPTY: Self = Self { start: 0, length: 0 };

    #[inline]
    pub(super) fn of<T>(self, list: &[T]) -> &[T] {
        // INVARIANT: spans are made for the one list that they are used with.
        &list[self.start as usize..][..self.length as usize]
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u64,
    span: Span,
}

/// Spans by hash: open addressing with linear probing, at most three quarters full.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanIndex {
    /// A power of two of them, or none at all.
    slots: Box<[Slot]>,
}

impl SpanIndex {
    /// Takes each hash once, each with a span that is not empty.
    pub(super) fn new(spans: &[(u64, Span)]) -> Self {
        if spans.is_empty() {
            return Self::default();
        }
        let size = (spans.len() * 4 / 3 + 1).next_power_of_two();
        let mut slots = vec![Slot::default(); size].into_boxed_slice();
        for (hash, span) in spans {
            let mut at = *hash as usize & (size - 1);
            while slots[at].span.length != 0 {
                at = (at + 1) & (size - 1);
            }
            slots[at] = Slot { hash: *hash, span: *span };
        }
        Self { slots }
    }

    /// The span of `hash`, or the empty one.
    #[inline]
    pub(super) fn find(&self, hash: u64) -> Span {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get(at) {
            if slot.hash == hash || slot.span.length == 0 {
                return slot.span;
            }
            at = (at + 1) & mask;
        }
        Span::EMPTY
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::{Span, SpanIndex};

    #[test]
    fn every_hash_finds_its_span() {
        for count in [0u32, 1, 2, 3, 4, 100] {
            // Equal low bits, so that all of them probe the same slots.
            let spans: Vec<(u64, Span)> =
                (0..count).map(|n| (u64::from(n) << 40, Span { start: n, length: 1 })).collect();
            let index = SpanIndex::new(&spans);
            for (hash, span) in &spans {
                assert_eq!(index.find(*hash), *span);
            }
            assert_eq!(index.find(7), Span::EMPTY);
            assert_eq!(index.find(0xfff << 40), Span::EMPTY);
        }
    }
}
