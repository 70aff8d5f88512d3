//! What an operation is, for both sides: one exhaustive table, so that a new operation does not
//! compile before it is classified.

use crate::v1::{
    Request, array_op::Op as Array, barrier_op::Op as Barrier, condition_op::Op as Condition,
    dict_op::Op as Dict, directory_op::Op as Directory, event_op::Op as Event, list_op::Op as List,
    lock_op::Op as Lock, namespace_op::Op as Namespace, pipe_op::Op as Pipe, queue_op::Op as Queue,
    r_lock_op::Op as RLock, request, scalar_op::Op as Scalar, semaphore_op::Op as Semaphore,
    set_op::Op as Set,
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

/// Whether an operation waits.
#[must_use]
pub fn waits(op: &request::Op) -> Waits {
    use request::Op as R;
    let waits = match op {
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
    };
    // An operation that this build does not know is refused.
    waits.unwrap_or(Waits::Never)
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

fn directory(op: &Directory) -> Waits {
    match op {
        Directory::Open(_)
        | Directory::Delete(_)
        | Directory::List(_)
        | Directory::Exists(_)
        | Directory::Inspect(_)
        | Directory::Release(_)
        | Directory::Shutdown(_)
        | Directory::Statistics(_)
        | Directory::Ping(_) => Waits::Never,
    }
}

fn dict(op: &Dict) -> Waits {
    match op {
        Dict::Get(_)
        | Dict::Insert(_)
        | Dict::Contains(_)
        | Dict::Remove(_)
        | Dict::PopItem(_)
        | Dict::GetOrInsert(_)
        | Dict::Extend(_)
        | Dict::Len(_)
        | Dict::Clear(_)
        | Dict::Page(_)
        | Dict::CompareAndSwap(_)
        | Dict::GetMany(_)
        | Dict::RemoveMany(_)
        | Dict::Add(_)
        | Dict::AddMany(_) => Waits::Never,
    }
}

fn list(op: &List) -> Waits {
    match op {
        List::Get(_)
        | List::Set(_)
        | List::Push(_)
        | List::Extend(_)
        | List::Insert(_)
        | List::Pop(_)
        | List::Remove(_)
        | List::Contains(_)
        | List::Index(_)
        | List::Count(_)
        | List::Len(_)
        | List::Clear(_)
        | List::Page(_)
        | List::SliceGet(_)
        | List::SliceSet(_)
        | List::SliceDelete(_)
        | List::Reverse(_)
        | List::Sort(_)
        | List::Repeat(_) => Waits::Never,
    }
}

fn set(op: &Set) -> Waits {
    match op {
        Set::Add(_)
        | Set::Remove(_)
        | Set::Discard(_)
        | Set::Pop(_)
        | Set::Contains(_)
        | Set::Len(_)
        | Set::Clear(_)
        | Set::Page(_)
        | Set::Combine(_)
        | Set::Compare(_) => Waits::Never,
    }
}

fn namespace(op: &Namespace) -> Waits {
    match op {
        Namespace::Get(_)
        | Namespace::Set(_)
        | Namespace::Delete(_)
        | Namespace::Names(_)
        | Namespace::Snapshot(_) => Waits::Never,
    }
}

fn scalar(op: &Scalar) -> Waits {
    match op {
        Scalar::Get(_)
        | Scalar::Set(_)
        | Scalar::Swap(_)
        | Scalar::Add(_)
        | Scalar::CompareAndSwap(_) => Waits::Never,
    }
}

fn array(op: &Array) -> Waits {
    match op {
        Array::Get(_)
        | Array::Set(_)
        | Array::Len(_)
        | Array::SliceGet(_)
        | Array::SliceSet(_)
        | Array::Fill(_)
        | Array::Add(_) => Waits::Never,
    }
}

fn lock(op: &Lock) -> Waits {
    match op {
        Lock::Acquire(_) => Waits::UntilItsTimeout,
        Lock::Release(_) | Lock::IsLocked(_) => Waits::Never,
    }
}

fn rlock(op: &RLock) -> Waits {
    match op {
        RLock::Acquire(_) => Waits::UntilItsTimeout,
        RLock::Release(_) | RLock::ReleaseToken(_) | RLock::IsLocked(_) | RLock::Depth(_) => {
            Waits::Never
        }
    }
}

fn semaphore(op: &Semaphore) -> Waits {
    match op {
        Semaphore::Acquire(_) => Waits::UntilItsTimeout,
        Semaphore::Release(_) | Semaphore::Available(_) | Semaphore::Forget(_) => Waits::Never,
    }
}

fn condition(op: &Condition) -> Waits {
    match op {
        Condition::Acquire(_) => Waits::UntilItsTimeout,
        Condition::Wait(_) => Waits::BeyondItsTimeout,
        Condition::Release(_)
        | Condition::Notify(_)
        | Condition::IsLocked(_)
        | Condition::ReleaseToken(_) => Waits::Never,
    }
}

fn event(op: &Event) -> Waits {
    match op {
        Event::Wait(_) => Waits::UntilItsTimeout,
        Event::Set(_) | Event::Clear(_) | Event::IsSet(_) => Waits::Never,
    }
}

fn barrier(op: &Barrier) -> Waits {
    match op {
        Barrier::Wait(_) => Waits::BeyondItsTimeout,
        Barrier::ActionDone(_)
        | Barrier::Abort(_)
        | Barrier::Reset(_)
        | Barrier::Waiting(_)
        | Barrier::IsBroken(_)
        | Barrier::Parties(_) => Waits::Never,
    }
}

fn queue(op: &Queue) -> Waits {
    match op {
        Queue::Put(_)
        | Queue::PutMany(_)
        | Queue::Get(_)
        | Queue::GetMany(_)
        | Queue::Lease(_)
        | Queue::Join(_) => Waits::UntilItsTimeout,
        Queue::Done(_)
        | Queue::Reject(_)
        | Queue::Peek(_)
        | Queue::Len(_)
        | Queue::IsEmpty(_)
        | Queue::IsFull(_)
        | Queue::TaskDone(_)
        | Queue::Shutdown(_)
        | Queue::Maxsize(_) => Waits::Never,
    }
}

fn pipe(op: &Pipe) -> Waits {
    match op {
        Pipe::Send(_) | Pipe::Receive(_) | Pipe::Poll(_) => Waits::UntilItsTimeout,
        Pipe::Attach(_) | Pipe::Detach(_) => Waits::Never,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{BarrierOp, BarrierWait, DictOp, Empty, EventOp, Fence, QueueItem, QueueOp};

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
