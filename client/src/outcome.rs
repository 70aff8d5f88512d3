//! Classifies calls without an answer: whether they may have changed something that lasts, and how
//! they end when their timeout has passed.

use mp_manager_proto::{
    operation::{Waits, waits},
    v1::{
        Empty, Mode, array_op::Op as Array, barrier_op::Op as Barrier,
        condition_op::Op as Condition, dict_op::Op as Dict, directory_op::Op as Directory,
        event_op::Op as Event, list_op::Op as List, lock_op::Op as Lock,
        namespace_op::Op as Namespace, pipe_op::Op as Pipe, queue_op::Op as Queue,
        r_lock_op::Op as RLock, reply, request, scalar_op::Op as Scalar,
        semaphore_op::Op as Semaphore, set_op::Op as Set,
    },
};

/// Whether it matters if this was executed in a session that is over. Looking at something does
/// not, nor does taking something that went back with the session, nor giving back what did.
pub(crate) fn may_last(op: &request::Op) -> bool {
    use request::Op as R;
    match op {
        R::Directory(op) => match &op.op {
            Some(Directory::Open(open)) => open.name.is_some() && open.mode() == Mode::Create,
            Some(Directory::Delete(_) | Directory::Shutdown(_)) => true,
            _ => false,
        },
        R::Dict(op) => !matches!(
            op.op,
            Some(
                Dict::Get(_) | Dict::GetMany(_) | Dict::Contains(_) | Dict::Len(_) | Dict::Page(_)
            )
        ),
        R::List(op) => !matches!(
            op.op,
            Some(
                List::Get(_)
                    | List::Len(_)
                    | List::SliceGet(_)
                    | List::Contains(_)
                    | List::Index(_)
                    | List::Count(_)
                    | List::Page(_)
            )
        ),
        R::Set(op) => match &op.op {
            Some(Set::Combine(combine)) => combine.in_place,
            Some(Set::Contains(_) | Set::Len(_) | Set::Page(_) | Set::Compare(_)) => false,
            _ => true,
        },
        R::Namespace(op) => {
            !matches!(op.op, Some(Namespace::Get(_) | Namespace::Names(_) | Namespace::Snapshot(_)))
        }
        R::Scalar(op) => !matches!(op.op, Some(Scalar::Get(_))),
        R::Array(op) => !matches!(op.op, Some(Array::Get(_) | Array::SliceGet(_) | Array::Len(_))),
        R::Lock(op) => matches!(op.op, Some(Lock::Release(_))),
        R::Rlock(op) => matches!(op.op, Some(RLock::ReleaseToken(_))),
        R::Semaphore(op) => matches!(op.op, Some(Semaphore::Release(_) | Semaphore::Forget(_))),
        R::Condition(op) => {
            matches!(op.op, Some(Condition::Notify(_) | Condition::ReleaseToken(_)))
        }
        R::Event(op) => matches!(op.op, Some(Event::Set(_) | Event::Clear(_))),
        R::Barrier(op) => matches!(
            op.op,
            Some(Barrier::Wait(_) | Barrier::ActionDone(_) | Barrier::Abort(_) | Barrier::Reset(_))
        ),
        R::Queue(op) => matches!(
            op.op,
            Some(
                Queue::Put(_)
                    | Queue::PutMany(_)
                    | Queue::Done(_)
                    | Queue::TaskDone(_)
                    | Queue::Shutdown(_)
            )
        ),
        R::Pipe(op) => matches!(op.op, Some(Pipe::Send(_))),
    }
}

/// How a call ends when its timeout has passed and no answer has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expiry {
    /// The operation does not wait: no timeout is its own.
    Untimed,
    /// It only takes or looks: it ends with what the manager answers when the timeout passes. What
    /// it was handed meanwhile goes back.
    Answer(reply::Result),
    /// It may have changed something that lasts.
    Outcome,
    /// It waits for a lock after its timeout has passed, for as long as that takes.
    Relock,
}

/// How `op` ends when its timeout has passed.
pub(crate) fn expiry(op: &request::Op) -> Expiry {
    match waits(op) {
        Waits::Never => Expiry::Untimed,
        _ if may_last(op) => Expiry::Outcome,
        Waits::BeyondItsTimeout => Expiry::Relock,
        Waits::UntilItsTimeout if is_answered_with_flag(op) => {
            Expiry::Answer(reply::Result::Flag(false))
        }
        Waits::UntilItsTimeout => Expiry::Answer(reply::Result::Absent(Empty {})),
    }
}

/// Whether the manager answers an operation that waits with a flag.
fn is_answered_with_flag(op: &request::Op) -> bool {
    use request::Op as R;
    match op {
        R::Event(op) => matches!(op.op, Some(Event::Wait(_))),
        R::Queue(op) => matches!(op.op, Some(Queue::Join(_))),
        R::Pipe(op) => matches!(op.op, Some(Pipe::Poll(_))),
        _ => false,
    }
}
