//! Frames, out and in.

use std::{
    task::{Poll, Waker},
    time::Duration,
};

use mp_manager_proto::{
    frame::EncodedFrame,
    v1::{ClientFrame, Empty, Error as Refusal, Ref, ServerFrame},
};

use super::{Goodbye, Machine};
use crate::protocol::{
    arrived::Counted,
    effects::Effects,
    slot::{Slot, note_waker},
};

/// A frame is closed once it is this long; a longer request has one to itself.
const FRAME_BYTES: usize = 1 << 20;
/// What a frame with one request has beside it, at most.
const FRAME_OVERHEAD: usize = 64;
/// And what a number takes in one, at most.
const NUMBER: usize = 10;
/// Most requests are shorter.
const SHORT: usize = 64;

impl<H: Counted> Machine<H> {
    /// Whether there is something to say on this connection, in the [next frame](Self::next_frame);
    /// `None` when there never will be.
    pub(crate) fn poll_frame(&mut self, connection: u64, waker: &Waker) -> Poll<Option<()>> {
        if self.connection != connection || self.goodbye == Goodbye::Said {
            return Poll::Ready(None);
        }
        if self.outbox.has_something_to_say() || self.goodbye == Goodbye::Due {
            return Poll::Ready(Some(()));
        }
        note_waker(&mut self.sender, waker);
        Poll::Pending
    }

    /// Says what there is to say.
    pub(crate) fn next_frame(&mut self, now: Duration) -> EncodedFrame {
        let mut frame = self.outbox.next_frame();
        self.lease.frame_sent(frame.number, now);
        let mut encoded = self.encode_requests(&frame);
        if !self.outbox.has_requests() && self.goodbye == Goodbye::Due {
            self.goodbye = Goodbye::Said;
            frame.goodbye = Some(Empty {});
        }
        encoded.finish(&frame);
        encoded
    }

    /// The requests that there is room for in a frame. They stay here, to be sent again if need be,
    /// and are encoded in their places.
    fn encode_requests(&mut self, frame: &ClientFrame) -> EncodedFrame {
        let max_requests = self.session.limits.max_requests_per_frame.max(1) as usize;
        let max_bytes = FRAME_BYTES.min(self.longest_request());
        // A long request goes in a frame with nothing else, which it may fill to the limit.
        let reconciled = frame.reconcile.as_ref().map_or(0, |reconcile| {
            FRAME_OVERHEAD + NUMBER * (reconcile.open.len() + reconcile.cancelled.len())
        });
        let mut bytes = reconciled + NUMBER * (3 * frame.acks.len() + frame.cancels.len());
        let mut room = max_requests;
        let mut encoded =
            EncodedFrame::with_capacity(FRAME_OVERHEAD + SHORT * room.min(self.outbox.len()));
        while room > 0
            && let Some(seq) = self.outbox.first()
        {
            if let Some(Slot::Waiting(waiting)) = self.calls.get_mut(seq) {
                if bytes > 0 && bytes + waiting.len > max_bytes {
                    break;
                }
                bytes += waiting.len;
                room -= 1;
                waiting.sent = true;
                encoded.request(&waiting.request);
            }
            self.outbox.pop();
        }
        encoded
    }

    /// Leaves room for what else a frame has to say.
    pub(super) fn longest_request(&self) -> usize {
        (self.session.limits.max_frame_bytes as usize).saturating_sub(FRAME_OVERHEAD)
    }

    /// Takes in a frame of the manager's, unless it came by an earlier connection; its farewell, if it
    /// is one. `hold` takes hold of an object that a reply refers to.
    pub(crate) fn receive(
        &mut self,
        connection: u64,
        frame: ServerFrame,
        now: Duration,
        mut hold: impl FnMut(Ref) -> Option<H>,
        effects: &mut Effects<H>,
    ) -> Option<Refusal> {
        if self.connection != connection {
            return None;
        }
        self.heard(now);
        self.echoed(frame.echo);
        self.regain_lease(now, effects);
        for reply in frame.replies {
            if let Some(result) = reply.result {
                self.reply(reply.seq, result, &mut hold, effects);
            }
        }
        for lost in frame.lost {
            self.outbox.count_loss();
            self.grants.lose((lost.object, lost.token), &mut effects.losses);
        }
        if self.outbox.acks_are_worth_a_frame() {
            self.wake_sender(effects);
        }
        self.unblock(effects);
        frame.ended
    }

    /// The manager answered a beat; it has taken in our frames up to `frames`, too.
    pub(crate) fn beat_answered(
        &mut self,
        connection: u64,
        number: u64,
        frames: u64,
        now: Duration,
        effects: &mut Effects<H>,
    ) {
        if self.connection != connection {
            return;
        }
        self.heard(now);
        self.lease.beat_echoed(number, now);
        self.echoed(frames);
        self.regain_lease(now, effects);
    }

    /// The manager was heard on the current connection.
    fn heard(&mut self, now: Duration) {
        self.heard_at = now;
        self.reconnect.heard();
    }

    /// The manager has taken in our frames up to `number`.
    fn echoed(&mut self, number: u64) {
        self.lease.frames_echoed(number);
        self.outbox.echoed(number);
    }
}
