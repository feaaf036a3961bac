//! Counts of one rule, kept by one worker.
//!
//! Each worker counts for itself, so that no cache line goes back and forth between cores; what is
//! read is the sum over all workers.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::record::Record;

/// Upper bounds of the buckets, in microseconds; beyond the last is one more bucket.
pub(super) const BOUNDS: [u64; 14] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Classes of statuses: 1xx to 5xx.
pub(super) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// Counts of one rule on one listener.
#[derive(Debug, Default)]
pub(super) struct Series {
    pub(super) requests: [AtomicU64; CLASSES.len()],
    pub(super) bytes: AtomicU64,
    pub(super) duration: Histogram,
    pub(super) upstream: Histogram,
}

/// A distribution of times.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// The sum of the counts of several workers.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) requests: [u64; CLASSES.len()],
    pub(super) bytes: u64,
    pub(super) duration: Distribution,
    pub(super) upstream: Distribution,
}

/// The sum of several [`Histogram`]s.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    pub(super) buckets: [u64; BOUNDS.len() + 1],
    pub(super) micros: u64,
}

impl Series {
    pub(super) fn count(&self, record: &Record) {
        let class = usize::from(record.status.as_u16() / 100).saturating_sub(1);
        if let Some(requests) = self.requests.get(class) {
            requests.fetch_add(1, Relaxed);
        }
        self.bytes.fetch_add(record.bytes, Relaxed);
        self.duration.observe(record.begun.elapsed());
        if let Some(time) = record.upstream_time {
            self.upstream.observe(time);
        }
    }
}

impl Histogram {
    fn observe(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < micros);
        self.buckets[place].fetch_add(1, Relaxed);
        self.micros.fetch_add(micros, Relaxed);
    }
}

impl Sum {
    pub(super) fn add(&mut self, series: &Series) {
        for (sum, requests) in self.requests.iter_mut().zip(&series.requests) {
            *sum += requests.load(Relaxed);
        }
        self.bytes += series.bytes.load(Relaxed);
        self.duration.add(&series.duration);
        self.upstream.add(&series.upstream);
    }
}

impl Distribution {
    fn add(&mut self, histogram: &Histogram) {
        for (sum, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *sum += bucket.load(Relaxed);
        }
        self.micros += histogram.micros.load(Relaxed);
    }

    /// How many times there are in all.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Bounds in seconds with the count of each bucket.
    pub(super) fn seconds(&self) -> Vec<(f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).chain([f64::MAX]);
        bounds.zip(self.buckets).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Distribution, Histogram};

    #[test]
    fn times_fall_into_their_buckets() {
        let histogram = Histogram::default();
        for micros in [0, 500, 501, 1_000, 20_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let mut sum = Distribution::default();
        sum.add(&histogram);
        sum.add(&histogram);
        assert_eq!((sum.count(), sum.micros), (10, 2 * 20_002_001));
        assert_eq!((sum.buckets[0], sum.buckets[1], sum.buckets[14]), (4, 4, 2));
        assert_eq!(sum.seconds()[0], (0.0005, 4));
    }
}
