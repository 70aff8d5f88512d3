//! Operations by number and by name, for those who count them.

use super::{
    Array, Barrier, Condition, Dict, Directory, Event, List, Lock, Namespace, Pipe, Pool, Queue,
    RLock, Scalar, Semaphore, Set,
};
use crate::v1::request;

/// Numbers from one kind's operations to the next kind's. The first one of a kind is that of an operation
/// that this build does not know.
const PER_KIND: usize = 32;

/// What [`number`] returns is below this.
pub const NUMBERS: usize = PER_KIND * (1 + KINDS.len());

/// Defines the number of each operation, from the operations of each kind in any order.
macro_rules! operations {
    ($($kind:ident $label:literal: $ops:ident { $($op:ident)* })*) => {
        #[derive(Clone, Copy)]
        enum Place { Unknown, $($kind,)* }

        /// The kinds with their operations, in the order of their numbers.
        const KINDS: &[(&str, &[&str])] = &[$(($label, &[$(stringify!($op),)*]),)*];

        /// Numbers an operation, below [`NUMBERS`]. Another build may number it otherwise.
        #[must_use]
        #[inline]
        pub fn number(op: Option<&request::Op>) -> usize {
            let (kind, op) = match op {
                None => (Place::Unknown, 0),
                $(Some(request::Op::$kind(op)) => {
                    #[derive(Clone, Copy)]
                    enum Place { Unknown, $($op,)* }
                    let place = match &op.op {
                        None => Place::Unknown,
                        $(Some($ops::$op(_)) => Place::$op,)*
                    };
                    (self::Place::$kind, place as usize)
                })*
            };
            kind as usize * PER_KIND + op
        }
    };
}

operations! {
    Directory "directory": Directory {
        Open Delete List Exists Inspect Release Shutdown Statistics Ping DeleteId
    }
    Dict "dict": Dict {
        Get GetMany Contains Len Page Insert GetOrInsert Extend CompareAndSwap Add AddMany Remove
        RemoveMany PopItem Clear
    }
    List "list": List {
        Get Len Page SliceGet Contains Index Count Set Push Extend Insert SliceSet Repeat Pop Remove
        Clear SliceDelete Reverse Sort
    }
    Set "set": Set { Combine Contains Len Page Compare Add Remove Discard Pop Clear }
    Namespace "namespace": Namespace { Get Names Snapshot Set Delete }
    Scalar "value": Scalar { Get Set Swap CompareAndSwap Add }
    Array "array": Array { Get Len SliceGet Set SliceSet Fill Add }
    Lock "lock": Lock { Acquire Release IsLocked }
    Rlock "rlock": RLock { Acquire Release ReleaseToken IsLocked Depth }
    Semaphore "semaphore": Semaphore { Acquire Release Forget Available }
    Condition "condition": Condition { Acquire Wait Release ReleaseToken Notify IsLocked }
    Event "event": Event { Wait Set Clear IsSet }
    Barrier "barrier": Barrier { Wait ActionDone Abort Reset Waiting IsBroken Parties }
    Queue "queue": Queue {
        Put PutMany Get GetMany Lease Join Poll Done TaskDone Reject Shutdown Peek Len IsEmpty IsFull
        Maxsize
    }
    Pipe "pipe": Pipe { Send Receive Poll Attach Detach }
    Pool "pool": Pool {
        Run Rest Take Join Watch Guard Enlist Report Bury Close Terminate Status Attend Orders Resize Drain Retire
        Tasks GiveUp
    }
}

/// The operations with their [numbers](number) and those of what is unknown: the number, the kind and the
/// operation, as in `(34, "dict", "get_many")`.
pub fn names() -> impl Iterator<Item = (usize, &'static str, String)> {
    let kinds = (1..).zip(KINDS).flat_map(|(kind, (label, ops))| {
        let unknown = (kind * PER_KIND, *label, "unknown".to_owned());
        let ops = (1..).zip(*ops).map(move |(n, op)| (kind * PER_KIND + n, *label, snake_case(op)));
        std::iter::once(unknown).chain(ops)
    });
    std::iter::once((0, "unknown", "unknown".to_owned())).chain(kinds)
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for (n, c) in name.char_indices() {
        if c.is_ascii_uppercase() && n > 0 {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::operation::every_operation;

    #[test]
    fn every_operation_has_a_number_and_a_name_of_its_own() {
        let names: BTreeMap<_, _> =
            names().map(|(number, kind, op)| (number, (kind, op))).collect();
        assert!(names.keys().all(|number| *number < NUMBERS));
        let all = every_operation();
        let numbers: BTreeSet<usize> = all.iter().map(|op| number(Some(op))).collect();
        assert_eq!(numbers.len(), all.len());
        for op in all {
            let (kind, name) = &names[&number(Some(&op))];
            // `Dict(DictOp { op: Some(GetMany(…` has both.
            let printed = format!("{op:?}").to_lowercase();
            let kind = if *kind == "value" { "scalar" } else { kind };
            assert!(printed.starts_with(kind), "{kind}: {printed}");
            assert!(printed.contains(&format!("some({}(", name.replace('_', ""))), "{printed}");
            assert_ne!(name, "unknown");
        }
        // Those, one that is unknown for each kind, and the unknown kind.
        assert_eq!(names.len(), numbers.len() + KINDS.len() + 1);
        assert!(KINDS.iter().all(|(_, ops)| ops.len() < PER_KIND));
        assert_eq!(number(None), 0);
    }
}
