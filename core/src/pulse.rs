//! When a session was last heard from, without its lock: a beat waits for nothing that an operation can hold.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Numbers the streams that speak for a session, one after the other.
pub type Generation = u64;

/// In place of a time, when the session has ended.
const ENDED: u64 = u64::MAX;

/// The signs of life of a session, and what its beats are answered with.
///
/// Whether it has ended and when it was last heard from are one word: a beat that is answered was noted before
/// the session ended for silence, or that did not happen.
#[derive(Debug)]
pub(crate) struct Pulse {
    /// In nanoseconds on the lease clock; or [`ENDED`].
    heard: AtomicU64,
    /// Of the current stream.
    generation: AtomicU64,
    /// The number of the last frame that the current stream took in.
    frame: AtomicU64,
}

impl Pulse {
    pub(crate) fn new(generation: Generation, now: Duration) -> Self {
        Self {
            heard: AtomicU64::new(nanoseconds(now)),
            generation: AtomicU64::new(generation),
            frame: AtomicU64::new(0),
        }
    }

    /// Another stream speaks for the session. Called with the session's lock held.
    pub(crate) fn attach(&self, generation: Generation, now: Duration) {
        // In this order: a beat that sees the new stream's frame sees its generation.
        self.generation.store(generation, Ordering::SeqCst);
        self.frame.store(0, Ordering::SeqCst);
        self.note(now);
    }

    /// Whether it lives, and the stream of this generation speaks for it.
    #[inline]
    pub(crate) fn is_current(&self, generation: Generation) -> bool {
        self.is_of(generation) && !self.has_ended()
    }

    #[inline]
    fn is_of(&self, generation: Generation) -> bool {
        self.generation.load(Ordering::SeqCst) == generation
    }

    /// The current stream took in the frame of this number. Called with the session's lock held.
    #[inline]
    pub(crate) fn took_in(&self, frame: u64) {
        self.frame.store(frame, Ordering::SeqCst);
    }

    /// The number of the last frame that the current stream took in.
    #[inline]
    pub(crate) fn last_frame(&self) -> u64 {
        self.frame.load(Ordering::SeqCst)
    }

    /// Takes note of a sign of life. False, and nothing noted, if it did not come from the current stream's
    /// connection, or the session has ended.
    #[inline]
    pub(crate) fn heard(&self, generation: Generation, now: Duration) -> bool {
        self.is_of(generation) && self.note(now)
    }

    /// Takes note of a beat, and says which frame was the last that was taken in; `None` if nobody listens to
    /// this connection any more.
    pub(crate) fn beat(&self, generation: Generation, now: Duration) -> Option<u64> {
        if !self.heard(generation, now) {
            return None;
        }
        let frame = self.last_frame();
        // It may have been resumed meanwhile, and the frame be another stream's.
        self.is_of(generation).then_some(frame)
    }

    /// When the session was last heard from; `None` if it has ended.
    pub(crate) fn last_heard(&self) -> Option<Duration> {
        match self.heard.load(Ordering::SeqCst) {
            ENDED => None,
            heard => Some(Duration::from_nanos(heard)),
        }
    }

    /// Whether it has ended.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.heard.load(Ordering::SeqCst) == ENDED
    }

    /// Ends it. False if it had ended.
    pub(crate) fn end(&self) -> bool {
        self.heard.swap(ENDED, Ordering::SeqCst) != ENDED
    }

    /// Ends it, unless it was heard from after `last`. False if it was, or had ended.
    pub(crate) fn end_if_silent_since(&self, last: Duration) -> bool {
        let last = nanoseconds(last);
        self.heard.compare_exchange(last, ENDED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// False if it has ended.
    #[inline]
    fn note(&self, now: Duration) -> bool {
        let now = nanoseconds(now);
        let later = |heard| (heard != ENDED).then(|| now.max(heard));
        self.heard.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later).is_ok()
    }
}

/// Enough for centuries.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(ENDED - 1).min(ENDED - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_beat_is_answered_with_the_frame_of_its_own_stream() {
        let pulse = Pulse::new(1, ms(0));
        pulse.took_in(7);
        assert_eq!(pulse.beat(1, ms(5)), Some(7));
        assert_eq!(pulse.beat(2, ms(6)), None);
        assert_eq!(pulse.last_heard(), Some(ms(5)));
        pulse.attach(2, ms(8));
        assert_eq!((pulse.beat(1, ms(9)), pulse.beat(2, ms(9))), (None, Some(0)));
    }

    #[test]
    fn a_session_that_was_heard_from_meanwhile_does_not_end_for_silence() {
        let pulse = Pulse::new(1, ms(0));
        let last = pulse.last_heard().unwrap();
        assert_eq!(pulse.beat(1, ms(10)), Some(0));
        assert!(!pulse.end_if_silent_since(last));
        assert!(pulse.end_if_silent_since(ms(10)));
        assert_eq!((pulse.beat(1, ms(11)), pulse.last_heard()), (None, None));
        assert!(!pulse.end());
    }

    #[test]
    fn an_older_sign_of_life_does_not_replace_a_newer_one() {
        let pulse = Pulse::new(1, ms(10));
        assert!(pulse.heard(1, ms(5)));
        assert_eq!(pulse.last_heard(), Some(ms(10)));
    }
}
