//! `RequestMirror`: a copy of the request for another backend, whose answer nobody waits for.

use std::sync::Arc;

use crate::backend::{Backend, Turns};

/// Where a copy goes, and for which share of the requests.
#[derive(Clone, Debug)]
pub struct Mirror {
    /// The backend of the copy.
    pub backend: Arc<Backend>,
    /// The share of requests that is copied, as numerator and denominator; `(1, 1)` is all.
    pub fraction: (u32, u32),
    /// Counts requests, so that the share comes out exactly.
    pub turns: Turns,
}

impl Mirror {
    /// Whether the next request is copied. Counts it.
    #[must_use]
    pub fn takes_next(&self) -> bool {
        // The count is shared by all threads, so most mirrors, which copy all, do without.
        match self.fraction {
            (numerator, denominator) if numerator >= denominator => denominator > 0,
            (0, _) => false,
            fraction => takes(fraction, self.turns.next()),
        }
    }
}

/// Whether the request number `turn` belongs to the share: evenly spread, and exact over each
/// `denominator` successive turns.
fn takes((numerator, denominator): (u32, u32), turn: u64) -> bool {
    let (numerator, denominator) = (u64::from(numerator), u64::from(denominator.max(1)));
    let place = turn % denominator;
    (place + 1) * numerator / denominator > place * numerator / denominator
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::takes;

    fn taken(fraction: (u32, u32), turns: std::ops::Range<u64>) -> usize {
        turns.filter(|turn| takes(fraction, *turn)).count()
    }

    #[test]
    fn shares_are_exact() {
        for (fraction, requests, expect) in [
            ((0, 100), 500, 0),
            ((20, 100), 500, 100),
            ((50, 100), 500, 250),
            ((1, 2), 7, 3),
            ((100, 100), 500, 500),
            ((1, 1), 3, 3),
            ((1, 1_000_000), 1_000_000, 1),
        ] {
            assert_eq!(taken(fraction, 0..requests), expect, "{fraction:?}");
        }
    }

    proptest! {
        #[test]
        fn any_window_has_the_exact_share(
            denominator in 1u32..200,
            numerator in 0u32..200,
            start in any::<u32>(),
        ) {
            let numerator = numerator.min(denominator);
            let start = u64::from(start);
            let count = taken((numerator, denominator), start..start + u64::from(denominator));
            prop_assert_eq!(count, numerator as usize);
        }
    }
}
