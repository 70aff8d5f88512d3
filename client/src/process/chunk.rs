//! Runs tasks: a chunk of them in one monomorphised loop, or a single one.

use std::{any::Any, cell::OnceCell, time::Duration};

use mp_manager_proto::value;
use tokio::runtime::{Builder, Runtime};

use crate::{
    failure::TaskFailure,
    process::{
        arguments::Arguments,
        panics::{Noise, catch},
        task::{Failure, Running, Task},
    },
    rpc::codec,
};

/// A chunk that a worker is to run.
pub(crate) struct Chunk<'a> {
    /// The arguments: a MessagePack array of tuples.
    pub(crate) args: &'a [u8],
    /// How many tasks at its beginning are done already.
    pub(crate) skip: usize,
    /// Where the arguments after those begin, if that is known.
    pub(crate) offset: Option<usize>,
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

/// The outcomes of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    /// The results of the tasks that have one, in order: the elements of a MessagePack array, after room for its
    /// header ([`ARRAY_HEADER_LEN`]).
    pub(crate) results: Vec<u8>,
    /// The tasks that have none, by their index in the chunk, in order.
    pub(crate) failures: Vec<(usize, TaskFailure)>,
    /// How many tasks are done, with those that were skipped; the first `done - skip - failures.len()` of
    /// the results belong to them. Fewer than there are if the chunk was stopped.
    pub(crate) done: usize,
    /// Where the arguments of the next task begin.
    pub(crate) offset: usize,
    /// Where the result of the last task begins, and its references, if it is too long to be with the others.
    pub(crate) apart: Option<(usize, usize)>,
    /// Results with proxies in them, to be kept until others can hold what those refer to.
    pub(crate) kept: Vec<Box<dyn Any + Send>>,
}

/// Runs a chunk, without a dynamic call or an allocation for each task that has none of its own.
///
/// # Errors
/// If the arguments are no array, or one that ends before those to be run; no task ran then. Those from the
/// first that is malformed on have failed.
pub(super) fn run<T: Task>(chunk: &mut Chunk<'_>) -> Result<Outcomes, value::CodecError> {
    let (there, mut rest) = value::array(chunk.args)?;
    let len = chunk.skip.saturating_add(chunk.len);
    if len > there {
        return Err(value::CodecError::Malformed("there are fewer arguments than tasks"));
    }
    match chunk.offset.and_then(|offset| chunk.args.get(offset..)) {
        Some(known) => rest = known,
        None => {
            for _ in 0..chunk.skip {
                (_, rest) = value::split(rest)?;
            }
        }
    }
    let mut outcomes = Outcomes { done: chunk.skip, ..Outcomes::default() };
    // Most results are about as long as their arguments.
    outcomes.results.reserve(ARRAY_HEADER_LEN + rest.len().min(MAX_RESERVED_BYTES));
    outcomes.results.resize(ARRAY_HEADER_LEN, 0);
    while outcomes.done < len {
        (chunk.on_start)(outcomes.done);
        let before = rest;
        let (bytes, refs) = (outcomes.results.len(), codec::collected());
        if let Err(failure) = one::<T>(&mut rest, chunk, refs, &mut outcomes) {
            outcomes.failures.push((outcomes.done, failure));
            match value::split(before) {
                Ok((_, after)) => rest = after,
                // Nobody knows where the next ones begin.
                Err(error) => {
                    let message = error.to_string();
                    let lost = |at| (at, TaskFailure::Undecodable { message: message.clone() });
                    outcomes.failures.extend((outcomes.done + 1..len).map(lost));
                    outcomes.done = len;
                    break;
                }
            }
        }
        outcomes.done += 1;
        if bytes > ARRAY_HEADER_LEN && outcomes.results.len() > chunk.max_result_bytes {
            outcomes.apart = Some((bytes, refs));
            break;
        }
        if outcomes.done < len && (chunk.stop)(outcomes.results.len()) {
            break;
        }
    }
    outcomes.offset = chunk.args.len() - rest.len();
    Ok(outcomes)
}

const MAX_RESERVED_BYTES: usize = 1 << 20;
/// The length of an array's header that has the number of its elements in 32 bits.
pub(crate) const ARRAY_HEADER_LEN: usize = 5;

/// Runs one task with the first of the arguments, which it takes off, and appends its result. A failure leaves
/// the results as they were, and the arguments anywhere.
fn one<T: Task>(
    rest: &mut &[u8],
    chunk: &Chunk<'_>,
    refs: usize,
    outcomes: &mut Outcomes,
) -> Result<(), TaskFailure> {
    let Outcomes { results, kept, .. } = outcomes;
    let before = results.len();
    let (max_bytes, timeout) = (chunk.max_result_bytes, chunk.timeout);
    // Everything that is of the task's making is within: decoding, the text of its error, encoding.
    let ran = catch(Noise::Quiet, || {
        let args = match value::decode_first(rest) {
            Ok((args, after)) => {
                *rest = after;
                args
            }
            // It says why, or finds another way.
            Err(_) => {
                let malformed = |error: value::CodecError| TaskFailure::Undecodable {
                    message: error.to_string(),
                };
                let (args, after) = value::split(rest).map_err(malformed)?;
                *rest = after;
                Arguments::Here(args).take()?
            }
        };
        let output = call::<T>(args, timeout)?;
        value::encode_into(&output, results)
            .map_err(|error| TaskFailure::Unserialisable { message: error.to_string() })?;
        if codec::collected() > refs {
            kept.push(Box::new(output));
        }
        Ok(())
    });
    let bytes = results.len() - before;
    let ran = match ran.and_then(|ran| ran) {
        Ok(()) if bytes.saturating_add(ARRAY_HEADER_LEN) > max_bytes => {
            Err(TaskFailure::ResultTooLarge { bytes, max_bytes })
        }
        ran => ran,
    };
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

#[cfg(test)]
mod tests {
    use std::fmt;

    use serde::{Deserialize, Serialize, Serializer};

    use super::*;
    use crate::{process::registry::Entry, task};

    const ENDLESS: usize = usize::MAX;

    fn args<A: Serialize>(args: &[A]) -> Vec<u8> {
        value::encode(args).unwrap()
    }

    /// Runs a chunk with options that say nothing unless they are set.
    struct Run<'a> {
        args: &'a [u8],
        skip: usize,
        stop_at: usize,
        max_result_bytes: usize,
        timeout: Option<Duration>,
    }

    impl<'a> Run<'a> {
        fn of(args: &'a [u8]) -> Self {
            Self { args, skip: 0, stop_at: ENDLESS, max_result_bytes: ENDLESS, timeout: None }
        }

        fn with<T: Task>(self, _: T) -> Result<(Outcomes, Vec<usize>), value::CodecError> {
            let mut started = Vec::new();
            let mut done = self.skip;
            let there = value::array(self.args).map_or(1, |(len, _)| len);
            let outcomes = Entry::of::<T>("", 0).run_chunk(&mut Chunk {
                args: self.args,
                skip: self.skip,
                offset: None,
                len: there.saturating_sub(self.skip),
                on_start: &mut |index| started.push(index),
                stop: &mut |_| {
                    done += 1;
                    done >= self.stop_at
                },
                max_result_bytes: self.max_result_bytes,
                timeout: self.timeout,
            });
            outcomes.map(|outcomes| (outcomes, started))
        }
    }

    /// The elements, as values of one type.
    fn results<T: serde::de::DeserializeOwned>(outcomes: &Outcomes) -> Vec<T> {
        let mut rest = outcomes.results.get(ARRAY_HEADER_LEN..).unwrap_or_default();
        let mut results = Vec::new();
        while !rest.is_empty() {
            let one;
            (one, rest) = value::split(rest).unwrap();
            results.push(value::decode(one).unwrap());
        }
        results
    }

    #[task]
    fn add(a: i64, b: i64) -> i64 {
        a + b
    }

    #[test]
    fn a_chunk_has_its_results_in_order() {
        let args = args(&[(1, 2), (3, 4), (5, 6)]);
        let (outcomes, started) = Run::of(&args).with(add).unwrap();
        assert_eq!(results::<i64>(&outcomes), [3, 7, 11]);
        assert_eq!((outcomes.done, started), (3, vec![0, 1, 2]));
        assert!(outcomes.failures.is_empty());
    }

    #[test]
    fn a_chunk_that_was_stopped_goes_on_where_it_was() {
        let args = args(&[(1, 2), (3, 4), (5, 6)]);
        let (outcomes, _) = Run { stop_at: 1, ..Run::of(&args) }.with(add).unwrap();
        assert_eq!((results::<i64>(&outcomes), outcomes.done), (vec![3], 1));
        let (outcomes, started) = Run { skip: 1, ..Run::of(&args) }.with(add).unwrap();
        assert_eq!((results::<i64>(&outcomes), started), (vec![7, 11], vec![1, 2]));
    }

    #[test]
    fn what_is_no_array_is_refused() {
        for bytes in [&[][..], &[0xc0]] {
            assert!(Run::of(bytes).with(add).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn from_the_first_malformed_arguments_on_tasks_fail() {
        for (bytes, good) in [(&[0x93, 0x92, 1, 2, 0xc1, 3][..], vec![3]), (&[0x92, 0xc1], vec![])]
        {
            let (outcomes, started) = Run::of(bytes).with(add).unwrap();
            assert_eq!(results::<i64>(&outcomes), good);
            assert_eq!((outcomes.failures.len(), outcomes.done), (2, good.len() + 2));
            let are_undecodable =
                |(_, failure): &(usize, _)| matches!(failure, TaskFailure::Undecodable { .. });
            assert!(outcomes.failures.iter().all(are_undecodable), "{:?}", outcomes.failures);
            assert_eq!(started.len(), good.len() + 1);
        }
    }

    #[test]
    fn arguments_of_other_types_fail_their_own_task() {
        let args = args(&[
            rmpv::Value::Array(vec![1.into(), 2.into()]),
            "no tuple".into(),
            rmpv::Value::Array(vec![1.into()]),
            rmpv::Value::Array(vec![1.into(), 2.into(), 3.into()]),
            rmpv::Value::Array(vec![3.into(), 4.into()]),
        ]);
        let (outcomes, _) = Run::of(&args).with(add).unwrap();
        assert_eq!(results::<i64>(&outcomes), [3, 7]);
        let failed: Vec<_> = outcomes.failures.iter().map(|(index, _)| *index).collect();
        assert_eq!(failed, [1, 2, 3]);
        for (_, failure) in outcomes.failures {
            assert!(matches!(failure, TaskFailure::Undecodable { .. }), "{failure:?}");
        }
    }

    #[derive(Debug)]
    struct Moody(u8);

    impl fmt::Display for Moody {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            assert!(self.0 != 1, "i have no text");
            f.write_str("a bad mood")
        }
    }

    impl std::error::Error for Moody {}

    #[derive(Deserialize)]
    struct Shy(u8);

    impl Serialize for Shy {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                3 => Err(serde::ser::Error::custom("i would rather not")),
                4 => panic!("i shall not"),
                n => serializer.serialize_u8(n),
            }
        }
    }

    #[task]
    fn mood(n: u8) -> Result<Shy, Moody> {
        match n {
            0 | 1 => Err(Moody(n)),
            2 => panic!("out of luck"),
            n => Ok(Shy(n)),
        }
    }

    #[test]
    fn every_misfortune_is_that_of_one_task() {
        let args = args(&(0_u8..6).map(|n| (n,)).collect::<Vec<_>>());
        let (outcomes, _) = Run::of(&args).with(mood).unwrap();
        assert_eq!(results::<u8>(&outcomes), [5]);
        let failures: Vec<_> = outcomes.failures.into_iter().map(|(_, failure)| failure).collect();
        let [failed, textless, panicked, refused, unwritable] = &failures[..] else {
            panic!("{failures:?}")
        };
        assert_eq!(*failed, TaskFailure::Failed { chain: vec!["a bad mood".into()] });
        assert!(matches!(refused, TaskFailure::Unserialisable { .. }), "{refused:?}");
        for (failure, text) in
            [(textless, "i have no text"), (panicked, "out of luck"), (unwritable, "i shall not")]
        {
            let TaskFailure::Panicked { message, location } = failure else {
                panic!("{failure:?}")
            };
            assert_eq!(message, text);
            assert!(location.contains("chunk.rs:"), "{location}");
        }
    }

    #[task]
    fn repeat(n: usize) -> String {
        "x".repeat(n)
    }

    #[test]
    fn a_result_that_is_too_large_is_left_out() {
        let args = args(&[(1,), (100,), (2,)]);
        let (outcomes, _) = Run { max_result_bytes: 50, ..Run::of(&args) }.with(repeat).unwrap();
        assert_eq!(results::<String>(&outcomes), ["x", "xx"]);
        let failure = TaskFailure::ResultTooLarge { bytes: 102, max_bytes: 50 };
        assert_eq!(outcomes.failures, [(1, failure)]);
    }

    #[task]
    async fn answer(waits: bool) -> u8 {
        if waits {
            std::future::pending::<()>().await;
        }
        tokio::task::yield_now().await;
        42
    }

    #[test]
    fn an_async_task_runs_and_is_dropped_when_its_time_is_over() {
        let args = args(&[(false,), (true,), (false,)]);
        let timeout = Some(Duration::from_millis(5));
        let (outcomes, _) = Run { timeout, ..Run::of(&args) }.with(answer).unwrap();
        assert_eq!(results::<u8>(&outcomes), [42, 42]);
        assert_eq!(outcomes.failures, [(1, TaskFailure::TimedOut { after_ms: 5 })]);
    }

    /// A task that loses what it spawned.
    #[task]
    async fn spawn_one_that_panics() -> bool {
        tokio::spawn(async { panic!("not the task") }).await.is_err()
    }

    #[test]
    fn a_panic_of_what_a_task_spawned_is_not_its_own() {
        let args = args(&[()]);
        let (outcomes, _) = Run::of(&args).with(spawn_one_that_panics).unwrap();
        assert_eq!(results::<bool>(&outcomes), [true]);
    }
}
