//! What the routes leave to the gateway.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use gateway_core::backend::RetryBudget;

use crate::SessionKey;

/// Limits and sources of chance and time for a [`crate::RouteService`].
#[derive(Clone, Debug)]
pub struct RouteSettings {
    /// The limit for the whole exchange where a rule has none. Default: none.
    pub request_timeout: Option<Duration>,
    /// How long an authorization service may think before the request is refused. Default 5 s.
    pub auth_timeout: Duration,
    /// How long a mirrored request may take before it is given up. Default 30 s.
    pub mirror_timeout: Duration,
    /// Mirrored requests at once; beyond that no copies are made. Default 256.
    pub mirror_concurrency: usize,
    /// Bytes of a body that a mirror may lie behind before it is given up. Default 64 KiB.
    pub mirror_buffer: usize,
    /// Bytes of a body that are kept for retries; requests with more are tried once. Default
    /// 64 KiB.
    pub replay_buffer: usize,
    /// The retry budget of backends without one of their own; none: rules retry as they like.
    /// Default: 20 % of the requests of 10 s, and 100 retries in 10 s in any case.
    pub retry_budget: Option<RetryBudget>,
    /// Signs session tokens. Default: a key of this process, so that sessions end with it.
    pub session_key: SessionKey,
    /// Mixes the pauses between retries.
    pub dice: Dice,
    /// The time of day, for sessions that end.
    pub clock: Clock,
}

impl Default for RouteSettings {
    fn default() -> Self {
        let ten_seconds = Duration::from_secs(10);
        Self {
            request_timeout: None,
            auth_timeout: Duration::from_secs(5),
            mirror_timeout: Duration::from_secs(30),
            mirror_concurrency: 256,
            mirror_buffer: 64 * 1024,
            replay_buffer: 64 * 1024,
            retry_budget: Some(RetryBudget {
                percent: 20,
                interval: ten_seconds,
                min_retries: (100, ten_seconds),
            }),
            session_key: SessionKey::random(),
            dice: Dice::default(),
            clock: Clock::default(),
        }
    }
}

/// A source of numbers that need not be secret, only spread.
#[derive(Clone)]
pub struct Dice(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Dice {
    /// Numbers from `roll`.
    #[must_use]
    pub fn new(roll: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(roll))
    }

    pub(crate) fn roll(&self) -> u64 {
        (self.0)()
    }
}

impl Default for Dice {
    /// Different in every process.
    fn default() -> Self {
        let (hash, count) = (RandomState::new(), AtomicU64::new(0));
        Self::new(move || hash.hash_one(count.fetch_add(1, Relaxed)))
    }
}

impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dice").finish_non_exhaustive()
    }
}

/// Tells the time of day.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Time from `now`.
    #[must_use]
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> SystemTime {
        (self.0)()
    }
}

impl Default for Clock {
    /// The clock of the system.
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that reads it")]
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").finish_non_exhaustive()
    }
}
