//! Runs tasks: a chunk of them in one monomorphised loop, or a single one.

use std::{cell::OnceCell, time::Duration};

use mp_manager_proto::value;
use tokio::runtime::{Builder, Runtime};

use crate::process::{
    arguments::Arguments,
    failure::TaskFailure,
    panics::{Noise, catch},
    task::{Failure, Running, Task},
};

/// A chunk that a worker is to run.
pub(crate) struct Chunk<'a> {
    /// The arguments: a MessagePack array of tuples.
    pub(crate) args: &'a [u8],
    /// How many tasks at its beginning are done already.
    pub(crate) skip: usize,
    /// How many tasks to run after these.
    pub(crate) len: usize,
    /// Called with the index of a task right before it starts.
    pub(crate) on_start: &'a mut dyn FnMut(usize),
    /// Asked after each task but the last whether the rest of the chunk is to be given back, with the length
    /// of the results so far.
    pub(crate) stop: &'a mut dyn FnMut(usize) -> bool,
    /// Maximum length of one result.
    pub(crate) max_result_bytes: usize,
    /// How long an async task may run. A sync one cannot be ended without its process.
    pub(crate) timeout: Option<Duration>,
}

/// What became of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// The results of the tasks that have one, in order: the elements of a MessagePack array, without
    /// its header.
    pub(crate) results: Vec<u8>,
    /// The tasks that have none, by their index in the chunk, in order.
    pub(crate) failures: Vec<(usize, TaskFailure)>,
    /// How many tasks are done, with those that were skipped; the first `done - skip - failures.len()` of
    /// the results belong to them. Fewer than there are if the chunk was stopped.
    pub(crate) done: usize,
}

/// Runs a chunk, without a dynamic call or an allocation for each task that has none of its own.
///
/// # Errors
/// If the arguments are not an array of MessagePack values; no task ran then, or those before the one
/// that is malformed.
pub(super) fn run<T: Task>(chunk: &mut Chunk<'_>) -> Result<Outcomes, value::CodecError> {
    let (there, mut rest) = value::array(chunk.args)?;
    let len = chunk.skip.saturating_add(chunk.len);
    if len > there {
        return Err(value::CodecError::Malformed("there are fewer arguments than tasks"));
    }
    for _ in 0..chunk.skip {
        (_, rest) = value::split(rest)?;
    }
    let mut outcomes = Outcomes { done: chunk.skip, ..Outcomes::default() };
    // Most results are about as long as their arguments.
    outcomes.results.reserve(rest.len().min(MAX_RESERVED_BYTES));
    while outcomes.done < len {
        let args;
        (args, rest) = value::split(rest)?;
        (chunk.on_start)(outcomes.done);
        if let Err(failure) = one::<T>(args, chunk, &mut outcomes.results) {
            outcomes.failures.push((outcomes.done, failure));
        }
        outcomes.done += 1;
        if outcomes.done < len && (chunk.stop)(outcomes.results.len()) {
            break;
        }
    }
    Ok(outcomes)
}

const MAX_RESERVED_BYTES: usize = 1 << 20;

/// Runs one task and appends its result; a failure leaves the results as they were.
fn one<T: Task>(args: &[u8], chunk: &Chunk<'_>, results: &mut Vec<u8>) -> Result<(), TaskFailure> {
    let before = results.len();
    let (max_bytes, timeout) = (chunk.max_result_bytes, chunk.timeout);
    // Everything that is of the task's making is within: decoding, the text of its error, encoding.
    let ran = catch(Noise::Quiet, || {
        let output = call::<T>(Arguments::Here(args).take()?, timeout)?;
        value::encode_into(&output, results)
            .map_err(|error| TaskFailure::Unserialisable { message: error.to_string() })
    });
    let bytes = results.len() - before;
    let ran = ran.and_then(|ran| ran).and_then(|()| {
        if bytes <= max_bytes {
            Ok(())
        } else {
            Err(TaskFailure::ResultTooLarge { bytes, max_bytes })
        }
    });
    if ran.is_err() {
        results.truncate(before);
    }
    ran
}

/// Runs a task whose result nobody needs, and lets its panic be printed.
pub(super) fn alone<T: Task>(args: &Arguments<'_>) -> Result<(), TaskFailure> {
    let ran = catch(Noise::Loud, || call::<T>(args.take()?, None).map(drop));
    ran.and_then(|ran| ran)
}

/// Runs one task with arguments of this process.
pub(super) fn direct<T: Task>(args: T::Args) -> Result<T::Output, TaskFailure> {
    catch(Noise::Quiet, || call::<T>(args, None)).and_then(|ran| ran)
}

fn call<T: Task>(args: T::Args, timeout: Option<Duration>) -> Result<T::Output, TaskFailure> {
    match T::run(args) {
        Running::Now(ran) => ran.map_err(TaskFailure::from),
        Running::Later(future) => on_runtime(async {
            let Some(timeout) = timeout else { return future.await.map_err(TaskFailure::from) };
            let ran = tokio::time::timeout(timeout, future).await;
            let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            ran.map_err(|_| TaskFailure::TimedOut { after_ms })?.map_err(TaskFailure::from)
        }),
    }
}

/// Runs a future on this thread's runtime, which lasts from one task to the next: what a task has spawned
/// goes on while the next one awaits.
fn on_runtime<T>(future: impl Future<Output = Result<T, TaskFailure>>) -> Result<T, TaskFailure> {
    thread_local! {
        static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
    }
    RUNTIME.with(|cell| {
        if cell.get().is_none() {
            let made = Builder::new_current_thread().enable_all().build();
            let made = made.map_err(|error| Failure {
                chain: vec!["cannot make a runtime for an async task".into(), error.to_string()],
            })?;
            let _ = cell.set(made);
        }
        match cell.get() {
            Some(runtime) => runtime.block_on(future),
            None => Err(Failure { chain: vec!["there is no runtime".into()] }.into()),
        }
    })
}
