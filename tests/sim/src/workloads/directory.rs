//! Named objects that come and go.

use std::{cell::Cell, rc::Rc};

use mp_manager::Error;

use super::{Context, SECOND};
use crate::client::Task;

const NAME: &str = "temporary";
const GATE: &str = "gate";
/// Longer than what a value has in itself: the object has memory beside its own.
const CONTENTS: &str = "what takes memory until its object is deleted";

pub(super) fn tasks(my: &Context, rounds: u64) -> Vec<Task> {
    let has_passed = Rc::new(Cell::new(false));
    vec![
        Box::pin(create_and_delete(my.clone(), rounds)),
        Box::pin(pass_gates(my.clone(), rounds, Rc::clone(&has_passed))),
        Box::pin(tear_gates_down(my.clone(), has_passed)),
    ]
}

/// Creates an object that is not there, so that nobody else does until it is deleted.
async fn create_and_delete(my: Context, rounds: u64) {
    for _ in 0..rounds {
        my.pause().await;
        let changes = my.oracle.borrow_mut().directory.creating(NAME);
        let contents = (my.process, CONTENTS.to_owned());
        let create = my.manager.value(NAME, &contents).create_new().open();
        let value = match my.patiently(create).await {
            Some(Ok(value)) => value,
            Some(Err(Error::AlreadyExists(_))) => {
                if my.world.one_in(3) {
                    delete(&my).await;
                }
                continue;
            }
            result => {
                let _ = result.map(|result| my.expect("create", result));
                continue;
            }
        };
        my.oracle.borrow_mut().directory.created(NAME, my.process, changes);
        my.note(format_args!("has created the temporary value"));
        my.pause().await;
        match value.get().await {
            Ok((creator, _)) if creator != my.process => {
                my.oracle.borrow_mut().directory.is_anothers(NAME, my.process, creator);
            }
            Err(Error::ObjectNotFound(_)) | Ok(_) => {}
            result => _ = my.expect("get", result),
        }
        if delete(&my).await
            && let Ok((creator, _)) = value.get().await
        {
            my.oracle.borrow_mut().directory.outlives(NAME, creator);
        }
        if my.world.one_in(4) {
            my.expect("list_objects", my.manager.list_objects("").await);
            my.expect("inspect", my.manager.inspect(None).await);
        }
    }
}

/// Whether it was deleted by this call.
async fn delete(my: &Context) -> bool {
    my.oracle.borrow_mut().directory.deleting(NAME);
    match my.patiently(my.manager.delete(NAME)).await {
        Some(Ok(())) => {
            my.oracle.borrow_mut().directory.deleted(NAME);
            true
        }
        Some(Err(Error::ObjectNotFound(_))) => {
            my.oracle.borrow_mut().directory.deleted(NAME);
            false
        }
        result => {
            let _ = result.map(|result| my.expect("delete", result));
            false
        }
    }
}

/// Waits at gates that nobody opens, until somebody tears them down.
async fn pass_gates(my: Context, rounds: u64, has_passed: Rc<Cell<bool>>) {
    for _ in 0..rounds {
        my.pause().await;
        let gate = my.open(|manager| manager.event(GATE).open()).await;
        match my.patiently(gate.wait()).await {
            Some(Ok(())) => {
                let error = "nobody has set it";
                my.oracle.borrow_mut().calls.failed(my.process, "wait", error);
            }
            Some(Err(Error::ObjectNotFound(_))) | None => {}
            Some(result) => _ = my.expect("wait", result),
        }
    }
    has_passed.set(true);
}

async fn tear_gates_down(my: Context, has_passed: Rc<Cell<bool>>) {
    while !has_passed.get() {
        my.sleep(my.world.below(SECOND)).await;
        match my.patiently(my.manager.delete(GATE)).await {
            Some(Ok(()) | Err(Error::ObjectNotFound(_))) | None => {}
            Some(result) => _ = my.expect("delete", result),
        }
    }
}
