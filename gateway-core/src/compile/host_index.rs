//! Values by host pattern, found from the most specific to the least.
//!
//! In: patterns, each once. Out: the value of each pattern that covers a host, one hash probe for
//! the host itself and one for each length of wildcard in use. Not here: what the values are; there
//! is one index over the listeners of a socket and one over the hosts of a listener.

use std::sync::Arc;

use super::{
    hasher::Hasher,
    span_index::{Span, SpanIndex},
};
use crate::matcher::HostPattern;

/// Patterns and their values, in shards so that a change copies little.
#[derive(Clone, Debug)]
pub(super) struct HostIndex<V> {
    /// A power of two of them.
    shards: Vec<Arc<Shard<V>>>,
    any: Option<V>,
    /// How many patterns there are besides the one for any host.
    count: usize,
    /// Bit `n`: some wildcard has `n` labels; bit 63 stands for all beyond.
    labels: u64,
    exact_length: usize,
    wildcard_length: usize,
}

#[derive(Clone, Debug)]
struct Shard<V> {
    index: SpanIndex,
    /// Patterns of equal hash stand together.
    entries: Box<[Entry<V>]>,
}

#[derive(Clone, Debug)]
struct Entry<V> {
    hash: u64,
    pattern: HostPattern,
    value: V,
}

// PERF: bench edit/hosts: a change touches a pointer for each shard and for each entry of one shard.
const MAX_SHARDS: usize = 256;
/// Patterns of a shard when it is made, and when the shards become too few.
const SHARD_PATTERNS: (usize, usize) = (8, 32);
const EXACT: u64 = 0;
const WILDCARD: u64 = 1;

impl<V: Clone> HostIndex<V> {
    /// Takes each pattern once.
    pub(super) fn new(
        hasher: Hasher,
        patterns: impl IntoIterator<Item = (HostPattern, V)>,
    ) -> Self {
        let mut any = None;
        let mut entries = Vec::new();
        for (pattern, value) in patterns {
            match hash_of(hasher, &pattern) {
                Some(hash) => entries.push(Entry { hash, pattern, value }),
                None => any = Some(value),
            }
        }
        Self::from_entries(any, entries)
    }

    fn from_entries(any: Option<V>, entries: Vec<Entry<V>>) -> Self {
        let count = entries.len();
        let size = (count / SHARD_PATTERNS.0).next_power_of_two().min(MAX_SHARDS);
        let mut index =
            Self { shards: Vec::new(), any, count, labels: 0, exact_length: 0, wildcard_length: 0 };
        let mut shards: Vec<Vec<Entry<V>>> = (0..size).map(|_| Vec::new()).collect();
        for entry in entries {
            index.widen(&entry.pattern);
            shards[shard_of(entry.hash, size)].push(entry);
        }
        index.shards = shards.into_iter().map(|entries| Arc::new(Shard::new(entries))).collect();
        index
    }

    /// The first answer of `visit` to the values whose patterns cover `host`, the most specific
    /// first.
    pub(super) fn find<'t, T>(
        &'t self,
        hasher: Hasher,
        host: &str,
        mut visit: impl FnMut(&'t V) -> Option<T>,
    ) -> Option<T> {
        if host.len() <= self.exact_length
            && let Some(value) = self.probe(hasher.host(host.as_bytes(), EXACT), host, Kind::Exact)
            && let Some(answer) = visit(value)
        {
            return Some(answer);
        }
        if self.labels != 0
            && let Some(answer) = self.find_wildcard(hasher, host, &mut visit)
        {
            return Some(answer);
        }
        self.any.as_ref().and_then(visit)
    }

    /// The value of exactly this pattern.
    pub(super) fn value_of(&self, hasher: Hasher, pattern: &HostPattern) -> Option<&V> {
        let Some(hash) = hash_of(hasher, pattern) else { return self.any.as_ref() };
        let entry = self.shard(hash).run(hash).iter().find(|entry| entry.pattern == *pattern)?;
        Some(&entry.value)
    }

    /// The index with some values replaced, added, or removed (none).
    pub(super) fn with(&self, hasher: Hasher, changes: Vec<(HostPattern, Option<V>)>) -> Self {
        let mut index = self.clone();
        let mut changes: Vec<_> = changes
            .into_iter()
            .filter_map(|(pattern, value)| match hash_of(hasher, &pattern) {
                Some(hash) => Some((hash, pattern, value)),
                None => {
                    index.any = value;
                    None
                }
            })
            .collect();
        let size = self.shards.len();
        changes.sort_by_key(|(hash, ..)| shard_of(*hash, size));
        for run in changes.chunk_by(|(a, ..), (b, ..)| shard_of(*a, size) == shard_of(*b, size)) {
            let place = shard_of(run[0].0, size);
            let old = &self.shards[place];
            let is_kept = |entry: &&Entry<V>| run.iter().all(|(.., p, _)| *p != entry.pattern);
            let mut entries: Vec<Entry<V>> = old.entries.iter().filter(is_kept).cloned().collect();
            for (hash, pattern, value) in run {
                if let Some(value) = value {
                    index.widen(pattern);
                    let (pattern, value) = (pattern.clone(), value.clone());
                    entries.push(Entry { hash: *hash, pattern, value });
                }
            }
            index.count = index.count + entries.len() - old.entries.len();
            index.shards[place] = Arc::new(Shard::new(entries));
        }
        if size < MAX_SHARDS && index.count > size * SHARD_PATTERNS.1 {
            let entries = index.shards.iter().flat_map(|shard| shard.entries.iter().cloned());
            return Self::from_entries(index.any.clone(), entries.collect());
        }
        index
    }

    /// Every pattern with its value, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&HostPattern, &V)> {
        let entries = self.shards.iter().flat_map(|shard| &*shard.entries);
        let any = self.any.iter().map(|value| (&HostPattern::Any, value));
        entries.map(|entry| (&entry.pattern, &entry.value)).chain(any)
    }

    /// Bytes on the heap, without what the values refer to.
    pub(super) fn bytes(&self) -> usize {
        let shard = |shard: &Arc<Shard<V>>| {
            let names = shard.entries.iter().map(|entry| match &entry.pattern {
                HostPattern::Exact(name) | HostPattern::Wildcard(name) => name.len(),
                HostPattern::Any => 0,
            });
            size_of::<(Arc<()>, usize, usize, Shard<V>)>()
                + shard.index.bytes()
                + size_of_val(&*shard.entries)
                + names.sum::<usize>()
        };
        self.shards.iter().map(shard).sum()
    }

    #[inline(never)]
    fn find_wildcard<'t, T>(
        &'t self,
        hasher: Hasher,
        host: &str,
        visit: &mut impl FnMut(&'t V) -> Option<T>,
    ) -> Option<T> {
        // A wildcard stands for a label at least, so the first byte belongs to no suffix.
        let start = host.len().saturating_sub(self.wildcard_length).max(1);
        let dots = host.as_bytes().get(start..)?;
        let mut labels = memchr::memchr_iter(b'.', dots).count();
        for at in memchr::memchr_iter(b'.', dots) {
            if self.labels >> labels.min(63) & 1 == 1 {
                let suffix = &host[start + at..];
                let hash = hasher.host(suffix.as_bytes(), WILDCARD);
                let answer = self.probe(hash, suffix, Kind::Wildcard).and_then(&mut *visit);
                if answer.is_some() {
                    return answer;
                }
            }
            labels -= 1;
        }
        None
    }

    fn probe(&self, hash: u64, name: &str, kind: Kind) -> Option<&V> {
        let entry =
            self.shard(hash).run(hash).iter().find(|entry| match (&entry.pattern, kind) {
                (HostPattern::Exact(text), Kind::Exact)
                | (HostPattern::Wildcard(text), Kind::Wildcard) => {
                    **text == *name || text.eq_ignore_ascii_case(name)
                }
                _ => false,
            })?;
        Some(&entry.value)
    }

    fn shard(&self, hash: u64) -> &Shard<V> {
        // INVARIANT: the place is below the number of shards, which never is 0.
        &self.shards[shard_of(hash, self.shards.len())]
    }

    fn widen(&mut self, pattern: &HostPattern) {
        match pattern {
            HostPattern::Exact(name) => self.exact_length = self.exact_length.max(name.len()),
            HostPattern::Wildcard(suffix) => {
                let labels = memchr::memchr_iter(b'.', suffix.as_bytes()).count();
                self.labels |= 1 << labels.min(63);
                self.wildcard_length = self.wildcard_length.max(suffix.len());
            }
            HostPattern::Any => {}
        }
    }
}

impl<V> Shard<V> {
    fn new(mut entries: Vec<Entry<V>>) -> Self {
        entries.sort_by_key(|entry| entry.hash);
        let mut spans = Vec::new();
        let mut start = 0;
        for run in entries.chunk_by(|a, b| a.hash == b.hash) {
            let length = u32::try_from(run.len()).expect("a shard holds few hosts");
            spans.push((run[0].hash, Span { start, length }));
            start += length;
        }
        Self { index: SpanIndex::new(&spans), entries: entries.into() }
    }

    fn run(&self, hash: u64) -> &[Entry<V>] {
        self.index.find(hash).of(&self.entries)
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Exact,
    Wildcard,
}

/// The hash of a pattern; none for any host.
fn hash_of(hasher: Hasher, pattern: &HostPattern) -> Option<u64> {
    match pattern {
        HostPattern::Exact(name) => Some(hasher.host(name.as_bytes(), EXACT)),
        HostPattern::Wildcard(suffix) => Some(hasher.host(suffix.as_bytes(), WILDCARD)),
        HostPattern::Any => None,
    }
}

/// Places in a shard's table come from the low bits, so the shard comes from high ones.
fn shard_of(hash: u64, shards: usize) -> usize {
    (hash >> 48) as usize & (shards - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HostIndex, MAX_SHARDS};
    use crate::{compile::hasher::Hasher, matcher::HostPattern};

    fn patterns() -> impl Strategy<Value = Vec<String>> {
        proptest::collection::btree_set("(\\*\\.)?([ab]\\.){0,3}[ab]|", 0..12)
            .prop_map(|names| names.into_iter().collect())
    }

    fn covering(index: &HostIndex<String>, hasher: Hasher, host: &str) -> Vec<String> {
        let mut visited = Vec::new();
        index.find(hasher, host, |value| {
            visited.push(value.clone());
            None::<()>
        });
        visited
    }

    fn expected(names: &[String], host: &str) -> Vec<String> {
        let mut fit: Vec<(HostPattern, String)> = names
            .iter()
            .map(|name| (HostPattern::new(name), name.clone()))
            .filter(|(pattern, _)| pattern.is_match(host))
            .collect();
        fit.sort_by(|(a, _), (b, _)| a.specificity_cmp(b));
        fit.into_iter().map(|(_, name)| name).collect()
    }

    proptest! {
        #[test]
        fn covering_patterns_are_visited_by_specificity(
            before in patterns(), after in patterns(), host in "([abAB]\\.){0,5}[abAB]|\\.|",
        ) {
            let hasher = Hasher::new(3);
            let pair = |name: &String| (HostPattern::new(name), name.clone());
            let index = HostIndex::new(hasher, before.iter().map(pair));
            prop_assert_eq!(covering(&index, hasher, &host), expected(&before, &host));

            let gone = before.iter().filter(|name| !after.contains(name));
            let changes = gone.map(|name| (HostPattern::new(name), None));
            let added = after.iter().map(|name| (HostPattern::new(name), Some(name.clone())));
            let index = index.with(hasher, changes.chain(added).collect());
            prop_assert_eq!(covering(&index, hasher, &host), expected(&after, &host));
        }
    }

    #[test]
    fn shards_grow_with_the_number_of_hosts() {
        let hasher = Hasher::new(3);
        let name = |n: u32| HostPattern::new(&format!("h{n}.example"));
        let mut index = HostIndex::new(hasher, []);
        for n in 0..5000 {
            index = index.with(hasher, vec![(name(n), Some(n))]);
        }
        assert!(index.shards.len() > 64 && index.shards.len() <= MAX_SHARDS);
        for n in 0..5000 {
            assert_eq!(index.find(hasher, &format!("H{n}.example"), |v| Some(*v)), Some(n));
            assert_eq!(index.value_of(hasher, &name(n)), Some(&n));
        }
        assert_eq!(index.find(hasher, "h5000.example", |v| Some(*v)), None);
        assert_eq!((index.count, index.iter().count()), (5000, 5000));
    }
}
