//! How often something may happen.

use std::time::Duration;

use tokio::time::Instant;

/// So many times at once, and from then on once in every interval.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) burst: u32,
    pub(crate) interval: Duration,
}

/// A leaky bucket: every event fills it a little, and it empties by itself.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Bucket {
    empty_at: Option<Instant>,
}

impl Bucket {
    /// Whether nothing is left of past events.
    pub(crate) fn is_empty(&self, now: Instant) -> bool {
        self.empty_at.is_none_or(|empty_at| empty_at <= now)
    }

    /// Whether one more event would be too many.
    pub(crate) fn is_full(&self, rate: Rate, now: Instant) -> bool {
        self.level(now) > rate.interval * rate.burst.saturating_sub(1)
    }

    /// Counts an event. What is too many counts as well, up to once more the burst: otherwise those
    /// that come while the bucket is full would be free.
    pub(crate) fn fill(&mut self, rate: Rate, now: Instant) {
        let level = self.level(now).saturating_add(rate.interval);
        self.empty_at = now.checked_add(level.min(2 * rate.interval * rate.burst));
    }

    fn level(&self, now: Instant) -> Duration {
        self.empty_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { burst: 3, interval: Duration::from_secs(1) };

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_burst_is_free_and_then_there_is_one_in_every_interval() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        for _ in 0..3 {
            assert!(!bucket.is_full(RATE, start));
            bucket.fill(RATE, start);
        }
        assert!(bucket.is_full(RATE, start));
        assert!(bucket.is_full(RATE, after(start, 0.9)));
        assert!(!bucket.is_full(RATE, after(start, 1.0)));
        bucket.fill(RATE, after(start, 1.0));
        assert!(bucket.is_full(RATE, after(start, 1.9)));
        assert!(!bucket.is_full(RATE, after(start, 2.0)));
    }

    #[test]
    fn it_is_empty_in_the_end() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        assert!(bucket.is_empty(start));
        bucket.fill(RATE, start);
        bucket.fill(RATE, start);
        assert!(!bucket.is_empty(after(start, 1.9)));
        assert!(bucket.is_empty(after(start, 2.0)));
    }

    #[test]
    fn what_was_too_many_is_forgiven_after_one_more_burst() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        for _ in 0..1000 {
            bucket.fill(RATE, start);
        }
        assert!(bucket.is_full(RATE, after(start, 3.9)));
        assert!(!bucket.is_full(RATE, after(start, 4.0)));
    }
}
