//! All regular expressions that start with the same segments, tried at once.
//!
//! In: expressions of paths, each once. Out: which of them match a path, in one pass over it
//! whatever their number. Not here: their rank.

use std::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
};

use regex_automata::{
    Anchored, MatchKind,
    dfa::{Automaton, StartKind, dense},
    hybrid::dfa::{Cache, DFA as LazyDfa},
    nfa::thompson,
    util::{pool::Pool, start},
};

use crate::matcher::CompiledRegex;

/// Expressions and the means to run them.
pub(super) enum RegexSet {
    /// So few that each runs by itself, or so hostile that nothing else fits the bounds.
    Each(Box<[Arc<CompiledRegex>]>),
    /// A full automaton: one table look-up for each byte.
    Full(Box<dense::DFA<Vec<u32>>>),
    /// An automaton whose states are made when needed, within a fixed cache.
    Lazy(Box<Lazy>),
}

/// A lazy automaton with one cache for each thread that runs it at the same time.
pub(super) struct Lazy {
    automaton: Arc<LazyDfa>,
    caches: Pool<Cache, NewCache>,
    /// For the case that a cache is too small for a single path.
    each: Box<[Arc<CompiledRegex>]>,
}

type NewCache = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

/// Bytes for each expression that a full automaton may have, and for all of them.
const FULL_BYTES: (usize, usize) = (16 << 10, 4 << 20);
/// Bytes of a lazy automaton's cache.
const CACHE_BYTES: usize = 1 << 20;

impl RegexSet {
    pub(super) fn new(expressions: &[Arc<CompiledRegex>]) -> Self {
        if expressions.len() == 1 {
            return Self::Each(expressions.into());
        }
        let sources: Vec<&str> = expressions.iter().map(|regex| regex.source()).collect();
        full(&sources)
            .map(|automaton| Self::Full(Box::new(automaton)))
            .or_else(|| lazy(&sources, expressions).map(|lazy| Self::Lazy(Box::new(lazy))))
            .unwrap_or_else(|| Self::Each(expressions.into()))
    }

    /// Calls `visit` with the place of each expression that matches the whole of `path`.
    pub(super) fn matching(&self, path: &[u8], mut visit: impl FnMut(usize)) {
        match self {
            Self::Each(expressions) => each(expressions, path, visit),
            Self::Full(automaton) => {
                let _ = run_full(automaton, path, &mut visit);
            }
            Self::Lazy(lazy) => {
                let mut cache = lazy.caches.get();
                if run_lazy(&lazy.automaton, &mut cache, path, &mut visit).is_none() {
                    each(&lazy.each, path, visit);
                }
            }
        }
    }

    /// Bytes on the heap that belong to the set, without those of the expressions themselves.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Each(expressions) => size_of_val(&**expressions),
            Self::Full(automaton) => size_of_val(&**automaton) + automaton.memory_usage(),
            Self::Lazy(lazy) => size_of_val(&**lazy) + CACHE_BYTES,
        }
    }
}

impl fmt::Debug for RegexSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Each(_) => "Each",
            Self::Full(_) => "Full",
            Self::Lazy(_) => "Lazy",
        })
    }
}

fn each(expressions: &[Arc<CompiledRegex>], path: &[u8], mut visit: impl FnMut(usize)) {
    for (place, regex) in expressions.iter().enumerate() {
        if regex.is_match(path) {
            visit(place);
        }
    }
}

fn thompson_config() -> thompson::Config {
    thompson::Config::new().utf8(false).nfa_size_limit(Some(FULL_BYTES.1))
}

fn full(sources: &[&str]) -> Option<dense::DFA<Vec<u32>>> {
    let limit = FULL_BYTES.1.min(FULL_BYTES.0 * sources.len());
    let config = dense::Config::new()
        .match_kind(MatchKind::All)
        .start_kind(StartKind::Anchored)
        .dfa_size_limit(Some(limit))
        .determinize_size_limit(Some(2 * limit));
    dense::Builder::new()
        .configure(config)
        .syntax(CompiledRegex::syntax())
        .thompson(thompson_config())
        .build_many(sources)
        .ok()
}

fn lazy(sources: &[&str], expressions: &[Arc<CompiledRegex>]) -> Option<Lazy> {
    let config = LazyDfa::config()
        .match_kind(MatchKind::All)
        .cache_capacity(CACHE_BYTES)
        .skip_cache_capacity_check(true);
    let automaton = LazyDfa::builder()
        .configure(config)
        .syntax(CompiledRegex::syntax())
        .thompson(thompson_config())
        .build_many(sources)
        .ok()?;
    let automaton = Arc::new(automaton);
    let make = Arc::clone(&automaton);
    let caches: Pool<Cache, NewCache> = Pool::new(Box::new(move || make.create_cache()));
    Some(Lazy { automaton, caches, each: expressions.into() })
}

/// None: the automaton cannot tell, which bounds on its alphabet rule out.
fn run_full(
    automaton: &dense::DFA<Vec<u32>>,
    path: &[u8],
    visit: &mut impl FnMut(usize),
) -> Option<()> {
    let begin = start::Config::new().anchored(Anchored::Yes);
    let mut state = automaton.start_state(&begin).ok()?;
    for byte in path {
        state = automaton.next_state(state, *byte);
        if automaton.is_dead_state(state) {
            return Some(());
        }
    }
    state = automaton.next_eoi_state(state);
    if automaton.is_match_state(state) {
        for index in 0..automaton.match_len(state) {
            visit(automaton.match_pattern(state, index).as_usize());
        }
    }
    Some(())
}

/// None: a cache did not suffice.
fn run_lazy(
    automaton: &LazyDfa,
    cache: &mut Cache,
    path: &[u8],
    visit: &mut impl FnMut(usize),
) -> Option<()> {
    let begin = start::Config::new().anchored(Anchored::Yes);
    let mut state = automaton.start_state(cache, &begin).ok()?;
    for byte in path {
        state = automaton.next_state(cache, state, *byte).ok()?;
        if state.is_dead() {
            return Some(());
        }
    }
    state = automaton.next_eoi_state(cache, state).ok()?;
    if state.is_match() {
        for index in 0..automaton.match_len(cache, state) {
            visit(automaton.match_pattern(cache, state, index).as_usize());
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::RegexSet;
    use crate::matcher::{CompiledRegex, Pattern, RegexLimits};

    fn expressions(sources: &[String]) -> Vec<Arc<CompiledRegex>> {
        let regex = |source: &String| match Pattern::regex(source, RegexLimits::default()) {
            Ok(Pattern::Regex(regex)) => regex,
            other => panic!("{source}: {other:?}"),
        };
        sources.iter().map(regex).collect()
    }

    #[track_caller]
    fn check(sources: &[String], kind: &str, paths: &[&str]) {
        let expressions = expressions(sources);
        let set = RegexSet::new(&expressions);
        assert_eq!(format!("{set:?}"), kind);
        for path in paths {
            let mut got = Vec::new();
            set.matching(path.as_bytes(), |place| got.push(place));
            got.sort_unstable();
            let expect: Vec<usize> = (0..expressions.len())
                .filter(|place| expressions[*place].is_match(path.as_bytes()))
                .collect();
            assert_eq!(got, expect, "{path}");
        }
    }

    #[test]
    fn every_way_finds_the_same() {
        let paths = ["/a/1", "/a/b", "/A/b", "/a/", "", "/x", "/a/b1", "/a/1\n", "/s7/s3/x"];
        let few = ["/a/[0-9]+", "/a/b|/x", "(?i)/a/.*", r"^/a/\w+$", r"/a/b\b.*", "x*"];
        let few = few.map(String::from);
        check(&few[..1], "Each", &paths);
        check(&few, "Full", &paths);
        let hostile: Vec<String> = (0..40).map(|n| format!(".*s{n}.*x.*|.*/{n}")).collect();
        check(&hostile, "Lazy", &paths);
    }
}
