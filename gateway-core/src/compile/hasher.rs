//! One seeded hash for hosts, paths and predicate values.
//!
//! In: bytes that clients choose. Out: 64 bits that they cannot foresee without the seed, for every
//! segment boundary of a path in a single pass. Not here: tables (`span_index`).

/// The deepest prefix that has an index entry of its own; deeper ones are listed under their first
/// [`MAX_DEPTH`] segments and compared there.
pub(super) const MAX_DEPTH: usize = 15;

/// Hashes text of any length, eight bytes a step.
///
/// The hash of a text is `end(steps(full words), rest, length)`, so that a pass over a path yields
/// the hash of each of its prefixes for one multiplication more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hasher {
    start: u64,
    step: u64,
    end: u64,
}

/// The hashes of a path up to each boundary that matters, the shortest first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Boundaries {
    hashes: [u64; MAX_DEPTH + 1],
    count: usize,
}

impl Boundaries {
    pub(super) fn hashes(&self) -> &[u64] {
        &self.hashes[..self.count]
    }

    // INVARIANT: one for each depth at most, so there always is room.
    #[inline]
    fn push(&mut self, hash: u64) {
        if let Some(place) = self.hashes.get_mut(self.count) {
            *place = hash;
            self.count += 1;
        }
    }
}

/// What the paths of one host look like, so that no request is read further than any route is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reach {
    /// Bit `n`: some prefix has `n` segments.
    pub(super) depths: u16,
    /// Bytes of the longest prefix.
    pub(super) prefix_length: usize,
    /// Bytes of the longest exact path plus one; 0 if there is none.
    pub(super) exact_length: usize,
}

impl Hasher {
    pub(super) fn new(seed: u64) -> Self {
        let [start, step, end] = [1, 2, 3].map(|n| scramble(seed, n));
        Self { start, step: step | 1, end: end | 1 }
    }

    /// The hash of `bytes`.
    #[inline]
    pub(super) fn text(self, bytes: &[u8]) -> u64 {
        let (words, tail) = bytes.as_chunks::<8>();
        let state = words
            .iter()
            .fold(self.start, |state, word| fold(state ^ u64::from_le_bytes(*word), self.step));
        self.finish(state, tail_word(bytes, tail), bytes.len())
    }

    /// The hash of a host in any letter case; names of different `salt` do not collide.
    #[inline]
    pub(super) fn host(self, host: &[u8], salt: u64) -> u64 {
        let (words, tail) = host.as_chunks::<8>();
        let state = words.iter().fold(self.start ^ salt, |state, word| {
            fold(state ^ lower_case(u64::from_le_bytes(*word)), self.step)
        });
        self.finish(state, lower_case(tail_word(host, tail)), host.len())
    }

    /// The hash of the bytes of `parts`, one after the other: that of [`Hasher::text`].
    pub(super) fn bytes(self, bytes: impl Iterator<Item = u8>) -> u64 {
        let (mut state, mut word, mut length) = (self.start, 0, 0usize);
        for byte in bytes {
            word |= u64::from(byte) << (length % 8 * 8);
            length += 1;
            if length.is_multiple_of(8) {
                state = fold(state ^ word, self.step);
                word = 0;
            }
        }
        self.finish(state, word, length)
    }

    /// Lists the boundaries of `path` that a prefix may end at. Returns the hash of the whole path
    /// if an exact path may be this long.
    // PERF: bench `match`, workloads flat and deep: one pass, no hashing of a prefix anew.
    pub(super) fn walk(self, path: &[u8], reach: Reach, found: &mut Boundaries) -> Option<u64> {
        let is_short = path.len() < reach.exact_length;
        let limit = if is_short { path.len() } else { path.len().min(reach.prefix_length + 1) };
        let read = &path[..limit];
        let (words, tail) = read.as_chunks::<8>();
        let mut pass = Pass { hasher: self, state: self.start, offset: 0, depths: reach.depths };
        for word in words {
            let word = u64::from_le_bytes(*word);
            pass.slashes(word, found);
            pass.state = fold(pass.state ^ word, self.step);
            pass.offset += 8;
            if pass.depths == 0 && !is_short {
                return None;
            }
        }
        let last = tail_word(read, tail);
        pass.slashes(last, found);
        if limit < path.len() {
            return None;
        }
        let hash = self.finish(pass.state, last, limit);
        if pass.depths & 1 == 1 && limit <= reach.prefix_length {
            found.push(hash);
        }
        is_short.then_some(hash)
    }

    #[inline]
    fn finish(self, state: u64, tail: u64, length: usize) -> u64 {
        fold(state ^ tail, self.end ^ length as u64)
    }
}

struct Pass {
    hasher: Hasher,
    state: u64,
    offset: usize,
    /// The lowest bit tells of the current depth, the others of those to come.
    depths: u16,
}

impl Pass {
    #[inline]
    fn slashes(&mut self, word: u64, found: &mut Boundaries) {
        let mut slashes = zero_bytes(word ^ (LOW * u64::from(b'/')));
        while slashes != 0 {
            if self.depths & 1 == 1 {
                let bits = slashes.trailing_zeros() & !7;
                let tail = word & ((1 << bits) - 1);
                let length = self.offset + bits as usize / 8;
                found.push(self.hasher.finish(self.state, tail, length));
            }
            self.depths >>= 1;
            slashes &= slashes - 1;
        }
    }
}

const LOW: u64 = 0x0101_0101_0101_0101;

/// The top bit of each byte of `word` that is zero.
#[inline]
fn zero_bytes(word: u64) -> u64 {
    const REST: u64 = LOW * 0x7f;
    !(((word & REST) + REST) | word | REST)
}

/// The ASCII letters of eight bytes in lower case.
#[inline]
fn lower_case(word: u64) -> u64 {
    let seven = word & (LOW * 0x7f);
    let from_a = seven + LOW * (0x80 - b'A' as u64);
    let above_z = seven + LOW * (0x7f - b'Z' as u64);
    let upper = (from_a ^ above_z) & !word & (LOW * 0x80);
    word | upper >> 2
}

/// The bytes of `tail`, the end of `bytes` after its last full word.
#[inline]
fn tail_word(bytes: &[u8], tail: &[u8]) -> u64 {
    match bytes.last_chunk::<8>() {
        Some(_) if tail.is_empty() => 0,
        Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * tail.len()),
        None => tail.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Both halves of the product, so that every bit of `a` has a say in every bit of the result.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The `n`-th value of the SplitMix64 sequence of `seed`.
fn scramble(seed: u64, n: u64) -> u64 {
    let z = seed.wrapping_add(n.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// The first [`MAX_DEPTH`] segments of a prefix, and how many it has.
pub(super) fn indexed_prefix(prefix: &str) -> (&str, u32) {
    match memchr::memchr_iter(b'/', prefix.as_bytes()).nth(MAX_DEPTH) {
        Some(end) => (&prefix[..end], MAX_DEPTH as u32),
        None => (prefix, memchr::memchr_iter(b'/', prefix.as_bytes()).count() as u32),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Boundaries, Hasher, Reach, indexed_prefix, lower_case};

    const ALL: Reach = Reach { depths: u16::MAX, prefix_length: 999, exact_length: 999 };

    proptest! {
        #[test]
        fn a_walk_finds_the_hash_of_each_prefix(path in "[/a]{0,40}", seed: u64) {
            let hasher = Hasher::new(seed);
            let mut found = Boundaries::default();
            let whole = hasher.walk(path.as_bytes(), ALL, &mut found);
            let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]).take(16);
            let expect: Vec<u64> = ends.map(|end| hasher.text(&path.as_bytes()[..end])).collect();
            prop_assert_eq!(found.hashes(), expect);
            prop_assert_eq!(whole, Some(hasher.text(path.as_bytes())));
        }

        #[test]
        fn letter_case_of_hosts_has_no_meaning(host in "[!-~]{0,20}") {
            let hasher = Hasher::new(7);
            let lower = host.to_ascii_lowercase();
            prop_assert_eq!(hasher.host(host.as_bytes(), 1), hasher.host(lower.as_bytes(), 1));
            prop_assert_eq!(hasher.host(lower.as_bytes(), 0), hasher.text(lower.as_bytes()));
        }

        #[test]
        fn bytes_one_by_one_hash_as_the_text(text in "[ -~]{0,40}", seed: u64) {
            let hasher = Hasher::new(seed);
            prop_assert_eq!(hasher.bytes(text.bytes()), hasher.text(text.as_bytes()));
        }

        #[test]
        fn eight_bytes_at_once_become_lower_case(bytes: [u8; 8]) {
            let expect = bytes.map(|byte| byte.to_ascii_lowercase());
            prop_assert_eq!(lower_case(u64::from_le_bytes(bytes)), u64::from_le_bytes(expect));
        }
    }

    #[test]
    fn a_walk_stops_where_no_route_reaches() {
        let reach = Reach { depths: 0b101, prefix_length: 8, exact_length: 0 };
        let hasher = Hasher::new(1);
        let mut found = Boundaries::default();
        let path = format!("/abc/def{}", "/x".repeat(4000));
        assert_eq!(hasher.walk(path.as_bytes(), reach, &mut found), None);
        assert_eq!(found.hashes(), [hasher.text(b""), hasher.text(b"/abc/def")]);
    }

    #[test]
    fn deep_prefixes_are_listed_under_their_first_segments() {
        let deep = "/a".repeat(40);
        assert_eq!(indexed_prefix(&deep), (&*"/a".repeat(15), 15));
        assert_eq!(indexed_prefix("/a/b"), ("/a/b", 2));
        assert_eq!(indexed_prefix(""), ("", 0));
    }
}
