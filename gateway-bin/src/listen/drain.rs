//! Telling connections to end after the request that they are at.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::upstream::lock;

/// A group of connections that are drained together.
#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// Once it has begun: until when what has no end by itself may go on.
    begun: OnceLock<Option<Instant>>,
    /// Nothing may go on any more.
    over: AtomicBool,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Drain {
    /// Tells all members, also those that come later. What does not end by itself may go on for the
    /// time `patience`; without it until it is broken off.
    pub(crate) fn begin(&self, patience: Option<Duration>) {
        // Begun twice, the first counts.
        let _ = self.begun.set(patience.map(|patience| Instant::now() + patience));
        self.wake();
    }

    /// Tells everything to end at once, whatever its patience.
    pub(crate) fn break_off(&self) {
        self.over.store(true, Ordering::Release);
        self.wake();
    }

    fn wake(&self) {
        let wakers: Vec<Waker> =
            lock(&self.members).wakers.iter().flatten().map(Waker::clone).collect();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether members should end.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Adds a connection.
    pub(crate) fn join(self: &Arc<Self>) -> Member {
        let mut members = lock(&self.members);
        let place = members.free.pop().unwrap_or_else(|| {
            members.wakers.push(None);
            members.wakers.len() - 1
        });
        Member { drain: Arc::clone(self), place, told: None, patience: None, also: None }
    }
}

/// A connection of a group, or of several.
#[derive(Debug)]
pub(crate) struct Member {
    drain: Arc<Drain>,
    place: usize,
    told: Option<Waker>,
    patience: Option<Pin<Box<Sleep>>>,
    also: Option<Box<Self>>,
}

impl Member {
    /// Makes the connection one of another group as well: it ends as soon as either is told.
    pub(crate) fn join_also(&mut self, drain: &Arc<Drain>) {
        let mut member = drain.join();
        member.also = self.also.take();
        self.also = Some(Box::new(member));
    }

    /// Whether to end now; else `waker` is woken when it is time.
    pub(crate) fn should_end(&mut self, waker: &Waker) -> bool {
        let also = self.also.as_mut().is_some_and(|also| also.should_end(waker));
        if self.told.as_ref().is_none_or(|told| !told.will_wake(waker)) {
            self.told = Some(waker.clone());
            lock(&self.drain.members).wakers[self.place] = Some(waker.clone());
        }
        // After the waker was left: whoever begins now finds it.
        self.drain.has_begun() || also
    }

    /// Ready when it is time to end.
    pub(crate) async fn told(&mut self) {
        poll_fn(|cx| if self.should_end(cx.waker()) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }

    /// Ready when a connection that does not end by itself has to be broken off.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.also.as_mut().is_some_and(|also| also.poll_over(cx).is_ready()) {
            return Poll::Ready(());
        }
        if !self.should_end(cx.waker()) {
            return Poll::Pending;
        }
        if self.drain.over.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        match self.drain.begun.get() {
            Some(Some(until)) => {
                let patience = self.patience.get_or_insert_with(|| Box::pin(sleep_until(*until)));
                patience.as_mut().poll(cx)
            }
            _ => Poll::Pending,
        }
    }

    /// Waits for [`Member::poll_over`].
    pub(crate) async fn time_over(&mut self) {
        poll_fn(|cx| self.poll_over(cx)).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut members = lock(&self.drain.members);
        members.wakers[self.place] = None;
        members.free.push(self.place);
    }
}

/// A connection's place within the limits of its bind and of the program. A connection that changes
/// its protocol keeps it.
pub(crate) type Place = Arc<(Counted, Counted)>;

/// Counts what lives, up to a limit.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts one more, unless there are `most` already.
    pub(crate) fn try_new(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let add = |n| (n < most).then_some(n + 1);
        let counted = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        counted.is_ok().then(|| Self(Arc::clone(count)))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        task::Waker,
    };

    use super::{Counted, Drain};

    #[test]
    fn members_are_told_and_places_used_again() {
        let drain = Arc::new(Drain::default());
        let (mut first, second) = (drain.join(), drain.join());
        assert_eq!((first.place, second.place), (0, 1));
        assert!(!first.should_end(Waker::noop()));
        drop(second);
        assert_eq!(drain.join().place, 1);
        drain.begin(None);
        assert!(first.should_end(Waker::noop()));
        assert!(drain.join().should_end(Waker::noop()));
    }

    #[test]
    fn counts_up_to_the_limit() {
        let count = Arc::new(AtomicUsize::new(0));
        let one = Counted::try_new(&count, 1);
        assert!(one.is_some());
        assert!(Counted::try_new(&count, 1).is_none());
        drop(one);
        assert!(Counted::try_new(&count, 1).is_some());
    }
}
