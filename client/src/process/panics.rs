//! Catches the panics of tasks, with their message and place.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{self, AssertUnwindSafe, PanicHookInfo},
    sync::Once,
};

use crate::failure::TaskFailure;

thread_local! {
    static WATCHED: Cell<Option<Noise>> = const { Cell::new(None) };
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// What happens to a panic of a task beside being caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noise {
    /// Nothing: whoever submitted the task hears of it.
    Quiet,
    /// The hook that was there before prints it, as it does anywhere else.
    Loud,
}

struct Panic {
    message: String,
    location: String,
}

/// Runs a part of a task. If it panics, that is its failure.
pub(crate) fn catch<T>(noise: Noise, run: impl FnOnce() -> T) -> Result<T, TaskFailure> {
    install();
    let outer = WATCHED.replace(Some(noise));
    // What a panic leaves behind belongs to the task, which is over.
    let caught = panic::catch_unwind(AssertUnwindSafe(run));
    WATCHED.set(outer);
    caught.map_err(|payload| {
        let last = LAST.take();
        let message = text(&*payload);
        // The payload's own drop may panic, and nobody can use it.
        std::mem::forget(payload);
        let location = last.map_or_else(
            || "an unknown place".into(),
            |last| {
                // One panic may be caught within the task and another one thrown on.
                if last.message == message { last.location } else { "an unknown place".into() }
            },
        );
        TaskFailure::Panicked { message, location }
    })
}

fn text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is no text".into())
}

/// Installs the hook; the one that was there hears of every panic outside of tasks.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if note(info) != Some(Noise::Quiet) {
                previous(info);
            }
        }));
    });
}

/// Notes the panic of a task that is watched on this thread.
fn note(info: &PanicHookInfo<'_>) -> Option<Noise> {
    let noise = WATCHED.try_with(Cell::get).ok().flatten()?;
    // What a task spawns on its runtime is not the task, although it runs on the same thread.
    if tokio::task::try_id().is_some() {
        return None;
    }
    let location = info.location().map_or_else(|| "an unknown place".into(), ToString::to_string);
    let noted = Panic { message: text(info.payload()), location };
    let _ = LAST.try_with(|last| *last.borrow_mut() = Some(noted));
    Some(noise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_has_its_message_and_place() {
        let caught = catch(Noise::Quiet, || panic!("no {}", 7));
        let Err(TaskFailure::Panicked { message, location }) = caught else { panic!("{caught:?}") };
        assert_eq!(message, "no 7");
        assert!(location.contains("panics.rs:"), "{location}");
    }

    #[test]
    fn what_does_not_panic_passes() {
        assert_eq!(catch(Noise::Quiet, || 3), Ok(3));
    }
}
