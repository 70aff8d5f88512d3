//! Histories in files: what did not pass can be looked at and checked again.

use mp_manager_core::{
    CallId, Error,
    v1::{Kind, Parameters, Reply, Request, reply},
};
use prost::Message;

use super::{Action, History, Operation, Returned, Told};

#[derive(Clone, PartialEq, Message)]
struct Saved {
    #[prost(string, tag = "1")]
    object: String,
    #[prost(enumeration = "Kind", tag = "2")]
    kind: i32,
    #[prost(message, optional, tag = "3")]
    parameters: Option<Parameters>,
    #[prost(message, repeated, tag = "4")]
    operations: Vec<SavedOperation>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedOperation {
    #[prost(uint64, tag = "1")]
    process: u64,
    #[prost(uint64, tag = "2")]
    start: u64,
    /// Absent if nobody knows.
    #[prost(message, optional, tag = "3")]
    returned: Option<SavedReturned>,
    /// The call itself, or the one whose taking goes back.
    #[prost(message, optional, tag = "4")]
    id: Option<SavedId>,
    /// Absent if something goes back.
    #[prost(message, optional, tag = "5")]
    request: Option<Request>,
    #[prost(message, optional, tag = "6")]
    lease: Option<SavedId>,
}

#[derive(Clone, PartialEq, Message)]
struct SavedReturned {
    #[prost(uint64, tag = "1")]
    at: u64,
    #[prost(message, optional, tag = "2")]
    told: Option<Reply>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct SavedId {
    #[prost(uint64, tag = "1")]
    session: u64,
    #[prost(uint64, tag = "2")]
    seq: u64,
}

impl History {
    /// To be written to a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let saved = Saved {
            object: self.object.clone(),
            kind: self.kind.into(),
            parameters: self.parameters.clone(),
            operations: self.operations.iter().map(SavedOperation::of).collect(),
        };
        saved.encode_to_vec()
    }

    /// What was read from a file; `None` if that is no history.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let saved = Saved::decode(bytes).ok()?;
        let kind = saved.kind();
        let operations = saved.operations.into_iter().map(SavedOperation::operation);
        Some(Self {
            object: saved.object,
            kind: (kind != Kind::Unspecified).then_some(kind)?,
            parameters: saved.parameters,
            operations: operations.collect::<Option<_>>()?,
        })
    }
}

impl SavedOperation {
    fn of(operation: &Operation) -> Self {
        let &Operation { process, start, ref returned, ref action } = operation;
        let (id, request, lease) = match action {
            Action::Call { id, op, lease } => (id, Some(op.clone()), *lease),
            Action::GiveBack(call) => (call, None, None),
        };
        Self {
            process,
            start,
            returned: returned
                .as_ref()
                .map(|Returned { at, told }| SavedReturned { at: *at, told: Some(reply(told)) }),
            id: Some((*id).into()),
            request: request.map(|op| Request { op: Some(op), ..Request::default() }),
            lease: lease.map(SavedId::from),
        }
    }

    fn operation(self) -> Option<Operation> {
        let id = self.id?.into();
        let action = match self.request {
            Some(request) => {
                Action::Call { id, op: request.op?, lease: self.lease.map(CallId::from) }
            }
            None => Action::GiveBack(id),
        };
        let returned = match self.returned {
            Some(SavedReturned { at, told }) => Some(Returned { at, told: told_by(told?)? }),
            None => None,
        };
        Some(Operation { process: self.process, start: self.start, returned, action })
    }
}

fn reply(told: &Told) -> Reply {
    let result = match told {
        Ok(result) => result.clone(),
        Err(reason) => reply::Result::Error(Error::new(*reason, "")),
    };
    Reply { seq: 0, result: Some(result) }
}

fn told_by(reply: Reply) -> Option<Told> {
    Some(match reply.result? {
        reply::Result::Error(error) => Err(error.reason()),
        result => Ok(result),
    })
}

impl From<CallId> for SavedId {
    fn from(CallId { session, seq }: CallId) -> Self {
        Self { session, seq }
    }
}

impl From<SavedId> for CallId {
    fn from(SavedId { session, seq }: SavedId) -> Self {
        Self { session, seq }
    }
}

#[cfg(test)]
mod tests {
    use mp_manager_core::{
        Reason,
        v1::{Empty, queue_op},
    };

    use super::*;
    use crate::linear::ops::{item_or_absent, permits, put, queue};

    #[test]
    fn a_history_is_read_as_it_was_written() {
        let call = |seq, op, lease| Action::Call { id: CallId { session: 3, seq }, op, lease };
        let taken = CallId { session: 3, seq: 2 };
        let operations = vec![
            Operation {
                process: 1,
                start: 5,
                returned: Some(Returned { at: 6, told: Err(Reason::Full) }),
                action: call(1, put(7), None),
            },
            Operation {
                process: 1,
                start: 7,
                returned: Some(Returned { at: 9, told: Ok(item_or_absent(Some((8, 2)))) }),
                action: call(2, queue(queue_op::Op::Lease(Empty {})), None),
            },
            Operation {
                process: 2,
                start: 10,
                returned: None,
                action: call(3, queue(queue_op::Op::Reject(0)), Some(taken)),
            },
            Operation { process: 2, start: 0, returned: None, action: Action::GiveBack(taken) },
        ];
        let history = History {
            object: "jobs-1-2".into(),
            kind: Kind::Queue,
            parameters: Some(permits(1)),
            operations,
        };
        let read = History::from_bytes(&history.to_bytes()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{history:?}"));
        assert!(History::from_bytes(b"not a history").is_none());
        assert!(History::from_bytes(b"").is_none());
    }
}
