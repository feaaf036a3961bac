//! Whether this replica may write, asked right before each write.
//!
//! In: until when the lease is ours, as the election says it. Out: an answer at any time, and a bound
//! for what is under way. Not here: the election (`lease`).
//!
//! Leadership ends by itself at a moment that was known before, by our own monotonic clock. Nobody
//! has to be told: a task that was held up, or an API server that hangs, makes nobody write too late.

use std::{future::Future, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

/// How long writes that are under way may go on after the leadership: less than others wait.
const GRACE: Duration = Duration::from_secs(2);

/// Until when this replica leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// There is no other replica.
    Always,
    /// Until then, unless the lease is renewed.
    At(Instant),
    /// Another replica leads, or none.
    Never,
}

impl Until {
    pub(crate) fn holds(self, now: Instant) -> bool {
        match self {
            Self::Always => true,
            Self::At(end) => now < end,
            Self::Never => false,
        }
    }
}

/// Whether this replica is the one that writes. Clones say the same.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: watch::Receiver<Until>,
    /// What [`Leadership::changed`] told last.
    told: Option<bool>,
}

/// Why a write was not made, or not to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It took too long.
    Late,
    /// Another replica may lead by now.
    Lost,
}

impl From<watch::Receiver<Until>> for Leadership {
    fn from(until: watch::Receiver<Until>) -> Self {
        Self { until, told: None }
    }
}

impl Leadership {
    /// Of a replica that is the only one.
    #[must_use]
    pub fn always() -> Self {
        watch::channel(Until::Always).1.into()
    }

    /// Of a replica that does not write.
    #[must_use]
    pub fn never() -> Self {
        watch::channel(Until::Never).1.into()
    }

    /// Whether it may write at this moment.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.until.borrow().holds(Instant::now())
    }

    /// Ready when [`Leadership::holds`] gives another answer than this told last; at once for the
    /// first time.
    pub async fn changed(&mut self) -> bool {
        loop {
            let until = *self.until.borrow_and_update();
            let holds = until.holds(Instant::now());
            if self.told.replace(holds) != Some(holds) {
                return holds;
            }
            let end = match until {
                Until::At(end) if holds => Some(end),
                Until::Always | Until::At(_) | Until::Never => None,
            };
            self.renewed_or(end).await;
        }
    }

    /// Makes a write, in `limit` at most and while this replica leads; those under way have a little
    /// longer.
    ///
    /// # Errors
    /// If it could not be made, or its end could not be waited for.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        write: impl Future<Output = T>,
    ) -> Result<T, Halt> {
        if !self.holds() {
            return Err(Halt::Lost);
        }
        // What is under way is looked at last: held up for long, it must not begin any more.
        tokio::select! {
            biased;
            () = self.clone().lost() => Err(Halt::Lost),
            () = sleep(limit) => Err(Halt::Late),
            written = write => Ok(written),
        }
    }

    /// Ready when even writes that are under way have to end.
    async fn lost(mut self) {
        loop {
            let until = *self.until.borrow_and_update();
            let end = match until {
                Until::Always => None,
                Until::At(end) => Some(end + GRACE),
                Until::Never => return,
            };
            if end.is_some_and(|end| end <= Instant::now()) {
                return;
            }
            self.renewed_or(end).await;
        }
    }

    /// Ready at `end`, or when something is known that was not.
    async fn renewed_or(&mut self, end: Option<Instant>) {
        let ends = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let mut ends = std::pin::pin!(ends);
        tokio::select! {
            changed = self.until.changed() => if changed.is_err() {
                // Nobody says anything any more; what was said last stays.
                ends.await;
            },
            () = &mut ends => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{
        sync::watch,
        time::{Instant, advance, sleep},
    };

    use super::{GRACE, Halt, Leadership, Until};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn it_ends_by_itself_and_writes_under_way_soon_after() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let (until, leadership) = watch::channel(Until::At(start + 7 * second));
        let leadership = Leadership::from(leadership);
        let mut told = leadership.clone();
        assert!(told.changed().await);
        let endless = leadership.within(LIMIT, std::future::pending::<()>());
        assert_eq!(endless.await, Err(Halt::Lost));
        assert_eq!(start.elapsed(), 7 * second + GRACE);
        assert!(!told.changed().await && !leadership.holds());
        assert_eq!(leadership.within(LIMIT, async {}).await, Err(Halt::Lost));

        until.send_replace(Until::At(Instant::now() + 7 * second));
        assert!(told.changed().await);
        assert_eq!(leadership.within(second, sleep(2 * second)).await, Err(Halt::Late));
        // A renewal gives more time.
        let renewed = async {
            sleep(6 * second).await;
            until.send_replace(Until::At(Instant::now() + 7 * second));
        };
        let (written, ()) = tokio::join!(leadership.within(LIMIT, sleep(10 * second)), renewed);
        assert_eq!(written, Ok(()));
        until.send_replace(Until::Never);
        assert!(!told.changed().await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_was_held_up_does_not_begin_late() {
        let end = Instant::now() + Duration::from_secs(7);
        let leadership = Leadership::from(watch::channel(Until::At(end)).1);
        let mut begun = false;
        let write = leadership.within(LIMIT, async { begun = true });
        // Whoever should have looked at it did something else.
        advance(Duration::from_secs(20)).await;
        assert_eq!(write.await, Err(Halt::Lost));
        assert!(!begun);
    }
}
