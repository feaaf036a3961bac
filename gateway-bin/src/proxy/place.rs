//! Places of the requests that a worker answers at a time.
//!
//! In: the limit and the listener's count. Out: a place for as long as the request lasts, or none.
//! Not here: what is answered then.
//!
//! Each listener may have as many places as are left for all: one alone has half of them, two have a
//! third each, and there is always room for one more listener, however slow the clients of the others
//! are.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::listen::Counted;

/// The places of one worker.
#[derive(Debug)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// One request's place.
#[derive(Debug)]
pub(crate) struct RequestPlace {
    _of_bind: Counted,
    _in_all: Counted,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self { taken: Arc::default(), most }
    }

    /// A place for a request of the listener that `of_bind` counts for this worker.
    pub(super) fn take(&self, of_bind: &Arc<AtomicUsize>) -> Option<RequestPlace> {
        let share = self.most.saturating_sub(self.taken.load(Relaxed));
        let of_bind = Counted::try_new(of_bind, share)?;
        Some(RequestPlace { _of_bind: of_bind, _in_all: Counted::try_new(&self.taken, self.most)? })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::AtomicUsize};

    use super::Places;

    /// How many of `asked` requests of each listener in turn find a place.
    #[track_caller]
    fn check(most: usize, asked: &[usize], expect: &[usize]) {
        let places = Places::new(most);
        let mut held = Vec::new();
        let found: Vec<_> = asked
            .iter()
            .map(|asked| {
                let of_bind = Arc::<AtomicUsize>::default();
                let before = held.len();
                held.extend((0..*asked).filter_map(|_| places.take(&of_bind)));
                held.len() - before
            })
            .collect();
        assert_eq!(found, expect);
        drop(held);
        assert!(places.take(&Arc::default()).is_some(), "places are given back");
    }

    #[test]
    fn no_listener_has_all_places() {
        check(1, &[3, 1], &[1, 0]);
        check(4, &[9, 9, 9], &[2, 1, 1]);
        check(100, &[1_000, 1_000, 10], &[50, 25, 10]);
        check(100, &[3, 1_000], &[3, 49]);
    }
}
