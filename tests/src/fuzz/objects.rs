//! Any operations on any object, from sessions that come and go.

use std::{collections::BTreeSet, sync::Arc};

use mp_manager_core::{
    Answer, Call, CallId, Error, Limits, Object, Outcome, Pin, Referent, Tokens, Turn,
    v1::{Kind, Parameters, Ref, Request, request},
};
use prost::Message;

use super::generate::Source;

/// The messages with a kind's operations and parameters.
const KINDS: [(Kind, &str, &str); 15] = [
    (Kind::Dict, "DictOp", ""),
    (Kind::List, "ListOp", ""),
    (Kind::Set, "SetOp", ""),
    (Kind::Namespace, "NamespaceOp", ""),
    (Kind::Value, "ScalarOp", "ScalarParameters"),
    (Kind::Array, "ArrayOp", "ArrayParameters"),
    (Kind::Lock, "LockOp", ""),
    (Kind::Rlock, "RLockOp", ""),
    (Kind::Semaphore, "SemaphoreOp", "SemaphoreParameters"),
    (Kind::Condition, "ConditionOp", ""),
    (Kind::Event, "EventOp", ""),
    (Kind::Barrier, "BarrierOp", "BarrierParameters"),
    (Kind::Queue, "QueueOp", "QueueParameters"),
    (Kind::Pipe, "PipeOp", "PipeParameters"),
    (Kind::Pool, "PoolOp", ""),
];

/// What has become larger only takes longer.
const ENOUGH_BYTES: usize = 1 << 14;

/// The first byte chooses a kind; the others, what is done to an object of it. Whatever that is:
/// a parked call is told exactly once, and the object knows who waits.
pub fn objects(data: &[u8]) {
    let mut source = Source(data);
    let kind = KINDS[source.choose(KINDS.len())];
    let tokens = Tokens::after(0);
    if let Some(mut run) = Run::new(kind, &mut source, &tokens) {
        while !source.is_empty() && run.object.bytes() < ENOUGH_BYTES {
            run.step(&mut source);
            run.check();
        }
        run.finish();
    }
}

struct Run<'a> {
    object: Object,
    kind: (Kind, &'static str, &'static str),
    tokens: &'a Tokens,
    last_seq: u64,
    parked: BTreeSet<CallId>,
    unacknowledged: BTreeSet<CallId>,
}

/// An object that values refer to.
struct Somewhere(Ref);

impl Referent for Somewhere {
    fn reference(&self) -> Ref {
        self.0
    }
}

/// What calls were told that had been parked.
type Replies = Vec<(CallId, Result<Answer, Error>)>;

fn with_turn<T>(tokens: &Tokens, f: impl FnOnce(&mut Turn<'_>) -> T) -> (T, Replies) {
    let limits = Limits { max_value_bytes: 64, max_key_bytes: 16, page_bytes: 32, heavy_from: 100 };
    let resolve =
        |reference: &Ref| (reference.object < 4).then(|| Arc::new(Somewhere(*reference)) as Pin);
    let mut turn = Turn::new(&limits, tokens, &resolve);
    let result = f(&mut turn);
    (result, turn.replies)
}

impl<'a> Run<'a> {
    /// `None` if the object cannot be created like that.
    fn new(
        kind: (Kind, &'static str, &'static str),
        source: &mut Source<'_>,
        tokens: &'a Tokens,
    ) -> Option<Self> {
        let parameters = parameters(kind.0, kind.2, source);
        let create = |turn: &mut Turn<'_>| Object::create(kind.0, parameters, 0, turn);
        let (object, _) = with_turn(tokens, create);
        let (parked, unacknowledged) = Default::default();
        Some(Self { object: object.ok()?, kind, tokens, last_seq: 0, parked, unacknowledged })
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.choose(10) {
            0 => self.acknowledge(source),
            1 => self.cancel(source),
            2 => self.expire(source),
            3 => self.end_session(1 + source.choose(3) as u64),
            _ => self.apply(source),
        }
    }

    fn apply(&mut self, source: &mut Source<'_>) {
        self.last_seq += 1;
        let id = CallId { session: 1 + source.choose(3) as u64, seq: self.last_seq };
        let call = Call { id, may_wait: source.choose(3) != 0 };
        let Some(op) = operation(self.kind, source) else { return };
        let _ = (self.object.cost(&op), Object::grows(&op));
        match self.turn(|object, turn| object.apply(call, op, turn)) {
            Ok(Outcome::Parked) => {
                self.parked.insert(id);
            }
            Ok(Outcome::Done(answer)) => self.hear(id, Ok(answer)),
            Err(error) => self.hear(id, Err(error)),
        }
    }

    fn turn<T>(&mut self, f: impl FnOnce(&mut Object, &mut Turn<'_>) -> T) -> T {
        let (result, replies) = with_turn(self.tokens, |turn| f(&mut self.object, turn));
        for (call, answer) in replies {
            assert!(self.parked.remove(&call), "{call:?} does not wait, but is told {answer:?}");
            self.hear(call, answer);
        }
        result
    }

    fn hear(&mut self, call: CallId, answer: Result<Answer, Error>) {
        match answer {
            Ok(answer) if answer.ownership => {
                self.unacknowledged.insert(call);
            }
            Ok(_) => {}
            Err(error) => assert!(!error.message.is_empty()),
        }
    }

    fn acknowledge(&mut self, source: &mut Source<'_>) {
        if let Some(call) = any(&self.unacknowledged, source) {
            self.unacknowledged.remove(&call);
            self.object.acknowledge(call);
        }
    }

    fn cancel(&mut self, source: &mut Source<'_>) {
        let open = self.parked.union(&self.unacknowledged).copied().collect();
        if let Some(call) = any(&open, source) {
            self.parked.remove(&call);
            self.unacknowledged.remove(&call);
            self.turn(|object, turn| object.cancel(call, turn));
        }
    }

    /// Also of calls that do not wait any more: a timer may come late.
    fn expire(&mut self, source: &mut Source<'_>) {
        let seq = 1 + u64::from(source.byte()) % self.last_seq.max(1);
        for session in 1..=3 {
            let call = CallId { session, seq };
            self.turn(|object, turn| object.expire(call, turn));
        }
    }

    fn end_session(&mut self, session: u64) {
        self.parked.retain(|call| call.session != session);
        self.unacknowledged.retain(|call| call.session != session);
        self.turn(|object, turn| object.end_session(session, turn));
    }

    fn check(&self) {
        let info = self.object.describe();
        let waiting: BTreeSet<CallId> = info
            .waiters
            .iter()
            .map(|waiting| CallId { session: waiting.session, seq: waiting.seq })
            .collect();
        assert_eq!(waiting, self.parked);
        assert!(self.object.bytes() < 1 << 40);
    }

    /// Nobody is left, and then nothing is.
    fn finish(mut self) {
        self.end_session(1);
        self.end_session(2);
        self.check();
        self.turn(|object, turn| object.delete(turn));
        assert!(self.parked.is_empty(), "{:?} were not told", self.parked);
    }
}

fn any(calls: &BTreeSet<CallId>, source: &mut Source<'_>) -> Option<CallId> {
    calls.iter().nth(source.choose(calls.len())).copied()
}

fn operation(
    (kind, message, _): (Kind, &str, &str),
    source: &mut Source<'_>,
) -> Option<request::Op> {
    // The field of `Request` with this kind's operations.
    let tag = u32::try_from(i32::from(kind)).ok()? + 15;
    decode::<Request>(tag, &source.message(message))?.op
}

fn parameters(kind: Kind, message: &str, source: &mut Source<'_>) -> Option<Parameters> {
    let tag = match kind {
        Kind::Value => 1,
        Kind::Array => 2,
        Kind::Semaphore => 3,
        Kind::Barrier => 4,
        Kind::Queue => 5,
        Kind::Pipe => 6,
        _ => return None,
    };
    decode::<Parameters>(tag, &source.message(message))
}

/// A message with one field of its own that is a message.
fn decode<M: Message + Default>(tag: u32, field: &[u8]) -> Option<M> {
    use prost::encoding::{WireType, encode_key, encode_varint};
    let mut encoded = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut encoded);
    encode_varint(field.len() as u64, &mut encoded);
    encoded.extend(field);
    M::decode(&encoded[..]).ok()
}
