//! Whether and when a failed request is sent again.
//!
//! In: the policy of the rule and how a try ended. Out: yes or no, and the pause before. Not here:
//! the body ([`crate::request_body`]) and the budget ([`crate::retry_budget`]).

use std::time::Duration;

use gateway_core::resolve::topology::RetryPolicy;

use crate::{UpstreamAnswer, UpstreamError};

/// The pause before a retry where the rule names none.
const DEFAULT_BACKOFF: Duration = Duration::from_millis(25);
/// No pause grows beyond this, unless the rule asks for a longer one from the start.
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);

/// Whether a try failed in a way that another one may mend.
// SPEC: `retry.codes` for answers; failed connections and timed out tries count whenever a rule has
// a retry.
pub(crate) fn has_failed<B>(
    policy: &RetryPolicy,
    outcome: &Result<UpstreamAnswer<B>, UpstreamError>,
) -> bool {
    match outcome {
        Ok(answer) => policy.codes.contains(&answer.response.status().as_u16()),
        Err(error) => error.is_transient(),
    }
}

/// The pause before the retry number `nth`, from 0. It doubles each time, and up to half of it is
/// added by `dice`, so that clients which failed together do not come back together.
// SPEC: `retry.backoff` is the least pause.
pub(crate) fn pause(policy: &RetryPolicy, nth: u32, dice: u64) -> Duration {
    let least = policy.backoff.unwrap_or(DEFAULT_BACKOFF);
    let grown = least.saturating_mul(1 << nth.min(16)).min(LONGEST_BACKOFF.max(least));
    let share = u32::try_from(dice >> 32).unwrap_or(0);
    let extra = grown.as_secs_f64() / 2.0 * f64::from(share) / f64::from(u32::MAX);
    grown.saturating_add(Duration::try_from_secs_f64(extra).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gateway_core::resolve::topology::RetryPolicy;
    use proptest::prelude::*;

    use super::pause;

    fn policy(backoff: Option<Duration>) -> RetryPolicy {
        RetryPolicy { codes: [500].into_iter().collect(), attempts: 3, backoff }
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let policy = policy(Some(Duration::from_millis(100)));
        for (nth, millis) in [(0, 100), (1, 200), (2, 400), (6, 6400), (7, 10_000), (99, 10_000)] {
            assert_eq!(pause(&policy, nth, 0), Duration::from_millis(millis));
        }
        assert_eq!(pause(&policy, 0, u64::MAX), Duration::from_millis(150));
    }

    proptest! {
        #[test]
        fn no_pause_is_shorter_than_the_backoff(
            millis in 0u64..1_000_000_000,
            nth: u32,
            dice: u64,
        ) {
            let backoff = Duration::from_millis(millis);
            prop_assert!(pause(&policy(Some(backoff)), nth, dice) >= backoff);
        }
    }
}
