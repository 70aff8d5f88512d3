//! A pipe: two ends, messages in order in each direction, and an end of file.

use mp_manager_proto::v1::{
    Error, ObjectInfo, PipeMessage, PipeOp, PipeParameters, PipeReceive, Reason, pipe_op::Op,
};

use self::end::{End, Message};
use crate::{
    call::{Answer, Applied, Call, CallId, Outcome, SessionId},
    cost::{self, Cost, times},
    machine::{Machine, differs, unsupported},
    memory::block,
    turn::Turn,
};

mod end;

/// Bytes that may wait in each direction before a send waits, unless the parameters say otherwise.
const DEFAULT_CAPACITY: u64 = 1 << 20;

/// Python's `Pipe`.
///
/// ```text
///   end:      never opened ──attach, or any use──► open ──last detach / end of session──► closed
///                                                   ▲                                       │
///                                                   └─────────attach, or any use────────────┘
///
///   message:  send ──► parked ──► in the other end's inbox ──receive──► delivered ──ack──► gone
///                                          ▲                                │
///                                          └────cancel before ack / end─────┘
/// ```
///
/// A session that uses an end without having attached it attaches it thereby. What is sent to an
/// end that was never opened waits there. An end that is closed shows at the other: sending is
/// refused, and receiving is once everything was received.
#[derive(Debug, Clone)]
pub struct Pipe {
    /// Boxed, as every object takes the room of the largest kind.
    ends: Box<[End; 2]>,
    one_way: bool,
    capacity: u64,
}

impl Pipe {
    /// A pipe that nobody has opened.
    #[must_use]
    pub fn new(parameters: PipeParameters) -> Self {
        let capacity =
            if parameters.capacity == 0 { DEFAULT_CAPACITY } else { parameters.capacity };
        Self { ends: Default::default(), one_way: parameters.one_way, capacity }
    }

    pub(crate) fn check_parameters(&self, asked: &PipeParameters) -> Result<(), Error> {
        if asked.one_way != self.one_way {
            let (there, asked) = (direction(self.one_way), direction(asked.one_way));
            return Err(differs("the direction", there, asked));
        }
        if asked.capacity != 0 && asked.capacity != self.capacity {
            return Err(differs("a capacity of", self.capacity, asked.capacity));
        }
        Ok(())
    }

    pub(crate) fn parameters(&self) -> PipeParameters {
        PipeParameters { one_way: self.one_way, capacity: self.capacity }
    }

    fn send(&mut self, call: Call, side: Side, message: PipeMessage, turn: &Turn<'_>) -> Applied {
        if self.one_way && side == Side::Zero {
            return Err(wrong_direction(0, "receives"));
        }
        let capacity = self.capacity;
        let to = self.end(side.other());
        if to.is_closed() {
            return Err(closed());
        }
        let message = Message::store(message, turn)?;
        if to.has_room(capacity) {
            to.send(message);
            return Answer::done().into();
        }
        if !call.may_wait {
            return Err(full(capacity));
        }
        to.park_sender(call.id, message);
        Ok(Outcome::Parked)
    }

    fn receive(&mut self, call: Call, side: Side, receive: PipeReceive) -> Applied {
        self.check_receives(side)?;
        let other_is_closed = self.end(side.other()).is_closed();
        let end = self.end(side);
        if let Some(received) = end.receive(call.id, receive.max_len) {
            return received.map(Outcome::Done);
        }
        if other_is_closed {
            return Err(closed());
        }
        if !call.may_wait {
            return Answer::absent().into();
        }
        end.park_receiver(call.id, receive.max_len);
        Ok(Outcome::Parked)
    }

    fn poll(&mut self, call: Call, side: Side) -> Applied {
        self.check_receives(side)?;
        let readable = self.end(side.other()).is_closed() || !self.end(side).is_empty();
        if readable || !call.may_wait {
            return Answer::flag(readable).into();
        }
        self.end(side).park_poller(call.id);
        Ok(Outcome::Parked)
    }

    /// Lets go of an end. With it go what the session's other tasks wait for there.
    fn detach(&mut self, session: SessionId, side: Side, turn: &mut Turn<'_>) -> Applied {
        if self.end(side).detach(session) {
            let mut calls = self.end(side).remove_receivers(session);
            calls.extend(self.end(side.other()).remove_senders(session));
            for call in calls {
                turn.refuse(call, closed_here());
            }
        }
        self.settle(turn);
        Answer::done().into()
    }

    fn check_receives(&self, side: Side) -> Result<(), Error> {
        if self.one_way && side == Side::One {
            return Err(wrong_direction(1, "sends"));
        }
        Ok(())
    }

    /// Lets everybody go on who can, after anything changed.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        let [zero, one] = &mut *self.ends;
        let (zero_is_closed, one_is_closed) = (zero.is_closed(), one.is_closed());
        zero.settle(one_is_closed, self.capacity, turn);
        one.settle(zero_is_closed, self.capacity, turn);
    }

    fn end(&mut self, side: Side) -> &mut End {
        let [zero, one] = &mut *self.ends;
        match side {
            Side::Zero => zero,
            Side::One => one,
        }
    }
}

impl Machine for Pipe {
    type Op = PipeOp;

    fn apply(&mut self, call: Call, op: PipeOp, turn: &mut Turn<'_>) -> Applied {
        let (side, session) = (Side::known(op.end)?, call.id.session);
        let outcome = match op.op.ok_or_else(unsupported)? {
            Op::Attach(_) => {
                self.end(side).attach(session);
                Outcome::Done(Answer::done())
            }
            Op::Detach(_) => return self.detach(session, side, turn),
            Op::Send(message) => self.send(call, side, message, turn)?,
            Op::Receive(receive) => self.receive(call, side, receive)?,
            Op::Poll(_) => self.poll(call, side)?,
        };
        if !self.end(side).is_attached(session) {
            self.end(side).attach(session);
        }
        self.settle(turn);
        Ok(outcome)
    }

    fn acknowledge(&mut self, call: CallId) {
        self.ends.iter_mut().for_each(|end| end.acknowledge(call));
    }

    fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
        self.ends.iter_mut().for_each(|end| end.cancel(call));
        self.settle(turn);
    }

    fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
        for end in self.ends.iter_mut() {
            end.expire(call, self.capacity, turn);
        }
    }

    fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        self.ends.iter_mut().for_each(|end| end.end_session(session));
        self.settle(turn);
    }

    fn delete(&mut self, turn: &mut Turn<'_>) {
        self.ends.iter_mut().for_each(|end| end.delete(turn));
    }

    fn cost(&self, op: &PipeOp) -> Cost {
        match op.op {
            Some(Op::Detach(_)) => times(self.crowd(), cost::ANSWER),
            Some(Op::Attach(_) | Op::Send(_) | Op::Receive(_) | Op::Poll(_)) | None => 0,
        }
    }

    fn crowd(&self) -> usize {
        self.ends.iter().map(End::crowd).sum()
    }

    fn elements(&self) -> usize {
        self.ends.iter().map(End::len).sum()
    }

    fn describe(&self, info: &mut ObjectInfo) {
        let [zero, one] = &*self.ends;
        info.len = (zero.len() + one.len()) as u64;
        info.state = format!(
            "{}; end 0 {} with {} messages, end 1 {} with {}",
            direction(self.one_way),
            zero.state(),
            zero.len(),
            one.state(),
            one.len(),
        );
        for (number, end) in self.ends.iter().enumerate() {
            end.describe(number, info);
        }
    }

    fn bytes(&self) -> usize {
        block(size_of::<[End; 2]>()) + self.ends.iter().map(End::bytes).sum::<usize>()
    }
}

/// Which end a caller speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Zero,
    One,
}

impl Side {
    fn known(number: u32) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Zero),
            1 => Ok(Self::One),
            _ => Err(Error::new(
                Reason::InvalidArgument,
                format!("a pipe has the ends 0 and 1, not {number}"),
            )),
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Zero => Self::One,
            Self::One => Self::Zero,
        }
    }
}

fn direction(one_way: bool) -> &'static str {
    if one_way { "one-way" } else { "duplex" }
}

fn wrong_direction(end: u32, does: &str) -> Error {
    Error::new(Reason::WrongDirection, format!("end {end} of this one-way pipe only {does}"))
        .with_hint("use the other end, or a duplex pipe")
}

fn closed() -> Error {
    Error::new(Reason::EndOfFile, "the other end is closed")
        .with_hint("everyone who had it closed it, or their sessions ended")
}

fn closed_here() -> Error {
    Error::new(Reason::EndOfFile, "this end was closed while the call waited")
        .with_hint("close it after its calls are done")
}

fn full(capacity: u64) -> Error {
    Error::new(Reason::Full, format!("the pipe is full: its capacity is {capacity} bytes"))
        .with_hint("wait longer, or receive faster at the other end")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use mp_manager_proto::v1::{Empty, Value, pipe_message::Content, reply};
    use proptest::prelude::*;

    use super::*;
    use crate::turn::{Tokens, tests::with_turn};

    /// What was said to a call, in short.
    #[derive(Debug, Clone, PartialEq, Eq)]
    enum Said {
        Parked,
        Done,
        Absent,
        Flag(bool),
        Raw(Vec<u8>),
        Value(Vec<u8>),
        Refused(i32),
    }

    fn refused(reason: Reason) -> Said {
        Said::Refused(reason.into())
    }

    fn said(answer: Result<Answer, Error>) -> Said {
        match answer {
            Err(error) => Said::Refused(error.reason),
            Ok(Answer { result, ownership, .. }) => match (result, ownership) {
                (reply::Result::Done(_), false) => Said::Done,
                (reply::Result::Absent(_), false) => Said::Absent,
                (reply::Result::Flag(flag), false) => Said::Flag(flag),
                (reply::Result::Message(message), true) => match message.content.unwrap() {
                    Content::Raw(data) => Said::Raw(data.into()),
                    Content::Value(value) => Said::Value(value.data.into()),
                },
                (other, _) => panic!("no answer of a pipe: {other:?}"),
            },
        }
    }

    /// A pipe and what it said to calls that were parked, in that order.
    struct Bench {
        pipe: Pipe,
        heard: Vec<(CallId, Said)>,
    }

    fn pipe(one_way: bool, capacity: u64) -> Bench {
        Bench { pipe: Pipe::new(PipeParameters { one_way, capacity }), heard: Vec::new() }
    }

    impl Bench {
        fn turn<T>(&mut self, f: impl FnOnce(&mut Pipe, &mut Turn<'_>) -> T) -> T {
            let (result, effects) = with_turn(&Tokens::after(0), |turn| f(&mut self.pipe, turn));
            self.heard.extend(effects.replies.into_iter().map(|(id, answer)| (id, said(answer))));
            result
        }

        fn call(&mut self, id: CallId, may_wait: bool, end: u32, op: Op) -> Said {
            let op = PipeOp { end, op: Some(op) };
            match self.turn(|pipe, turn| pipe.apply(Call { id, may_wait }, op, turn)) {
                Ok(Outcome::Parked) => Said::Parked,
                Ok(Outcome::Done(answer)) => said(Ok(answer)),
                Err(error) => said(Err(error)),
            }
        }

        fn wait(&mut self, id: CallId, end: u32, op: Op) -> Said {
            self.call(id, true, end, op)
        }

        fn attach(&mut self, session: u64, end: u32) {
            assert_eq!(self.wait(id(session, 0), end, Op::Attach(Empty {})), Said::Done);
        }

        fn detach(&mut self, session: u64, end: u32) {
            assert_eq!(self.wait(id(session, 0), end, Op::Detach(Empty {})), Said::Done);
        }

        fn cancel(&mut self, call: CallId) {
            self.turn(|pipe, turn| pipe.cancel(call, turn));
        }

        fn expire(&mut self, call: CallId) {
            self.turn(|pipe, turn| pipe.expire(call, turn));
        }

        fn end(&mut self, session: u64) {
            self.turn(|pipe, turn| pipe.end_session(session, turn));
        }

        fn heard(&mut self) -> Vec<(CallId, Said)> {
            std::mem::take(&mut self.heard)
        }
    }

    fn id(session: u64, seq: u64) -> CallId {
        CallId { session, seq }
    }

    fn send(bytes: &[u8]) -> Op {
        Op::Send(PipeMessage { content: Some(Content::Raw(bytes.to_vec().into())) })
    }

    fn receive() -> Op {
        Op::Receive(PipeReceive { max_len: None })
    }

    fn receive_at_most(max_len: u64) -> Op {
        Op::Receive(PipeReceive { max_len: Some(max_len) })
    }

    fn poll() -> Op {
        Op::Poll(Empty {})
    }

    fn raw(bytes: &[u8]) -> Said {
        Said::Raw(bytes.to_vec())
    }

    #[test]
    fn each_direction_keeps_its_order_and_the_kind_of_message() {
        let mut bench = pipe(false, 0);
        let value = Value { data: vec![7].into(), refs: Vec::new() };
        let value = Op::Send(PipeMessage { content: Some(Content::Value(value)) });
        assert_eq!(bench.wait(id(1, 1), 0, send(b"a")), Said::Done);
        assert_eq!(bench.wait(id(1, 2), 0, value), Said::Done);
        assert_eq!(bench.wait(id(2, 1), 1, send(b"back")), Said::Done);
        assert_eq!(bench.wait(id(2, 2), 1, receive()), raw(b"a"));
        // A maximum is for raw bytes.
        assert_eq!(bench.wait(id(2, 3), 1, receive_at_most(0)), Said::Value(vec![7]));
        assert_eq!(bench.wait(id(1, 3), 0, receive()), raw(b"back"));
        assert_eq!(bench.call(id(1, 4), false, 0, receive()), Said::Absent);
    }

    #[test]
    fn the_one_who_waited_longest_receives() {
        let mut bench = pipe(false, 0);
        assert_eq!(bench.wait(id(1, 1), 0, receive()), Said::Parked);
        assert_eq!(bench.wait(id(2, 1), 0, receive()), Said::Parked);
        assert_eq!(bench.wait(id(3, 1), 1, send(b"a")), Said::Done);
        assert_eq!(bench.heard(), [(id(1, 1), raw(b"a"))]);
        bench.expire(id(2, 1));
        assert_eq!(bench.heard(), [(id(2, 1), Said::Absent)]);
    }

    #[test]
    fn an_unacknowledged_message_returns_to_its_place() {
        let mut bench = pipe(false, 0);
        for message in [b"a", b"b", b"c"] {
            assert_eq!(bench.wait(id(1, 1), 0, send(message)), Said::Done);
        }
        bench.attach(3, 1);
        assert_eq!(bench.wait(id(2, 1), 1, receive()), raw(b"a"));
        assert_eq!(bench.wait(id(2, 2), 1, receive()), raw(b"b"));
        bench.cancel(id(2, 2));
        bench.pipe.acknowledge(id(2, 1));
        assert_eq!(bench.wait(id(2, 3), 1, receive()), raw(b"b"));
        // As much when the session ends, and then it goes to whoever waits.
        assert_eq!(bench.wait(id(3, 1), 1, receive()), raw(b"c"));
        assert_eq!(bench.wait(id(3, 2), 1, receive()), Said::Parked);
        bench.end(2);
        assert_eq!(bench.heard(), [(id(3, 2), raw(b"b"))]);
    }

    #[test]
    fn a_sender_waits_for_room_in_line() {
        let mut bench = pipe(false, 8);
        // However long, one message fits into an empty pipe.
        assert_eq!(bench.wait(id(1, 1), 0, send(&[1; 100])), Said::Done);
        let filled = bench.pipe.bytes();
        assert_eq!(bench.call(id(1, 2), false, 0, send(b"x")), refused(Reason::Full));
        for seq in 3..7 {
            assert_eq!(bench.wait(id(1, seq), 0, send(&[seq as u8; 100])), Said::Parked);
        }
        bench.expire(id(1, 3));
        assert_eq!(bench.heard(), [(id(1, 3), refused(Reason::Full))]);
        bench.cancel(id(1, 4));
        assert_eq!(bench.wait(id(2, 1), 1, receive()), raw(&[1; 100]));
        assert_eq!(bench.heard(), [(id(1, 5), Said::Done)]);
        bench.pipe.acknowledge(id(2, 1));
        bench.end(1);
        assert_eq!(bench.pipe.bytes(), filled);
    }

    #[test]
    fn empty_messages_fill_a_pipe_as_well() {
        let mut bench = pipe(false, 8);
        assert_eq!(bench.wait(id(1, 1), 0, send(b"")), Said::Done);
        assert_eq!(bench.wait(id(1, 2), 0, send(b"")), Said::Done);
        assert_eq!(bench.wait(id(1, 3), 0, send(b"")), Said::Parked);
    }

    #[test]
    fn a_message_that_is_too_long_stays_for_the_next() {
        let mut bench = pipe(false, 0);
        assert_eq!(bench.wait(id(1, 1), 0, receive_at_most(2)), Said::Parked);
        assert_eq!(bench.wait(id(1, 2), 0, receive_at_most(3)), Said::Parked);
        assert_eq!(bench.wait(id(2, 1), 1, send(b"abc")), Said::Done);
        let short = refused(Reason::BufferTooShort);
        assert_eq!(bench.heard(), [(id(1, 1), short.clone()), (id(1, 2), raw(b"abc"))]);
        assert_eq!(bench.wait(id(2, 2), 1, send(b"abc")), Said::Done);
        assert_eq!(bench.wait(id(1, 3), 0, receive_at_most(2)), short);
        assert_eq!(bench.wait(id(1, 4), 0, receive()), raw(b"abc"));
    }

    #[test]
    fn when_an_end_closes_the_other_reads_what_is_left_and_then_the_end() {
        type Close = fn(&mut Bench);
        let closes: [Close; 2] = [|bench| bench.detach(2, 1), |bench| bench.end(2)];
        for close in closes {
            let mut bench = pipe(false, 8);
            bench.attach(2, 1);
            assert_eq!(bench.wait(id(1, 1), 0, poll()), Said::Parked);
            assert_eq!(bench.wait(id(1, 2), 0, receive()), Said::Parked);
            assert_eq!(bench.wait(id(1, 3), 0, receive()), Said::Parked);
            assert_eq!(bench.wait(id(1, 4), 0, send(b"12345678")), Said::Done);
            assert_eq!(bench.wait(id(1, 5), 0, send(b"x")), Said::Parked);
            assert_eq!(bench.wait(id(2, 1), 1, send(b"last")), Said::Done);
            assert_eq!(bench.heard(), [(id(1, 2), raw(b"last"))]);
            close(&mut bench);
            let mut heard = bench.heard();
            heard.sort_by_key(|(call, _)| *call);
            let eof = refused(Reason::EndOfFile);
            let expected = [(id(1, 1), Said::Flag(true)), (id(1, 3), eof.clone()), (id(1, 5), eof)];
            assert_eq!(heard, expected);
            // The message that was not acknowledged is still there, then the file ends.
            bench.cancel(id(1, 2));
            assert_eq!(bench.wait(id(1, 6), 0, receive()), raw(b"last"));
            assert_eq!(bench.call(id(1, 7), false, 0, receive()), refused(Reason::EndOfFile));
            assert_eq!(bench.wait(id(1, 8), 0, poll()), Said::Flag(true));
            assert_eq!(bench.wait(id(1, 9), 0, send(b"x")), refused(Reason::EndOfFile));
            // Someone takes it up again.
            bench.attach(3, 1);
            assert_eq!(bench.wait(id(1, 10), 0, receive()), Said::Parked);
            assert_eq!(bench.wait(id(3, 1), 1, receive()), raw(b"12345678"));
        }
    }

    #[test]
    fn an_end_is_open_until_its_last_attachment_goes() {
        let mut bench = pipe(false, 0);
        bench.attach(1, 0);
        bench.attach(1, 0);
        // Using it attaches as well.
        assert_eq!(bench.wait(id(2, 1), 0, send(b"a")), Said::Done);
        bench.detach(1, 0);
        bench.detach(3, 0);
        bench.end(2);
        assert_eq!(bench.wait(id(4, 1), 1, receive()), raw(b"a"));
        assert_eq!(bench.wait(id(4, 2), 1, receive()), Said::Parked);
        bench.detach(1, 0);
        assert_eq!(bench.heard(), [(id(4, 2), refused(Reason::EndOfFile))]);
    }

    #[test]
    fn a_refused_call_attaches_nothing() {
        let mut bench = pipe(false, 0);
        bench.attach(2, 1);
        bench.detach(2, 1);
        assert_eq!(bench.wait(id(1, 1), 0, send(b"a")), refused(Reason::EndOfFile));
        // So its end does not close with the session.
        bench.end(1);
        assert_eq!(bench.call(id(2, 1), false, 1, receive()), Said::Absent);
    }

    #[test]
    fn closing_an_end_ends_the_calls_of_its_session_there() {
        let mut bench = pipe(false, 4);
        assert_eq!(bench.wait(id(1, 1), 0, receive()), Said::Parked);
        assert_eq!(bench.wait(id(1, 2), 0, poll()), Said::Parked);
        assert_eq!(bench.wait(id(1, 3), 0, send(b"a")), Said::Done);
        assert_eq!(bench.wait(id(1, 4), 0, send(b"b")), Said::Parked);
        // The same session's other end is not concerned, but sees the end of file.
        assert_eq!(bench.wait(id(1, 5), 1, receive()), raw(b"a"));
        assert_eq!(bench.heard(), [(id(1, 4), Said::Done)]);
        assert_eq!(bench.wait(id(1, 6), 0, send(b"c")), Said::Parked);
        bench.detach(1, 0);
        let eof = refused(Reason::EndOfFile);
        let calls = [id(1, 1), id(1, 2), id(1, 6)];
        assert_eq!(bench.heard(), calls.map(|call| (call, eof.clone())));
        assert_eq!(bench.wait(id(1, 7), 1, receive()), raw(b"b"));
        assert_eq!(bench.wait(id(1, 8), 1, receive()), eof);
    }

    #[test]
    fn poll_waits_for_something_to_receive() {
        let mut bench = pipe(false, 0);
        assert_eq!(bench.call(id(1, 1), false, 0, poll()), Said::Flag(false));
        assert_eq!(bench.wait(id(1, 2), 0, poll()), Said::Parked);
        assert_eq!(bench.wait(id(1, 3), 0, poll()), Said::Parked);
        bench.expire(id(1, 2));
        assert_eq!(bench.heard(), [(id(1, 2), Said::Flag(false))]);
        assert_eq!(bench.wait(id(2, 1), 1, send(b"a")), Said::Done);
        assert_eq!(bench.heard(), [(id(1, 3), Said::Flag(true))]);
        assert_eq!(bench.wait(id(1, 4), 0, poll()), Said::Flag(true));
        assert_eq!(bench.wait(id(1, 5), 0, receive()), raw(b"a"));
    }

    #[test]
    fn a_one_way_pipe_has_a_direction_and_there_is_no_third_end() {
        let mut bench = pipe(true, 0);
        assert_eq!(bench.wait(id(1, 1), 0, send(b"a")), refused(Reason::WrongDirection));
        assert_eq!(bench.wait(id(1, 2), 1, receive()), refused(Reason::WrongDirection));
        assert_eq!(bench.wait(id(1, 3), 1, poll()), refused(Reason::WrongDirection));
        assert_eq!(bench.wait(id(1, 4), 1, send(b"a")), Said::Done);
        assert_eq!(bench.wait(id(2, 1), 0, receive()), raw(b"a"));
        assert_eq!(bench.wait(id(2, 2), 2, receive()), refused(Reason::InvalidArgument));
    }

    #[test]
    fn deletion_refuses_everyone_who_waits() {
        let mut bench = pipe(false, 1);
        assert_eq!(bench.wait(id(1, 1), 0, send(b"a")), Said::Done);
        assert_eq!(bench.wait(id(1, 2), 0, send(b"b")), Said::Parked);
        assert_eq!(bench.wait(id(1, 3), 0, receive()), Said::Parked);
        assert_eq!(bench.wait(id(1, 4), 0, poll()), Said::Parked);
        bench.turn(|pipe, turn| pipe.delete(turn));
        let mut heard = bench.heard();
        heard.sort_by_key(|(call, _)| *call);
        let deleted = refused(Reason::ObjectDeleted);
        assert_eq!(heard, [2, 3, 4].map(|seq| (id(1, seq), deleted.clone())));
    }

    #[test]
    fn opening_with_other_parameters_is_refused() {
        let Bench { pipe, .. } = pipe(true, 0);
        let check =
            |one_way, capacity| pipe.check_parameters(&PipeParameters { one_way, capacity });
        assert_eq!(check(true, 0), Ok(()));
        assert_eq!(check(true, DEFAULT_CAPACITY), Ok(()));
        assert_eq!(check(false, 0).unwrap_err().reason(), Reason::ParametersDiffer);
        assert_eq!(check(true, 1).unwrap_err().reason(), Reason::ParametersDiffer);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Send(u64, u32, bool),
        Receive(u64, u32, bool),
        Acknowledge(usize),
        Cancel(usize),
        Expire(usize),
        Attach(u64, u32),
        Detach(u64, u32),
        End(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let (session, end, at) = (0..3_u64, 0..2_u32, 0..16_usize);
        let use_of = (session.clone(), end.clone(), any::<bool>());
        prop_oneof![
            8 => use_of.clone().prop_map(|(session, end, wait)| Step::Send(session, end, wait)),
            8 => use_of.prop_map(|(session, end, wait)| Step::Receive(session, end, wait)),
            5 => at.clone().prop_map(Step::Acknowledge),
            3 => at.clone().prop_map(Step::Cancel),
            2 => at.prop_map(Step::Expire),
            1 => (session.clone(), end.clone()).prop_map(|(session, end)| Step::Attach(session, end)),
            1 => (session.clone(), end).prop_map(|(session, end)| Step::Detach(session, end)),
            1 => session.prop_map(Step::End),
        ]
    }

    /// What was sent and accepted, per end that receives it, by the number of its send.
    #[derive(Debug, Default)]
    struct Model {
        /// Parked sends and receives, with the end whose inbox they concern.
        sends: BTreeMap<CallId, u32>,
        receives: BTreeMap<CallId, u32>,
        inboxes: [BTreeSet<u32>; 2],
        unacknowledged: BTreeMap<CallId, (u32, u32)>,
    }

    impl Model {
        fn hear(&mut self, call: CallId, end: u32, sends: bool, said: Said) {
            let number = u32::try_from(call.seq).unwrap();
            match said {
                Said::Parked if sends => drop(self.sends.insert(call, end)),
                Said::Parked => drop(self.receives.insert(call, end)),
                Said::Done => assert!(self.inboxes[end as usize].insert(number)),
                Said::Raw(data) => {
                    let number = u32::from_be_bytes(data[..].try_into().unwrap());
                    // The first of those that are there: none is skipped, doubled or made up.
                    assert_eq!(self.inboxes[end as usize].pop_first(), Some(number));
                    self.unacknowledged.insert(call, (end, number));
                }
                Said::Refused(_) | Said::Absent => {}
                other => panic!("nobody asked for {other:?}"),
            }
        }

        fn hear_all(&mut self, heard: Vec<(CallId, Said)>) {
            for (call, said) in heard {
                if let Some(end) = self.sends.remove(&call) {
                    self.hear(call, end, true, said);
                } else {
                    let end = self.receives.remove(&call).expect("an answer to a parked call");
                    self.hear(call, end, false, said);
                }
            }
        }

        /// Before the pipe hears of it: what returns may be received in the same turn.
        fn leave(&mut self, which: impl Fn(CallId) -> bool) {
            self.sends.retain(|call, _| !which(*call));
            self.receives.retain(|call, _| !which(*call));
            let back = self.unacknowledged.extract_if(.., |call, _| which(*call));
            for (end, number) in back.map(|(_, message)| message) {
                self.inboxes[end as usize].insert(number);
            }
        }

        fn open(&self, at: usize) -> Option<CallId> {
            let parked = self.sends.keys().chain(self.receives.keys());
            let calls: Vec<_> = parked.chain(self.unacknowledged.keys()).collect();
            calls.get(at).map(|call| **call)
        }
    }

    proptest! {
        #[test]
        fn no_message_is_lost_doubled_or_out_of_order(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            // Room for two messages of four bytes with their headers.
            let (mut bench, mut model) = (pipe(false, 16), Model::default());
            let empty_bytes = bench.pipe.bytes();
            for (step, seq) in steps.into_iter().zip(1..) {
                match step {
                    Step::Send(session, end, may_wait) => {
                        let (call, number) = (id(session, seq), u32::try_from(seq).unwrap());
                        let said = bench.call(call, may_wait, end, send(&number.to_be_bytes()));
                        model.hear(call, 1 - end, true, said);
                    }
                    Step::Receive(session, end, may_wait) => {
                        let call = id(session, seq);
                        let said = bench.call(call, may_wait, end, receive());
                        model.hear(call, end, false, said);
                    }
                    Step::Acknowledge(at) => {
                        let call = model.unacknowledged.keys().nth(at).copied();
                        if let Some(call) = call {
                            bench.pipe.acknowledge(call);
                            model.unacknowledged.remove(&call);
                        }
                    }
                    Step::Cancel(at) => {
                        if let Some(call) = model.open(at) {
                            model.leave(|other| other == call);
                            bench.cancel(call);
                        }
                    }
                    Step::Expire(at) => model.open(at).into_iter().for_each(|c| bench.expire(c)),
                    Step::Attach(session, end) => bench.attach(session, end),
                    Step::Detach(session, end) => bench.detach(session, end),
                    Step::End(session) => {
                        model.leave(|call| call.session == session);
                        bench.end(session);
                    }
                }
                model.hear_all(bench.heard());
                for end in 0..2_u32 {
                    let inbox = model.inboxes[end as usize].len();
                    prop_assert_eq!(bench.pipe.ends[end as usize].len(), inbox);
                    // Nobody waits for what is there.
                    prop_assert!(inbox == 0 || !model.receives.values().any(|e| *e == end));
                    prop_assert!(inbox >= 2 || !model.sends.values().any(|e| *e == end));
                }
            }
            // Everyone leaves and someone else receives what is left, in order.
            for session in 0..3 {
                model.leave(|call| call.session == session);
                bench.end(session);
                model.hear_all(bench.heard());
            }
            for (end, mut inbox) in (0_u32..).zip(std::mem::take(&mut model.inboxes)) {
                for seq in 1_000.. {
                    let call = id(9, seq);
                    let Said::Raw(data) = bench.call(call, false, end, receive()) else { break };
                    bench.pipe.acknowledge(call);
                    let number = u32::from_be_bytes(data[..].try_into().unwrap());
                    prop_assert_eq!(Some(number), inbox.pop_first());
                }
                prop_assert!(inbox.is_empty());
            }
            bench.end(9);
            prop_assert_eq!(bench.pipe.bytes(), empty_bytes);
        }
    }
}
