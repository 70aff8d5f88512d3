//! How long a session lives without a word, as its client reckons it.
//!
//! Let *S* be when the client sent the newest of the frames and beats that the manager is known to
//! have taken in. The manager ends the session no earlier than one lease after it took that one in,
//! which was not before *S*. The client counts everything as lost at *S* + 0.99 leases, so it knows
//! before anybody else can be given what it held, as long as no two clocks *run* at rates that
//! differ by more than a hundredth. What the clocks show does not matter.
//!
//! ```text
//!   S ───── 1/3: beat ───── 1/2: connect again ───────────── 0.99: lost ─ 1: given to others
//! ```

use std::{collections::VecDeque, time::Duration};

/// The client's reckoning of its lease.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    length: Duration,
    /// *S*.
    proven: Duration,
    frames: VecDeque<(u64, Duration)>,
    beats: VecDeque<(u64, Duration)>,
    last_beat: Duration,
    beat_number: u64,
    round_trip: Duration,
}

impl Lease {
    /// Of a session, or a resumption of one, that was asked for at `asked`.
    pub(crate) fn begin(&mut self, length: Duration, asked: Duration, now: Duration) {
        self.length = length;
        self.round_trip = now.saturating_sub(asked);
        self.proven = self.proven.max(asked);
        self.last_beat = asked;
        self.frames.clear();
        self.beats.clear();
        self.beat_number = 0;
    }

    /// A frame goes out now.
    pub(crate) fn frame_sent(&mut self, number: u64, now: Duration) {
        // One of many in a short time stands for the rest: an echo of a later one proves it, too.
        let is_news = self.frames.back().is_none_or(|&(_, at)| now >= at + self.length / 100);
        if is_news {
            self.frames.push_back((number, now));
        }
    }

    /// A beat goes out now; its number.
    pub(crate) fn beat_sent(&mut self, now: Duration) -> u64 {
        self.beat_number += 1;
        self.last_beat = now;
        self.beats.push_back((self.beat_number, now));
        self.beat_number
    }

    /// The manager has taken in every frame up to this one.
    pub(crate) fn frames_echoed(&mut self, number: u64) {
        self.proven = self.proven.max(echoed(&mut self.frames, number));
    }

    /// The manager has taken in this beat.
    pub(crate) fn beat_echoed(&mut self, number: u64, now: Duration) {
        let sent = echoed(&mut self.beats, number);
        if !sent.is_zero() {
            self.round_trip = now.saturating_sub(sent);
        }
        self.proven = self.proven.max(sent);
    }

    /// How long an answer takes, as of the last beat or, before the first, of the handshake.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip
    }

    /// When everything held is lost.
    pub(crate) fn lost_at(&self) -> Duration {
        self.proven + self.length / 100 * 99
    }

    /// When the connection is given up, if nothing is heard: in time for another one.
    pub(crate) fn stale_at(&self) -> Duration {
        self.proven + self.length / 2
    }

    /// The same for a connection whose end is this process' death: it is given up no earlier than
    /// all is lost, and than connecting again would be given up. No other connection would get
    /// further, as this one reaches the manager as long as it runs.
    pub(crate) fn dead_at(&self, reconnect_timeout: Duration) -> Duration {
        self.lost_at().max(self.stale_at().saturating_add(reconnect_timeout))
    }

    pub(crate) fn next_beat_at(&self) -> Duration {
        self.last_beat + self.length / 3
    }
}

/// When the newest was sent of those up to `number`, which are over with.
fn echoed(sent: &mut VecDeque<(u64, Duration)>, number: u64) -> Duration {
    let mut newest = Duration::ZERO;
    while let Some((_, at)) = sent.pop_front_if(|(sent, _)| *sent <= number) {
        newest = at;
    }
    newest
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn lease() -> Lease {
        let mut lease = Lease::default();
        lease.begin(LEASE, at(0), at(1));
        lease
    }

    #[test]
    fn it_is_lost_before_the_manager_would_end_it() {
        let lease = lease();
        assert_eq!(lease.lost_at(), at(9_900));
        assert!(lease.next_beat_at() < lease.stale_at() && lease.stale_at() < lease.lost_at());
    }

    #[test]
    fn only_what_was_taken_in_proves_it_and_from_when_it_was_sent() {
        let mut lease = lease();
        lease.frame_sent(1, at(1_000));
        lease.frame_sent(2, at(2_000));
        let beat = lease.beat_sent(at(3_000));
        lease.frames_echoed(1);
        assert_eq!(lease.lost_at(), at(10_900));
        lease.beat_echoed(beat, at(3_010));
        assert_eq!(lease.round_trip(), at(10));
        assert_eq!(lease.lost_at(), at(12_900));
        lease.frames_echoed(2);
        assert_eq!(lease.lost_at(), at(12_900), "what came later says nothing new");
    }

    #[test]
    fn of_many_frames_the_earlier_time_counts() {
        let mut lease = lease();
        lease.frame_sent(1, at(1_000));
        lease.frame_sent(2, at(1_050));
        lease.frames_echoed(2);
        assert_eq!(lease.lost_at(), at(10_900));
    }

    #[test]
    fn what_an_earlier_connection_sent_is_not_waited_for() {
        let mut lease = lease();
        lease.frame_sent(1, at(5_000));
        lease.begin(LEASE, at(2_000), at(2_001));
        lease.frames_echoed(1);
        assert_eq!(lease.lost_at(), at(11_900));
    }
}
