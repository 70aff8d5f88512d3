//! One end of a pipe: who has it, and what is there to be received.

use std::collections::BTreeMap;

use mp_manager_proto::v1::{
    Error, Holding, ObjectInfo, PipeMessage, Reason, Value, pipe_message::Content,
};

use super::{closed, full};
use crate::{
    call::{Answer, CallId, SessionId},
    description::add_holders,
    machine::deleted,
    memory::{branches, tree},
    stored::Stored,
    turn::{Turn, missing_value},
    waiters::Waiters,
};

#[derive(Debug, Default, Clone)]
pub(super) struct End {
    /// How often each session attached it.
    attached: BTreeMap<SessionId, u64>,
    was_attached: bool,
    /// By ticket: the order in which they were sent.
    inbox: BTreeMap<u64, Message>,
    inbox_bytes: u64,
    last_ticket: u64,
    unacknowledged: BTreeMap<CallId, (u64, Message)>,
    receivers: Waiters<Option<u64>>,
    pollers: Waiters<()>,
    /// Sends of the other end, which wait for room in here.
    senders: Waiters<Message>,
    /// What the messages take: parked, waiting and unacknowledged.
    message_bytes: usize,
}

/// A message at rest.
#[derive(Debug, Clone)]
pub(super) struct Message {
    content: Stored,
    raw: bool,
}

impl End {
    /// How many calls wait at it, and messages that were handed out.
    pub(super) fn crowd(&self) -> usize {
        let waiting = self.receivers.len() + self.pollers.len() + self.senders.len();
        waiting + self.unacknowledged.len()
    }

    pub(super) fn attach(&mut self, session: SessionId) {
        let count = self.attached.entry(session).or_insert(0);
        *count = count.saturating_add(1);
        self.was_attached = true;
    }

    pub(super) fn is_attached(&self, session: SessionId) -> bool {
        self.attached.contains_key(&session)
    }

    /// Takes back one attachment; whether that was the session's last.
    pub(super) fn detach(&mut self, session: SessionId) -> bool {
        match self.attached.get_mut(&session) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => drop(self.attached.remove(&session)),
            None => return false,
        }
        !self.is_attached(session)
    }

    /// Whether it was open and no longer is.
    pub(super) fn is_closed(&self) -> bool {
        self.was_attached && self.attached.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inbox.is_empty()
    }

    /// Whether a message may come in. Then nobody is in line to send one.
    pub(super) fn has_room(&self, capacity: u64) -> bool {
        self.inbox.is_empty() || self.inbox_bytes < capacity
    }

    pub(super) fn send(&mut self, message: Message) {
        self.message_bytes += message.bytes();
        self.enter(message);
    }

    pub(super) fn park_sender(&mut self, call: CallId, message: Message) {
        self.message_bytes += message.bytes();
        self.senders.push(call, message);
    }

    pub(super) fn park_receiver(&mut self, call: CallId, max_len: Option<u64>) {
        self.receivers.push(call, max_len);
    }

    pub(super) fn park_poller(&mut self, call: CallId) {
        self.pollers.push(call, ());
    }

    /// Hands over the first message, if there is one.
    pub(super) fn receive(
        &mut self,
        call: CallId,
        max_len: Option<u64>,
    ) -> Option<Result<Answer, Error>> {
        let first = self.inbox.first_entry()?;
        if let (true, Some(max)) = (first.get().raw, max_len)
            && first.get().len() > max
        {
            return Some(Err(too_long(first.get().len(), max)));
        }
        let (ticket, message) = first.remove_entry();
        self.inbox_bytes -= message.len_in_pipe();
        let answer = Answer::message(message.to_wire(), message.content.pins().to_vec());
        self.unacknowledged.insert(call, (ticket, message));
        Some(Ok(answer))
    }

    /// Lets everybody go on who can, until nobody can.
    pub(super) fn settle(&mut self, other_is_closed: bool, capacity: u64, turn: &mut Turn<'_>) {
        if self.is_closed() {
            for (call, message) in self.senders.drain() {
                self.message_bytes -= message.bytes();
                turn.refuse(call, closed());
            }
        }
        while self.admit_next(capacity, turn) || self.serve_next(turn) {}
        if !self.inbox.is_empty() || other_is_closed {
            for (call, ()) in self.pollers.drain() {
                turn.reply(call, Answer::flag(true));
            }
        }
        if other_is_closed {
            for (call, _) in self.receivers.drain() {
                turn.refuse(call, closed());
            }
        }
    }

    pub(super) fn acknowledge(&mut self, call: CallId) {
        if let Some((_, message)) = self.unacknowledged.remove(&call) {
            self.message_bytes -= message.bytes();
        }
    }

    /// The caller has gone; a message it has not acknowledged returns to its place.
    pub(super) fn cancel(&mut self, call: CallId) {
        if let Some(message) = self.senders.remove(call) {
            self.message_bytes -= message.bytes();
        } else if let Some((ticket, message)) = self.unacknowledged.remove(&call) {
            self.put_back(ticket, message);
        } else if self.receivers.remove(call).is_none() {
            self.pollers.remove(call);
        }
    }

    pub(super) fn expire(&mut self, call: CallId, capacity: u64, turn: &mut Turn<'_>) {
        if self.receivers.remove(call).is_some() {
            turn.reply(call, Answer::absent());
        } else if self.pollers.remove(call).is_some() {
            turn.reply(call, Answer::flag(false));
        } else if let Some(message) = self.senders.remove(call) {
            self.message_bytes -= message.bytes();
            turn.refuse(call, full(capacity));
        }
    }

    /// The session's calls that wait here to receive leave.
    pub(super) fn remove_receivers(&mut self, session: SessionId) -> Vec<CallId> {
        let receivers = self.receivers.remove_session(session).into_iter().map(|(call, _)| call);
        let pollers = self.pollers.remove_session(session).into_iter().map(|(call, ())| call);
        receivers.chain(pollers).collect()
    }

    /// The session's calls that wait here to send leave.
    pub(super) fn remove_senders(&mut self, session: SessionId) -> Vec<CallId> {
        let mut calls = Vec::new();
        for (call, message) in self.senders.remove_session(session) {
            self.message_bytes -= message.bytes();
            calls.push(call);
        }
        calls
    }

    /// The session is over.
    pub(super) fn end_session(&mut self, session: SessionId) {
        self.attached.remove(&session);
        self.remove_receivers(session);
        self.remove_senders(session);
        let all = CallId { session, seq: 0 }..=CallId { session, seq: u64::MAX };
        let calls: Vec<_> = self.unacknowledged.range(all).map(|(call, _)| *call).collect();
        for call in calls {
            self.cancel(call);
        }
    }

    pub(super) fn delete(&mut self, turn: &mut Turn<'_>) {
        for (call, message) in self.senders.drain() {
            self.message_bytes -= message.bytes();
            turn.refuse(call, deleted());
        }
        let receivers = self.receivers.drain().map(|(call, _)| call);
        for call in receivers.chain(self.pollers.drain().map(|(call, ())| call)) {
            turn.refuse(call, deleted());
        }
    }

    pub(super) fn len(&self) -> usize {
        self.inbox.len()
    }

    pub(super) fn state(&self) -> &'static str {
        match (self.was_attached, self.attached.is_empty()) {
            (false, _) => "never opened",
            (true, false) => "open",
            (true, true) => "closed",
        }
    }

    pub(super) fn describe(&self, number: usize, info: &mut ObjectInfo) {
        add_holders(
            info,
            self.attached.keys().map(|session| Holding {
                session: *session,
                token: 0,
                what: format!("end {number}"),
            }),
        );
        add_holders(
            info,
            self.unacknowledged.iter().map(|(call, (ticket, _))| Holding {
                session: call.session,
                token: 0,
                what: format!("message {ticket} to end {number}"),
            }),
        );
        self.receivers.describe(info, |_| format!("receive at end {number}"));
        self.pollers.describe(info, |()| format!("poll at end {number}"));
        self.senders.describe(info, |_| format!("send to end {number}"));
    }

    pub(super) fn bytes(&self) -> usize {
        self.message_bytes
            + tree::<SessionId, u64>(self.attached.len())
            + branches::<u64, Message>(self.inbox.len())
            + branches::<CallId, (u64, Message)>(self.unacknowledged.len())
            + self.receivers.bytes()
            + self.pollers.bytes()
            + self.senders.bytes()
    }

    fn admit_next(&mut self, capacity: u64, turn: &mut Turn<'_>) -> bool {
        if !self.has_room(capacity) {
            return false;
        }
        let Some((call, message)) = self.senders.pop_front() else { return false };
        self.enter(message);
        turn.reply(call, Answer::done());
        true
    }

    fn serve_next(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some((call, &max_len)) = self.receivers.front() else { return false };
        let Some(received) = self.receive(call, max_len) else { return false };
        self.receivers.remove(call);
        turn.replies.push((call, received));
        true
    }

    fn enter(&mut self, message: Message) {
        self.last_ticket += 1;
        self.put_back(self.last_ticket, message);
    }

    fn put_back(&mut self, ticket: u64, message: Message) {
        self.inbox_bytes += message.len_in_pipe();
        self.inbox.insert(ticket, message);
    }
}

impl Message {
    /// Makes a message at rest of one from the wire.
    pub(super) fn store(message: PipeMessage, turn: &Turn<'_>) -> Result<Self, Error> {
        Ok(match message.content.ok_or_else(missing_value)? {
            Content::Value(value) => Self { content: turn.store(value)?, raw: false },
            Content::Raw(data) => {
                Self { content: turn.store(Value { data, refs: Vec::new() })?, raw: true }
            }
        })
    }

    fn to_wire(&self) -> PipeMessage {
        let content = if self.raw {
            Content::Raw(self.content.compact().share())
        } else {
            Content::Value(self.content.to_wire())
        };
        PipeMessage { content: Some(content) }
    }

    fn len(&self) -> u64 {
        self.content.data().len() as u64
    }

    /// With a header of four bytes, as in an operating system's pipe: empty messages fill it, too.
    fn len_in_pipe(&self) -> u64 {
        self.len() + 4
    }

    /// The memory it takes with its ticket, about.
    fn bytes(&self) -> usize {
        size_of::<(u64, Self)>() + self.content.bytes()
    }
}

fn too_long(len: u64, max: u64) -> Error {
    Error::new(
        Reason::BufferTooShort,
        format!("the message has {len} bytes, and the caller takes at most {max}"),
    )
    .with_hint("it is still there: receive it with a larger maximum")
}
