//! What the next frame says.

use std::{collections::VecDeque, mem};

use mp_manager_proto::v1::{ClientFrame, Reconcile, SeqRange};

use super::request::Seq;

/// Number of acknowledgements that are worth a frame of their own.
const ACKS_WORTH_A_FRAME: usize = 256;
/// Total size of acknowledged replies that is, too: the manager keeps them until then.
pub(super) const BYTES_WORTH_A_FRAME: usize = 256 << 10;

/// What the next frame says beside its requests' contents, and what the manager may not have taken in of
/// earlier ones.
#[derive(Default)]
pub(super) struct Outbox {
    /// Requests to be sent, in order.
    requests: VecDeque<Seq>,
    acks: Vec<SeqRange>,
    /// Approximate size of the replies that are acknowledged there.
    acked_bytes: usize,
    /// Acks that hand something back to others if they are late.
    acks_are_urgent: bool,
    cancels: Vec<Seq>,
    /// Cancels in frames that the manager may not have taken in, by the frame's number.
    cancels_sent: VecDeque<(u64, Seq)>,
    /// How many notices of loss were taken in, and how many of them were confirmed.
    losses: u64,
    losses_said: u64,
    reconcile: Option<Reconcile>,
    frame_number: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, seq: Seq) {
        self.requests.push_back(seq);
    }

    /// The first request that was not sent yet.
    pub(super) fn first(&self) -> Option<Seq> {
        self.requests.front().copied()
    }

    pub(super) fn pop(&mut self) {
        self.requests.pop_front();
    }

    /// How many requests are to be sent.
    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn has_requests(&self) -> bool {
        !self.requests.is_empty()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(Seq) -> bool) {
        self.requests.retain(|&seq| keep(seq));
    }

    /// A request that was not sent yet never is; the manager hears of one that was. Whether it does.
    pub(super) fn cancel(&mut self, seq: Seq, sent: bool) -> bool {
        if let Ok(unsent) = self.requests.binary_search(&seq) {
            self.requests.remove(unsent);
        }
        if sent {
            self.cancels.push(seq);
        }
        sent
    }

    /// The requests whose cancels the manager may not have taken in.
    pub(super) fn cancelled(&self) -> impl Iterator<Item = Seq> {
        let sent = self.cancels_sent.iter().map(|&(_, seq)| seq);
        sent.chain(self.cancels.iter().copied())
    }

    pub(super) fn acknowledge(&mut self, seq: Seq, bytes: usize) {
        self.acked_bytes += bytes;
        match self.acks.last_mut() {
            Some(range) if range.last + 1 == seq => range.last = seq,
            _ => self.acks.push(SeqRange { first: seq, last: seq }),
        }
    }

    pub(super) fn acks_are_worth_a_frame(&self) -> bool {
        self.acks.len() >= ACKS_WORTH_A_FRAME || self.acked_bytes >= BYTES_WORTH_A_FRAME
    }

    /// Sends the acknowledgements without waiting for more to say. Whether there are any.
    pub(super) fn urge_acks(&mut self) -> bool {
        self.acks_are_urgent = !self.acks.is_empty();
        self.acks_are_urgent
    }

    /// The manager has given notice of a loss.
    pub(super) fn count_loss(&mut self) {
        self.losses += 1;
    }

    /// The manager has taken in our frames up to `number`.
    pub(super) fn echoed(&mut self, number: u64) {
        while self.cancels_sent.pop_front_if(|(frame, _)| *frame <= number).is_some() {}
    }

    /// Numbers frames anew, on another connection.
    pub(super) fn begin_connection(&mut self) {
        self.frame_number = 0;
    }

    /// Says on another connection of the same session which calls are `open`, and sends the requests
    /// of those that wait again.
    pub(super) fn resume(&mut self, open: Vec<Seq>, waiting: VecDeque<Seq>) {
        let cancelled = self.cancels_sent.drain(..).map(|(_, seq)| seq);
        let cancelled: Vec<_> = cancelled.chain(mem::take(&mut self.cancels)).collect();
        self.cancels_sent.extend(cancelled.iter().map(|&seq| (1, seq)));
        self.requests = waiting;
        self.reconcile = Some(Reconcile { open, cancelled });
        // What is not open is acknowledged by that.
        self.forget_acks();
        self.losses_said = 0;
    }

    /// Forgets what concerns a session that is lost, but for requests.
    pub(super) fn lose_session(&mut self) {
        self.forget_acks();
        self.cancels.clear();
        self.cancels_sent.clear();
        self.reconcile = None;
        self.losses = 0;
        self.losses_said = 0;
    }

    fn forget_acks(&mut self) {
        self.acks.clear();
        self.acks_are_urgent = false;
        self.acked_bytes = 0;
    }

    pub(super) fn has_something_to_say(&self) -> bool {
        !self.requests.is_empty()
            || !self.cancels.is_empty()
            || self.acks_are_urgent
            || self.acks_are_worth_a_frame()
            || self.reconcile.is_some()
    }

    /// The next frame, without its requests.
    pub(super) fn next_frame(&mut self) -> ClientFrame {
        self.frame_number += 1;
        let mut frame = ClientFrame {
            number: self.frame_number,
            reconcile: self.reconcile.take(),
            acks: mem::take(&mut self.acks),
            cancels: mem::take(&mut self.cancels),
            ..ClientFrame::default()
        };
        self.forget_acks();
        self.cancels_sent.extend(frame.cancels.iter().map(|&seq| (frame.number, seq)));
        if self.losses_said != self.losses {
            self.losses_said = self.losses;
            frame.losses = self.losses;
        }
        frame
    }
}
