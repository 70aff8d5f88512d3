//! Any shared object: which kinds there are, and what all of them can be told.

use bytes::Bytes;
use mp_manager_proto::{
    operation,
    v1::{Kind, ObjectInfo, Parameters, PoolStatus, parameters, request},
};

pub use crate::machine::unsupported;
use crate::{
    call::{Applied, Call, CallId, Outcome, SessionId},
    cost::{self, times},
    machine::Machine,
    objects::{
        Array, Barrier, Condition, Dict, Event, List, Lock, Namespace, Pipe, Pool, Queue,
        QueueStatus, RLock, Scalar, Semaphore, Set,
    },
    turn::Turn,
    v1::{Error, Reason},
};

macro_rules! objects {
    ($($kind:ident: $op:ident,)*) => {
        /// A shared object of any kind. A clone is for who wants to see what would become of it.
        #[derive(Debug, Clone)]
        #[expect(missing_docs, reason = "the kinds are documented where they are defined")]
        pub enum Object {
            $($kind($kind),)*
        }

        impl Object {
            /// Executes an operation. It happens completely or, with an error, not at all.
            ///
            /// # Errors
            /// As the operation says; `WRONG_KIND` for an operation of another kind.
            pub fn apply(&mut self, call: Call, op: request::Op, turn: &mut Turn<'_>) -> Applied {
                match (self, op) {
                    $((Self::$kind(object), request::Op::$op(op)) => {
                        object.apply(call, known_op!($kind, op), turn)
                    })*
                    (object, _) => Err(wrong_kind(object.kind())),
                }
            }

            /// The caller has what an ownership answer handed over.
            pub fn acknowledge(&mut self, call: CallId) {
                match self { $(Self::$kind(object) => object.acknowledge(call),)* }
            }

            /// The caller has gone.
            pub fn cancel(&mut self, call: CallId, turn: &mut Turn<'_>) {
                match self { $(Self::$kind(object) => object.cancel(call, turn),)* }
            }

            /// A parked call's timeout passed.
            pub fn expire(&mut self, call: CallId, turn: &mut Turn<'_>) {
                match self { $(Self::$kind(object) => object.expire(call, turn),)* }
            }

            /// A session is over.
            pub fn end_session(&mut self, session: SessionId, turn: &mut Turn<'_>) {
                match self { $(Self::$kind(object) => object.end_session(session, turn),)* }
            }

            /// The object is deleted.
            pub fn delete(&mut self, turn: &mut Turn<'_>) {
                match self { $(Self::$kind(object) => object.delete(turn),)* }
            }

            /// Whether the grant with this token stands: what a fenced write asks.
            #[must_use]
            pub fn holds(&self, token: u64) -> bool {
                match self { $(Self::$kind(object) => object.holds(token),)* }
            }

            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => kind_of::$kind,)* }
            }

            /// What it looks like to people: length, state, who holds it and who waits.
            #[must_use]
            pub fn describe(&self) -> ObjectInfo {
                let mut info = ObjectInfo {
                    kind: self.kind().into(),
                    bytes: self.bytes() as u64,
                    ..ObjectInfo::default()
                };
                match self { $(Self::$kind(object) => object.describe(&mut info),)* }
                info
            }

            /// How long an operation takes, about, in nanoseconds, beyond what it takes on an object with
            /// nothing in it.
            #[must_use]
            #[inline]
            pub fn cost(&self, op: &request::Op) -> u64 {
                match (self, op) {
                    $((Self::$kind(object), request::Op::$op(op)) => {
                        known_cost!($kind, object, op)
                    })*
                    _ => 0,
                }
            }

            /// Whether an operation only puts values in the place of others that are no smaller: it
            /// needs no memory, although its kind [may](Self::grows).
            #[must_use]
            pub fn replaces(&self, op: &request::Op) -> bool {
                match (self, op) {
                    $((Self::$kind(object), request::Op::$op(op)) => {
                        known_replaces!($kind, object, op)
                    })*
                    _ => false,
                }
            }

            /// How long it takes, about, in nanoseconds, until all who wait, hold and have something here have
            /// heard that a session is over, or the object.
            #[must_use]
            pub fn cost_of_end(&self) -> u64 {
                let crowd = match self { $(Self::$kind(object) => object.crowd(),)* };
                times(crowd, cost::ANSWER)
            }

            /// How long it takes, about, in nanoseconds, until it has settled an acknowledgement, a cancel or a
            /// timeout of this call.
            #[must_use]
            #[inline]
            pub fn cost_of_settling(&self, call: CallId) -> u64 {
                match self { $(Self::$kind(object) => object.cost_of_settling(call),)* }
            }

            /// How long it takes to drop it, about, in nanoseconds.
            #[must_use]
            pub fn cost_of_drop(&self) -> u64 {
                let elements = match self { $(Self::$kind(object) => object.elements(),)* };
                times(elements, 2 * cost::DROP)
            }

            /// The memory it takes, about.
            #[must_use]
            pub fn bytes(&self) -> usize {
                match self { $(Self::$kind(object) => object.bytes(),)* }
            }
        }

        impl Object {
            /// Whether an operation belongs to a kind of object.
            #[must_use]
            pub fn accepts(kind: Kind, op: &request::Op) -> bool {
                match op {
                    $(request::Op::$op(_) => kind == kind_of::$kind,)*
                    request::Op::Directory(_) => false,
                }
            }
        }

        /// The kinds under the names of their objects.
        #[allow(non_upper_case_globals)]
        mod kind_of {
            use mp_manager_proto::v1::Kind;
            $(pub(super) const $kind: Kind = super::wire_kind!($kind);)*
        }
    };
}

macro_rules! known_op {
    // Says which end it is for beside the operation itself.
    (Pipe, $op:expr) => {
        $op
    };
    ($kind:ident, $op:expr) => {
        $op.op.ok_or_else(unsupported)?
    };
}

macro_rules! known_cost {
    (Pipe, $object:expr, $op:expr) => {
        $object.cost($op)
    };
    ($kind:ident, $object:expr, $op:expr) => {
        $op.op.as_ref().map_or(0, |op| $object.cost(op))
    };
}

macro_rules! known_replaces {
    (Pipe, $object:expr, $op:expr) => {
        $object.replaces($op)
    };
    ($kind:ident, $object:expr, $op:expr) => {
        $op.op.as_ref().is_some_and(|op| $object.replaces(op))
    };
}

macro_rules! wire_kind {
    (RLock) => {
        Kind::Rlock
    };
    (Scalar) => {
        Kind::Value
    };
    ($kind:ident) => {
        Kind::$kind
    };
}
use wire_kind;

objects! {
    Dict: Dict,
    List: List,
    Set: Set,
    Namespace: Namespace,
    Scalar: Scalar,
    Array: Array,
    Lock: Lock,
    RLock: Rlock,
    Semaphore: Semaphore,
    Condition: Condition,
    Event: Event,
    Barrier: Barrier,
    Queue: Queue,
    Pipe: Pipe,
    Pool: Pool,
}

/// What is measured of an object from time to time: numbers that are quick to find.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Measured {
    /// Of a queue.
    Queue(QueueStatus),
    /// Of a pool.
    Pool(PoolStatus),
}

impl Object {
    /// Whether objects of this kind are [measured](Self::measure).
    #[must_use]
    pub fn is_measured(kind: Kind) -> bool {
        matches!(kind, Kind::Queue | Kind::Pool)
    }

    /// Its numbers, if its kind has any.
    #[must_use]
    pub fn measure(&self) -> Option<Measured> {
        match self {
            Self::Queue(object) => Some(Measured::Queue(object.status())),
            Self::Pool(object) => Some(Measured::Pool(object.status())),
            _ => None,
        }
    }

    /// A new object. `seed` scatters hash tables; nothing anyone can see depends on it.
    ///
    /// # Errors
    /// If the parameters are not good for this kind.
    pub fn create(
        kind: Kind,
        parameters: Option<Parameters>,
        seed: u64,
        turn: &mut Turn<'_>,
    ) -> Result<Self, Error> {
        use parameters::Parameters as P;
        let parameters = parameters.and_then(|parameters| parameters.parameters);
        Ok(match (kind, parameters) {
            (Kind::Dict, None) => Self::Dict(Dict::new(seed)),
            (Kind::List, None) => Self::List(List::new()),
            (Kind::Set, None) => Self::Set(Set::new(seed)),
            (Kind::Namespace, None) => Self::Namespace(Namespace::new(seed)),
            (Kind::Value, Some(P::Scalar(p))) => Self::Scalar(Scalar::new(p, turn)?),
            (Kind::Array, Some(P::Array(p))) => Self::Array(Array::new(p, turn)?),
            (Kind::Lock, None) => Self::Lock(Lock::new()),
            (Kind::Rlock, None) => Self::RLock(RLock::new()),
            (Kind::Semaphore, Some(P::Semaphore(p))) => Self::Semaphore(Semaphore::new(p)?),
            (Kind::Condition, None) => Self::Condition(Condition::new()),
            (Kind::Event, None) => Self::Event(Event::new()),
            (Kind::Barrier, Some(P::Barrier(p))) => Self::Barrier(Barrier::new(p)?),
            (Kind::Queue, p @ (None | Some(P::Queue(_)))) => {
                let parameters = if let Some(P::Queue(p)) = p { p } else { Default::default() };
                Self::Queue(Queue::new(parameters)?)
            }
            (Kind::Pipe, p @ (None | Some(P::Pipe(_)))) => {
                let parameters = if let Some(P::Pipe(p)) = p { p } else { Default::default() };
                Self::Pipe(Pipe::new(parameters))
            }
            (Kind::Pool, None) => Self::Pool(Pool::new()),
            (Kind::Unspecified, _) => return Err(unsupported()),
            (kind, _) => {
                return Err(Error::new(
                    Reason::InvalidArgument,
                    format!("these are not the parameters of {}", kind.with_article()),
                ));
            }
        })
    }

    /// Whether opening it with these parameters means this object. Parameters that were not given
    /// match anything; an initial value says nothing about an object that exists.
    ///
    /// # Errors
    /// Naming what differs.
    pub fn check_parameters(&self, parameters: Option<&Parameters>) -> Result<(), Error> {
        use parameters::Parameters as P;
        let Some(parameters) = parameters.and_then(|p| p.parameters.as_ref()) else {
            return Ok(());
        };
        match (self, parameters) {
            (Self::Scalar(_), P::Scalar(_)) => Ok(()),
            (Self::Array(object), P::Array(p)) => object.check_parameters(p),
            (Self::Semaphore(object), P::Semaphore(p)) => object.check_parameters(p),
            (Self::Barrier(object), P::Barrier(p)) => object.check_parameters(p),
            (Self::Queue(object), P::Queue(p)) => object.check_parameters(p),
            (Self::Pipe(object), P::Pipe(p)) => object.check_parameters(p),
            (object, _) => Err(wrong_kind(object.kind())),
        }
    }

    /// What it was created with, so that a client that opened it knows.
    #[must_use]
    pub fn parameters(&self) -> Option<Parameters> {
        use parameters::Parameters as P;
        let parameters = match self {
            Self::Array(object) => P::Array(object.parameters()),
            Self::Semaphore(object) => P::Semaphore(object.parameters()),
            Self::Barrier(object) => P::Barrier(object.parameters()),
            Self::Queue(object) => P::Queue(object.parameters()),
            Self::Pipe(object) => P::Pipe(object.parameters()),
            _ => return None,
        };
        Some(Parameters { parameters: Some(parameters) })
    }

    /// Whether objects of this kind are created with [parameters](Self::parameters) that whoever opens one has to
    /// know.
    #[must_use]
    pub fn has_parameters(kind: Kind) -> bool {
        matches!(kind, Kind::Array | Kind::Semaphore | Kind::Barrier | Kind::Queue | Kind::Pipe)
    }

    /// The elements of a set, for an operation of another set that has it as operand.
    #[must_use]
    pub fn set_snapshot(&self) -> Option<Vec<Bytes>> {
        match self {
            Self::Set(object) => Some(object.snapshot()),
            _ => None,
        }
    }

    /// Whether operations on this kind of object can be fenced: those that hold data, and never
    /// those that grant. A fenced operation holds the granting object first and its target second,
    /// which cannot go round in a circle as long as no target grants.
    #[must_use]
    pub fn can_be_fenced(kind: Kind) -> bool {
        !Self::tracks_sessions(kind) || kind == Kind::Queue
    }

    /// Whether an operation may need memory: the kind that a full memory budget refuses. Reads,
    /// releases and deletes go on.
    #[must_use]
    pub fn grows(op: &request::Op) -> bool {
        operation::class(op).grows
    }

    /// Executes an operation of a call that may not wait, as there is no room for it to: it is
    /// answered at once, or refused with `no_room`, and has changed nothing then. Only for those
    /// that wait [until their timeout](mp_manager_proto::operation::Waits::UntilItsTimeout).
    ///
    /// # Errors
    /// As [`apply`](Self::apply); `no_room` if it would have to wait.
    pub fn apply_at_once(
        &mut self,
        call: Call,
        op: request::Op,
        turn: &mut Turn<'_>,
        no_room: Error,
    ) -> Applied {
        match self.apply(call, op, turn) {
            Ok(Outcome::Parked) => {
                self.cancel(call.id, turn);
                Err(no_room)
            }
            applied => applied,
        }
    }

    /// Whether an operation gives something back, or tells what has happened already: it is taken
    /// from a session however many of its requests are open, as its client does not wait with it.
    #[must_use]
    pub fn gives_back(op: &request::Op) -> bool {
        operation::class(op).gives_back
    }

    /// Whether it keeps track of sessions: who holds it, who waits, who has not acknowledged.
    /// The others need not hear of a session's end.
    #[must_use]
    pub fn tracks_sessions(kind: Kind) -> bool {
        match kind {
            Kind::Lock
            | Kind::Rlock
            | Kind::Semaphore
            | Kind::Condition
            | Kind::Event
            | Kind::Barrier
            | Kind::Queue
            | Kind::Pipe
            | Kind::Pool => true,
            Kind::Unspecified
            | Kind::Dict
            | Kind::List
            | Kind::Set
            | Kind::Namespace
            | Kind::Value
            | Kind::Array => false,
        }
    }
}

/// An operation of one kind sent to an object of another.
#[must_use]
pub fn wrong_kind(kind: Kind) -> Error {
    Error::new(Reason::WrongKind, format!("the object is {}", kind.with_article()))
        .with_hint("open it as that kind, or use another name")
}

/// What the tests of several kinds share.
#[cfg(test)]
pub(crate) mod tests {
    use mp_manager_proto::{
        operation::{Waits, waits},
        v1::{
            ConditionOp, Empty, EventOp, LockOp, PipeMessage, PipeOp, PipeParameters, PipeReceive,
            QueueItem, QueueOp, QueueParameters, QueuePutMany, RLockOp, SemaphoreOp,
            SemaphoreParameters, Value, condition_op, event_op, lock_op, pipe_message, pipe_op,
            queue_op, r_lock_op, reply, semaphore_op,
        },
        value,
    };

    use super::*;
    use crate::{
        call::Outcome,
        turn::{Tokens, tests::with_turn},
    };

    /// Executes an operation of a kind that never parks.
    pub(crate) fn apply<M: Machine>(object: &mut M, op: M::Op) -> Result<reply::Result, Error> {
        let call = Call { id: CallId { session: 1, seq: 1 }, may_wait: true };
        let (applied, _) = with_turn(&Tokens::after(0), |turn| object.apply(call, op, turn));
        match applied? {
            Outcome::Done(answer) => Ok(answer.result),
            Outcome::Parked => panic!("the call was parked"),
        }
    }

    pub(crate) fn number(n: i64) -> Value {
        Value { data: value::encode(&n).unwrap().into(), refs: Vec::new() }
    }

    pub(crate) fn text(text: &str) -> Value {
        Value { data: value::encode(text).unwrap().into(), refs: Vec::new() }
    }
    fn lock(op: lock_op::Op) -> request::Op {
        request::Op::Lock(LockOp { op: Some(op) })
    }

    fn rlock(op: r_lock_op::Op) -> request::Op {
        request::Op::Rlock(RLockOp { op: Some(op) })
    }

    fn semaphore(permits: u64) -> request::Op {
        request::Op::Semaphore(SemaphoreOp { op: Some(semaphore_op::Op::Acquire(permits)) })
    }

    fn condition(op: condition_op::Op) -> request::Op {
        request::Op::Condition(ConditionOp { op: Some(op) })
    }

    fn event(op: event_op::Op) -> request::Op {
        request::Op::Event(EventOp { op: Some(op) })
    }

    fn queue(op: queue_op::Op) -> request::Op {
        request::Op::Queue(QueueOp { op: Some(op) })
    }

    fn put() -> request::Op {
        queue(queue_op::Op::Put(QueueItem { value: Some(number(1)), priority: None }))
    }

    fn pipe(end: u32, op: pipe_op::Op) -> request::Op {
        request::Op::Pipe(PipeOp { end, op: Some(op) })
    }

    fn send() -> request::Op {
        let content = Some(pipe_message::Content::Raw(vec![0; 10].into()));
        pipe(0, pipe_op::Op::Send(PipeMessage { content }))
    }

    /// An object that somebody has used.
    fn used(
        kind: Kind,
        parameters: Option<parameters::Parameters>,
        before: Vec<request::Op>,
    ) -> Object {
        let tokens = Tokens::after(0);
        let parameters = parameters.map(|parameters| Parameters { parameters: Some(parameters) });
        let (object, _) = with_turn(&tokens, |turn| Object::create(kind, parameters, 0, turn));
        let mut object = object.unwrap();
        for (seq, op) in (1..).zip(before) {
            let call = Call { id: CallId { session: 1, seq }, may_wait: true };
            with_turn(&tokens, |turn| object.apply(call, op, turn)).0.unwrap();
        }
        object
    }

    /// Objects, with operations that have to wait in them.
    fn those_that_wait() -> Vec<(Object, Vec<request::Op>)> {
        use parameters::Parameters as P;
        let items = vec![QueueItem { value: Some(number(2)), priority: None }];
        let (get, lease) = (queue_op::Op::Get(Empty {}), queue_op::Op::Lease(Empty {}));
        let gets = vec![
            queue(get),
            queue(lease),
            queue(queue_op::Op::GetMany(2)),
            queue(queue_op::Op::Poll(Empty {})),
        ];
        let puts = vec![
            put(),
            queue(queue_op::Op::PutMany(QueuePutMany { items })),
            queue(queue_op::Op::Join(Empty {})),
        ];
        let receives = vec![
            pipe(1, pipe_op::Op::Receive(PipeReceive { max_len: None })),
            pipe(1, pipe_op::Op::Poll(Empty {})),
        ];
        let acquire = || lock(lock_op::Op::Acquire(Empty {}));
        let wait = event(event_op::Op::Wait(Empty {}));
        let full = P::Queue(QueueParameters { maxsize: Some(1), ..QueueParameters::default() });
        let narrow = P::Pipe(PipeParameters { capacity: 1, one_way: false });
        let permits = P::Semaphore(SemaphoreParameters { permits: 1, bounded: false });
        let attach = |end| pipe(end, pipe_op::Op::Attach(Empty {}));
        let levels = [1, 2].map(|owner| rlock(r_lock_op::Op::Acquire(owner)));
        let condition_levels = [1, 2].map(|owner| condition(condition_op::Op::Acquire(owner)));
        let ([level, other_level], [locked, other_locked]) = (levels, condition_levels);
        let ends = || vec![attach(0), attach(1)];
        vec![
            (used(Kind::Lock, None, vec![acquire()]), vec![acquire()]),
            (used(Kind::Rlock, None, vec![level]), vec![other_level]),
            (used(Kind::Semaphore, Some(permits), vec![]), vec![semaphore(2)]),
            (used(Kind::Condition, None, vec![locked]), vec![other_locked]),
            (used(Kind::Event, None, vec![]), vec![wait]),
            (used(Kind::Queue, None, vec![]), gets),
            (used(Kind::Queue, Some(full), vec![put()]), puts),
            (used(Kind::Pipe, None, ends()), receives),
            (used(Kind::Pipe, Some(narrow), [ends(), vec![send()]].concat()), vec![send()]),
        ]
    }

    #[test]
    fn who_would_wait_without_room_is_refused_and_changes_nothing() {
        for (object, ops) in those_that_wait() {
            for op in ops {
                assert_eq!(waits(&op), Waits::UntilItsTimeout, "{op:?}");
                let mut tried = object.clone();
                let call = Call { id: CallId { session: 1, seq: 100 }, may_wait: true };
                let no_room = Error::new(Reason::LimitExceeded, "no room");
                let (applied, effects) = with_turn(&Tokens::after(9), |turn| {
                    tried.apply_at_once(call, op.clone(), turn, no_room)
                });
                let error = applied.map(drop).expect_err("it would wait");
                assert_eq!(error.reason(), Reason::LimitExceeded, "{op:?}");
                assert!(effects.replies.is_empty() && effects.lost.is_empty(), "{op:?}");
                assert_eq!(tried.describe(), object.describe(), "{op:?}");
            }
        }
    }

    #[test]
    fn who_need_not_wait_needs_no_room() {
        let mut empty = used(Kind::Queue, None, vec![]);
        let call = Call { id: CallId { session: 1, seq: 1 }, may_wait: true };
        let no_room = Error::new(Reason::LimitExceeded, "no room");
        let (applied, _) =
            with_turn(&Tokens::after(0), |turn| empty.apply_at_once(call, put(), turn, no_room));
        assert!(matches!(applied, Ok(Outcome::Done(_))), "{applied:?}");
        assert_eq!(empty.describe().len, 1);
    }
}
