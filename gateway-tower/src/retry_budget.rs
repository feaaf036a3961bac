//! How many of the requests to a backend may be retries, over all its clients.
//!
//! In: requests and retries as they happen. Out: whether one more retry is allowed. Not here: which
//! requests ask for one.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use gateway_core::backend::{BackendKey, RetryBudget};
use tokio::time::Instant;

/// The counts of all backends that are retried.
#[derive(Debug, Default)]
pub(crate) struct RetryBudgets(Mutex<HashMap<BackendKey, Arc<Ledger>>>);

/// Backends beyond which those that nobody uses now are forgotten.
const ENOUGH_LEDGERS: usize = 1024;

impl RetryBudgets {
    /// The counts of a backend.
    pub(crate) fn ledger(&self, key: &BackendKey) -> Arc<Ledger> {
        let mut ledgers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ledger) = ledgers.get(key) {
            return Arc::clone(ledger);
        }
        if ledgers.len() >= ENOUGH_LEDGERS {
            ledgers.retain(|_, ledger| Arc::strong_count(ledger) > 1);
        }
        Arc::clone(ledgers.entry(key.clone()).or_default())
    }
}

/// The counts of one backend.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    requests: Window,
    retries: Window,
    /// Retries over the interval of the floor.
    floor: Window,
}

impl Ledger {
    /// Counts a request, not its retries.
    pub(crate) fn count_request(&self, budget: &RetryBudget, now: Instant) {
        self.counts().requests.add(budget.interval, now);
    }

    /// Counts a retry if the budget allows it.
    // SPEC: XBackendTrafficPolicy retryConstraint: `budget.percent` of the requests of an interval,
    // and `minRetryRate` in any case.
    pub(crate) fn try_retry(&self, budget: &RetryBudget, now: Instant) -> bool {
        let mut counts = self.counts();
        let (floor, floor_interval) = budget.min_retries;
        let requests = u64::from(counts.requests.sum(budget.interval, now));
        let retries = u64::from(counts.retries.sum(budget.interval, now));
        let is_allowed = counts.floor.sum(floor_interval, now) < floor
            || (retries + 1) * 100 <= requests * u64::from(budget.percent);
        if is_allowed {
            counts.retries.add(budget.interval, now);
            counts.floor.add(floor_interval, now);
        }
        is_allowed
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SLOTS: u32 = 10;

/// Events of the last interval, forgotten a tenth of it at a time.
#[derive(Debug, Default)]
struct Window {
    slots: [u32; SLOTS as usize],
    /// Where the newest slot starts; none before the first event.
    newest: Option<Instant>,
}

impl Window {
    fn add(&mut self, interval: Duration, now: Instant) {
        self.advance(interval, now);
        self.slots[0] = self.slots[0].saturating_add(1);
    }

    fn sum(&mut self, interval: Duration, now: Instant) -> u32 {
        self.advance(interval, now);
        self.slots.iter().fold(0, |sum, slot| sum.saturating_add(*slot))
    }

    fn advance(&mut self, interval: Duration, now: Instant) {
        let slot = (interval / SLOTS).max(Duration::from_millis(1));
        let newest = *self.newest.get_or_insert(now);
        let passed = now.saturating_duration_since(newest).as_nanos() / slot.as_nanos();
        if passed == 0 {
            return;
        }
        let shift = usize::try_from(passed).map_or(self.slots.len(), |n| n.min(self.slots.len()));
        self.slots.rotate_right(shift);
        self.slots[..shift].fill(0);
        let start = u32::try_from(passed).ok().and_then(|n| newest.checked_add(slot * n));
        self.newest = Some(start.unwrap_or(now));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway_core::backend::RetryBudget;
    use tokio::time::Instant;

    use super::Ledger;

    fn budget(percent: u8, floor: u32) -> RetryBudget {
        let (interval, second) = (Duration::from_secs(10), Duration::from_secs(1));
        RetryBudget { percent, interval, min_retries: (floor, second) }
    }

    fn allowed(ledger: &Ledger, budget: &RetryBudget, tries: u32, now: Instant) -> usize {
        (0..tries).filter(|_| ledger.try_retry(budget, now)).count()
    }

    #[test]
    fn retries_are_a_share_of_the_requests() {
        let (ledger, budget, now) = (Ledger::default(), budget(20, 0), Instant::now());
        assert_eq!(allowed(&ledger, &budget, 5, now), 0);
        (0..100).for_each(|_| ledger.count_request(&budget, now));
        assert_eq!(allowed(&ledger, &budget, 50, now), 20);
    }

    #[test]
    fn the_floor_holds_without_requests_and_comes_back() {
        let (ledger, budget, now) = (Ledger::default(), budget(0, 10), Instant::now());
        assert_eq!(allowed(&ledger, &budget, 50, now), 10);
        let later = now + Duration::from_millis(1100);
        assert_eq!(allowed(&ledger, &budget, 50, later), 10);
    }

    #[test]
    fn old_requests_are_forgotten() {
        let (ledger, budget, now) = (Ledger::default(), budget(20, 0), Instant::now());
        (0..100).for_each(|_| ledger.count_request(&budget, now));
        let later = now + Duration::from_secs(5);
        (0..50).for_each(|_| ledger.count_request(&budget, later));
        assert_eq!(allowed(&ledger, &budget, 50, now + Duration::from_secs(11)), 10);
        assert_eq!(allowed(&ledger, &budget, 50, now + Duration::from_secs(60)), 0);
    }

    #[test]
    fn budgets_of_no_time_do_no_harm() {
        let budget = RetryBudget {
            percent: 100,
            interval: Duration::ZERO,
            min_retries: (1, Duration::ZERO),
        };
        let ledger = Ledger::default();
        assert!(ledger.try_retry(&budget, Instant::now()));
    }
}
