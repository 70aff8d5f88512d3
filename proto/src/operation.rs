//! What an operation is, for both sides: one table with each operation once and all of its properties
//! beside it. No match has a wildcard, so a new operation does not compile before it is classified.

mod number;

use prost::Message;

pub use number::{NUMBERS, names, number};

use crate::v1::{
    Mode, Open, Request, array_op::Op as Array, barrier_op::Op as Barrier,
    condition_op::Op as Condition, dict_op::Op as Dict, directory_op::Op as Directory,
    event_op::Op as Event, list_op::Op as List, lock_op::Op as Lock, namespace_op::Op as Namespace,
    pipe_op::Op as Pipe, pool_op::Op as Pool, queue_op::Op as Queue, r_lock_op::Op as RLock,
    request, scalar_op::Op as Scalar, semaphore_op::Op as Semaphore, set_op::Op as Set,
};

/// Whether an operation waits inside its object until somebody else does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// It is answered at once.
    Never,
    /// It waits while the object cannot give what it asks for, and never with a timeout of zero.
    /// Until then it has changed nothing.
    UntilItsTimeout,
    /// It takes effect when it arrives, and may wait even after its timeout: a condition's waiter
    /// lets go of the lock and does not return without it, and a party counts at its barrier.
    BeyondItsTimeout,
}

/// The properties of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Whether it waits.
    pub waits: Waits,
    /// It waits for a state of its object and takes nothing: its answer is a flag, which is false
    /// when the timeout has passed.
    pub awaits_state: bool,
    /// Its effect may outlast the session that executed it. A read has no effect, what a session
    /// takes goes back when it ends, and so does what it would have given back.
    pub may_last: bool,
    /// It may need memory: a full memory budget refuses it. Reads, releases and deletes go on.
    pub grows: bool,
    /// It gives something back, or reports what has happened already. Its client does not wait to
    /// send it, so the server accepts it however many requests are open.
    pub gives_back: bool,
}

impl Class {
    /// Reads and is answered at once.
    const READ: Self = Self {
        waits: Waits::Never,
        awaits_state: false,
        may_last: false,
        grows: false,
        gives_back: false,
    };
    /// Changes something for good, at once.
    const WRITE: Self = Self { may_last: true, ..Self::READ };
    /// Changes something for good, at once, and may need memory for it.
    const GROW: Self = Self { grows: true, ..Self::WRITE };
    /// Waits for something and takes it. It goes back when the session ends.
    const TAKE: Self = Self { waits: Waits::UntilItsTimeout, ..Self::READ };
    /// Waits for a state.
    const AWAIT_STATE: Self = Self { awaits_state: true, ..Self::TAKE };
    /// Waits for room, and leaves something there for good.
    const PUT: Self = Self { waits: Waits::UntilItsTimeout, ..Self::GROW };
    /// Gives back what the end of the session would give back as well.
    const RETURN: Self = Self { gives_back: true, ..Self::READ };
    /// Gives back, or reports, for good.
    const SETTLE: Self = Self { gives_back: true, ..Self::WRITE };

    const fn waiting_beyond_its_timeout(self) -> Self {
        Self { waits: Waits::BeyondItsTimeout, ..self }
    }
}

/// The properties of an operation. One that this build does not know is refused, as if it read.
#[must_use]
pub fn class(op: &request::Op) -> Class {
    use request::Op as R;
    let class = match op {
        R::Directory(op) => op.op.as_ref().map(directory),
        R::Dict(op) => op.op.as_ref().map(dict),
        R::List(op) => op.op.as_ref().map(list),
        R::Set(op) => op.op.as_ref().map(set),
        R::Namespace(op) => op.op.as_ref().map(namespace),
        R::Scalar(op) => op.op.as_ref().map(scalar),
        R::Array(op) => op.op.as_ref().map(array),
        R::Lock(op) => op.op.as_ref().map(lock),
        R::Rlock(op) => op.op.as_ref().map(rlock),
        R::Semaphore(op) => op.op.as_ref().map(semaphore),
        R::Condition(op) => op.op.as_ref().map(condition),
        R::Event(op) => op.op.as_ref().map(event),
        R::Barrier(op) => op.op.as_ref().map(barrier),
        R::Queue(op) => op.op.as_ref().map(queue),
        R::Pipe(op) => op.op.as_ref().map(pipe),
        R::Pool(op) => op.op.as_ref().map(pool),
    };
    class.unwrap_or(Class::READ)
}

/// Whether an operation waits.
#[must_use]
pub fn waits(op: &request::Op) -> Waits {
    class(op).waits
}

/// Whether a request waits: as [its operation](waits) does, if its timeout and fence let it. A fence
/// stands now or not at all, so what it guards does not wait.
#[must_use]
pub fn request_waits(request: &Request) -> Waits {
    if request.fence.is_some() {
        return Waits::Never;
    }
    match request.op.as_ref().map_or(Waits::Never, waits) {
        Waits::UntilItsTimeout if request.timeout_us == Some(0) => Waits::Never,
        waits => waits,
    }
}

fn directory(op: &Directory) -> Class {
    match op {
        Directory::Open(open) if creates(open) => Class::WRITE,
        Directory::Open(_)
        | Directory::List(_)
        | Directory::Exists(_)
        | Directory::Inspect(_)
        | Directory::Release(_)
        | Directory::Statistics(_)
        | Directory::Ping(_) => Class::READ,
        Directory::Delete(_) | Directory::DeleteId(_) | Directory::Shutdown(_) => Class::WRITE,
    }
}

/// Whether it matters to the caller that the object exists from now on: one that need not be new
/// can be opened again, and one without a name goes with the session.
fn creates(open: &Open) -> bool {
    open.name.is_some() && open.mode() == Mode::Create
}

fn dict(op: &Dict) -> Class {
    match op {
        Dict::Get(_) | Dict::GetMany(_) | Dict::Contains(_) | Dict::Len(_) | Dict::Page(_) => {
            Class::READ
        }
        Dict::Insert(_)
        | Dict::GetOrInsert(_)
        | Dict::Extend(_)
        | Dict::CompareAndSwap(_)
        | Dict::Add(_)
        | Dict::AddMany(_) => Class::GROW,
        Dict::Remove(_) | Dict::RemoveMany(_) | Dict::PopItem(_) | Dict::Clear(_) => Class::WRITE,
    }
}

fn list(op: &List) -> Class {
    match op {
        List::Get(_)
        | List::Len(_)
        | List::Page(_)
        | List::SliceGet(_)
        | List::Contains(_)
        | List::Index(_)
        | List::Count(_) => Class::READ,
        List::Set(_)
        | List::Push(_)
        | List::Extend(_)
        | List::Insert(_)
        | List::SliceSet(_)
        | List::Repeat(_) => Class::GROW,
        List::Pop(_)
        | List::Remove(_)
        | List::Clear(_)
        | List::SliceDelete(_)
        | List::Reverse(_)
        | List::Sort(_) => Class::WRITE,
    }
}

fn set(op: &Set) -> Class {
    match op {
        Set::Combine(combine) if combine.in_place => Class::GROW,
        Set::Contains(_) | Set::Len(_) | Set::Page(_) | Set::Compare(_) | Set::Combine(_) => {
            Class::READ
        }
        Set::Add(_) => Class::GROW,
        Set::Remove(_) | Set::Discard(_) | Set::Pop(_) | Set::Clear(_) => Class::WRITE,
    }
}

fn namespace(op: &Namespace) -> Class {
    match op {
        Namespace::Get(_) | Namespace::Names(_) | Namespace::Snapshot(_) => Class::READ,
        Namespace::Set(_) => Class::GROW,
        Namespace::Delete(_) => Class::WRITE,
    }
}

fn scalar(op: &Scalar) -> Class {
    match op {
        Scalar::Get(_) => Class::READ,
        Scalar::Set(_) | Scalar::Swap(_) | Scalar::CompareAndSwap(_) => Class::GROW,
        // A number takes the place of a number.
        Scalar::Add(_) => Class::WRITE,
    }
}

/// An array never grows.
fn array(op: &Array) -> Class {
    match op {
        Array::Get(_) | Array::Len(_) | Array::SliceGet(_) => Class::READ,
        Array::Set(_) | Array::SliceSet(_) | Array::Fill(_) | Array::Add(_) => Class::WRITE,
    }
}

fn lock(op: &Lock) -> Class {
    match op {
        Lock::Acquire(_) => Class::TAKE,
        // By its token, from any session.
        Lock::Release(_) => Class::SETTLE,
        Lock::IsLocked(_) => Class::READ,
    }
}

fn rlock(op: &RLock) -> Class {
    match op {
        RLock::Acquire(_) => Class::TAKE,
        RLock::Release(_) => Class::RETURN,
        // From any session.
        RLock::ReleaseToken(_) => Class::SETTLE,
        RLock::IsLocked(_) | RLock::Depth(_) => Class::READ,
    }
}

fn semaphore(op: &Semaphore) -> Class {
    match op {
        Semaphore::Acquire(_) => Class::TAKE,
        // May mint permits.
        Semaphore::Release(_) => Class::SETTLE,
        Semaphore::Forget(_) => Class::WRITE,
        Semaphore::Available(_) => Class::READ,
    }
}

fn condition(op: &Condition) -> Class {
    match op {
        Condition::Acquire(_) => Class::TAKE,
        Condition::Wait(_) => Class::TAKE.waiting_beyond_its_timeout(),
        Condition::Release(_) => Class::RETURN,
        // From any session.
        Condition::ReleaseToken(_) => Class::SETTLE,
        Condition::Notify(_) => Class::WRITE,
        Condition::IsLocked(_) => Class::READ,
    }
}

fn event(op: &Event) -> Class {
    match op {
        Event::Wait(_) => Class::AWAIT_STATE,
        Event::Set(_) | Event::Clear(_) => Class::WRITE,
        Event::IsSet(_) => Class::READ,
    }
}

fn barrier(op: &Barrier) -> Class {
    match op {
        // A party that counted may have let the others pass.
        Barrier::Wait(_) => Class::WRITE.waiting_beyond_its_timeout(),
        Barrier::ActionDone(_) => Class::SETTLE,
        Barrier::Abort(_) | Barrier::Reset(_) => Class::WRITE,
        Barrier::Waiting(_) | Barrier::IsBroken(_) | Barrier::Parties(_) => Class::READ,
    }
}

fn queue(op: &Queue) -> Class {
    match op {
        Queue::Put(_) | Queue::PutMany(_) => Class::PUT,
        Queue::Get(_) | Queue::GetMany(_) | Queue::Lease(_) => Class::TAKE,
        Queue::Join(_) | Queue::Poll(_) => Class::AWAIT_STATE,
        Queue::Done(_) | Queue::TaskDone(_) => Class::SETTLE,
        Queue::Reject(_) => Class::RETURN,
        Queue::Shutdown(_) => Class::WRITE,
        Queue::Peek(_)
        | Queue::Len(_)
        | Queue::IsEmpty(_)
        | Queue::IsFull(_)
        | Queue::Maxsize(_) => Class::READ,
    }
}

fn pipe(op: &Pipe) -> Class {
    match op {
        Pipe::Send(_) => Class::PUT,
        Pipe::Receive(_) => Class::TAKE,
        Pipe::Poll(_) => Class::AWAIT_STATE,
        // Reports who speaks for the end, which the client knows already.
        Pipe::Attach(_) | Pipe::Detach(_) => Class::RETURN,
    }
}

fn pool(op: &Pool) -> Class {
    match op {
        // Its tasks may be executed before anybody stops waiting.
        Pool::Run(_) => Class::GROW.waiting_beyond_its_timeout(),
        Pool::Rest(_) => Class::READ.waiting_beyond_its_timeout(),
        Pool::Take(_) => Class::TAKE,
        Pool::Join(_) | Pool::Watch(_) | Pool::Orders(_) => Class::AWAIT_STATE,
        Pool::Guard(_) | Pool::Enlist(_) | Pool::Attend(_) => Class::GROW,
        Pool::GiveUp(_) => Class::RETURN,
        Pool::Report(_) | Pool::Bury(_) | Pool::Retire(_) => Class::SETTLE,
        Pool::Close(_) | Pool::Terminate(_) | Pool::Resize(_) | Pool::Drain(_) => Class::WRITE,
        Pool::Status(_) | Pool::Tasks(_) => Class::READ,
    }
}

/// One of each operation with nothing in it, found by trying every field that its message may have on the
/// wire: for tests that go through all of them.
#[doc(hidden)]
#[must_use]
pub fn every_operation() -> Vec<request::Op> {
    // A field's key is a varint.
    let key = |field: u8, wire_type: u8| match field << 3 | wire_type {
        key @ ..=127 => vec![key],
        key => vec![key, 1],
    };
    // A number, and a text or a message: 0 or empty, as the second byte says.
    let fields = (1..=31).flat_map(|field| [[key(field, 0), vec![0]], [key(field, 2), vec![0]]]);
    let ops: Vec<_> = fields.map(|field| field.concat()).collect();
    let requests = (8..=31).flat_map(|kind| {
        ops.iter().map(move |op| {
            [key(kind, 2), vec![u8::try_from(op.len()).unwrap_or(u8::MAX)], op.clone()].concat()
        })
    });
    let known = requests.filter_map(|bytes| {
        let request = Request::decode(&bytes[..]).ok()?;
        // What is unknown is left out.
        (request.encoded_len() == bytes.len()).then_some(request.op).flatten()
    });
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{
        BarrierOp, BarrierWait, DictOp, DirectoryOp, Empty, EventOp, Fence, QueueItem, QueueOp,
        SetCombine, SetOp,
    };

    #[test]
    fn no_two_properties_of_an_operation_contradict_each_other() {
        let all = every_operation();
        assert!(all.len() >= 120, "only {} were found", all.len());
        for op in all {
            let class = class(&op);
            // What memory is needed for stays.
            assert!(!class.grows || class.may_last, "{op:?}");
            // The room for calls that wait is what those that give back make.
            let returns = class.waits == Waits::Never && !class.grows;
            assert!(!class.gives_back || returns, "{op:?}");
            let only_waits = class.waits == Waits::UntilItsTimeout && !class.may_last;
            assert!(!class.awaits_state || only_waits, "{op:?}");
            // It has the object for itself, and nobody who could end its waiting gets there.
        }
    }

    #[test]
    fn an_operation_on_two_sets_changes_one_only_in_place() {
        let combine = |in_place| {
            let combine = SetCombine { in_place, ..SetCombine::default() };
            class(&request::Op::Set(SetOp { op: Some(Set::Combine(combine)) }))
        };
        assert!(combine(true).may_last && combine(true).grows);
        assert!(!combine(false).may_last && !combine(false).grows);
    }

    #[test]
    fn opening_lasts_if_it_creates_what_must_not_be_there_yet() {
        let lasts = |name: Option<&str>, mode: Mode| {
            let open = Open { name: name.map(Into::into), mode: mode.into(), ..Open::default() };
            class(&request::Op::Directory(DirectoryOp { op: Some(Directory::Open(open)) })).may_last
        };
        assert!(lasts(Some("jobs"), Mode::Create));
        assert!(!lasts(Some("jobs"), Mode::OpenOrCreate));
        assert!(!lasts(None, Mode::Create));
    }

    fn request(op: request::Op, timeout_us: Option<u64>) -> Request {
        Request { op: Some(op), timeout_us, ..Request::default() }
    }

    #[test]
    fn a_timeout_of_zero_or_a_fence_keeps_a_request_from_waiting() {
        let put = || request::Op::Queue(QueueOp { op: Some(Queue::Put(QueueItem::default())) });
        assert_eq!(request_waits(&request(put(), None)), Waits::UntilItsTimeout);
        assert_eq!(request_waits(&request(put(), Some(1))), Waits::UntilItsTimeout);
        assert_eq!(request_waits(&request(put(), Some(0))), Waits::Never);
        let fenced = Request { fence: Some(Fence::default()), ..request(put(), None) };
        assert_eq!(request_waits(&fenced), Waits::Never);
    }

    #[test]
    fn a_party_of_a_barrier_may_wait_after_its_timeout() {
        let wait = Barrier::Wait(BarrierWait { has_action: false });
        let wait = request::Op::Barrier(BarrierOp { op: Some(wait) });
        assert_eq!(request_waits(&request(wait, Some(0))), Waits::BeyondItsTimeout);
    }

    #[test]
    fn what_is_answered_at_once_does_not_wait_without_a_timeout() {
        let len = request::Op::Dict(DictOp { op: Some(Dict::Len(Empty {})) });
        let set = request::Op::Event(EventOp { op: Some(Event::Set(Empty {})) });
        for op in [len, set, request::Op::Event(EventOp { op: None })] {
            assert_eq!(request_waits(&request(op, None)), Waits::Never);
        }
    }
}
