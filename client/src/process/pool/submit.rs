//! Submits runs, and reads what came of them.

use std::{any::Any, collections::VecDeque, sync::Arc, time::Duration};

use mp_manager_proto::{
    v1::{Kind, PoolFailure, PoolFailureKind, PoolRun, PoolSegment, PoolTask, Value},
    value,
};

use crate::{
    error::{Error, Result},
    failure::TaskFailure,
    objects::pool::{Results, SharedPool},
    process::{
        pool::{backend::Backend, current, ran::Ran, submissions::Submissions},
        task::{BoxFuture, Task},
    },
    rpc::codec,
    session::link::Link,
};

/// A run has no more bytes of arguments than this, unless it is a single task.
const MAX_RUN_BYTES: usize = 256 << 10;

/// A run that is submitted when its future is polled.
pub(super) struct Submitted<T> {
    /// How many tasks it has.
    pub(super) count: usize,
    pub(super) ran: BoxFuture<Result<Ran<T>>>,
}

/// Where and how runs are submitted.
#[derive(Clone)]
pub(super) struct Submission {
    pub(super) backend: Backend,
    /// The pool does not end before what was submitted to it.
    pub(super) pool: Arc<dyn Any + Send + Sync>,
    pub(super) priority: i32,
    pub(super) timeout: Option<Duration>,
    pub(super) submissions: Arc<Submissions>,
    /// Nobody may ever read it to its end.
    pub(super) is_stream: bool,
    /// Whoever submits waits for the results, and does nothing else meanwhile.
    pub(super) is_awaited: bool,
    /// All workers are of this program.
    pub(super) is_own: bool,
}

impl Submission {
    /// Takes tasks from the iterator, `max` at most, and makes a run of them; `None` if there are none.
    ///
    /// # Errors
    /// If arguments cannot be encoded.
    pub(super) fn next<T: Task>(
        &self,
        inputs: &mut Inputs<T::Args>,
        max: usize,
    ) -> Result<Option<Submitted<T::Output>>> {
        match &self.backend {
            Backend::Threads(threads) => {
                let args: Vec<T::Args> = inputs.take(max).collect();
                let count = args.len();
                let run = || {
                    let (ran, pool) = (threads.run::<T>(args), Arc::clone(&self.pool));
                    let ran = async move {
                        let _pool = pool;
                        ran.await
                    };
                    Submitted { count, ran: Box::pin(ran) }
                };
                Ok((count > 0).then(run))
            }
            Backend::Workers(pool) => {
                let link = Arc::clone(pool.object().link());
                let Some(Encoded { args, count, kept }) = encode::<T>(inputs, max, &link)? else {
                    return Ok(None);
                };
                let timeout = self.timeout.map_or(0, |timeout| {
                    u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX).max(1)
                });
                let run = PoolRun {
                    task: Some(PoolTask {
                        name: T::NAME.into(),
                        signature: T::SIGNATURE.into(),
                        idempotent: T::IDEMPOTENT,
                        attempts: T::ATTEMPTS,
                    }),
                    args: Some(args),
                    count: u32::try_from(count).unwrap_or(u32::MAX),
                    priority: self.priority,
                    timeout_us: timeout,
                    within: self.within(pool),
                    again: Vec::new(),
                };
                let (shared, pool) = (pool.clone(), Arc::clone(&self.pool));
                let ran = async move {
                    let (_pool, _kept) = (pool, kept);
                    let results = shared.run_across_restarts(run).await?;
                    Ok(decode(&results, &link))
                };
                Ok(Some(Submitted { count, ran: Box::pin(ran) }))
            }
        }
    }
}

impl Submission {
    /// Asks how many workers there are, if they are not this program's.
    pub(super) fn census(&self) -> Option<BoxFuture<usize>> {
        let Backend::Workers(pool) = &self.backend else { return None };
        if self.is_own {
            return None;
        }
        let pool = pool.clone();
        Some(Box::pin(async move {
            let workers = pool.status().await.map_or(0, |status| status.workers);
            usize::try_from(workers).unwrap_or(usize::MAX)
        }))
    }

    /// The ticket of the task on this thread that waits for the run, if it is one of the same pool.
    fn within(&self, pool: &SharedPool) -> u64 {
        let current = current::ticket().filter(|_| self.is_awaited);
        current.filter(|(of, _)| *of == pool.object().reference()).map_or(0, |(_, token)| token)
    }
}

/// The inputs of a map, of which some may have to wait for the next run.
pub(super) struct Inputs<A> {
    /// Those that were drawn, in order.
    ahead: VecDeque<A>,
    rest: Box<dyn Iterator<Item = A> + Send>,
}

impl<A> Inputs<A> {
    pub(super) fn new(inputs: impl Iterator<Item = A> + Send + 'static) -> Self {
        Self { ahead: VecDeque::new(), rest: Box::new(inputs) }
    }

    /// Draws inputs until so many are ahead, or there are no more: whether any are.
    fn draw(&mut self, count: usize) -> bool {
        let missing = count.saturating_sub(self.ahead.len());
        self.ahead.extend(self.rest.by_ref().take(missing));
        !self.ahead.is_empty()
    }
}

impl<A> Iterator for Inputs<A> {
    type Item = A;

    fn next(&mut self) -> Option<A> {
        self.ahead.pop_front().or_else(|| self.rest.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let (more, (least, most)) = (self.ahead.len(), self.rest.size_hint());
        (least.saturating_add(more), most.and_then(|most| most.checked_add(more)))
    }
}

struct Encoded<A> {
    args: Value,
    count: usize,
    /// Arguments with proxies, until there are results: an end of a pipe among them stays open until the worker
    /// has one of its own.
    kept: Option<A>,
}

/// So many inputs are drawn at a time.
const DRAWN: usize = 64;

/// Encodes the arguments of some tasks as one array.
fn encode<T: Task>(
    inputs: &mut Inputs<T::Args>,
    max: usize,
    link: &Arc<Link>,
) -> Result<Option<Encoded<T::Args>>> {
    // The header of an array with a length of 32 bits, which is known in the end.
    let mut bytes = Vec::with_capacity(max.saturating_mul(8).min(MAX_RUN_BYTES).saturating_add(64));
    bytes.extend([0xdd, 0, 0, 0, 0]);
    let mut run = Draft { bytes, count: 0, max, max_bytes: link.session.max_value_bytes() };
    let (mut kept, mut refs) = (None, Vec::new());
    // Drawn outside of the encoding: the iterator may use proxies itself.
    while run.has_room() && inputs.draw(DRAWN.min(max - run.count)) {
        let (added, referred) =
            codec::collecting(link.server_id(), || run.add::<T>(&mut inputs.ahead));
        match added? {
            Added::All => {}
            Added::Some => break,
            Added::WithProxies(args) => {
                (kept, refs) = (Some(args), referred);
                break;
            }
        }
    }
    let Draft { mut bytes, count, .. } = run;
    bytes[1..5].copy_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
    let args = Value { data: bytes.into(), refs };
    Ok((count > 0).then_some(Encoded { args, count, kept }))
}

/// The arguments of a run that is being made.
struct Draft {
    bytes: Vec<u8>,
    count: usize,
    max: usize,
    max_bytes: usize,
}

/// Which of some arguments a run has.
enum Added<A> {
    All,
    /// The next one goes into the next run, as one that is too long for this, or alone with what it refers to.
    Some,
    /// The first one has proxies, and the run has no other: so it keeps objects alive for no longer than it needs them.
    WithProxies(A),
}

impl Draft {
    fn has_room(&self) -> bool {
        self.count < self.max && self.bytes.len() < MAX_RUN_BYTES.min(self.max_bytes)
    }

    fn add<T: Task>(&mut self, inputs: &mut VecDeque<T::Args>) -> Result<Added<T::Args>> {
        while self.has_room() {
            let Some(next) = inputs.pop_front() else { return Ok(Added::All) };
            let before = self.bytes.len();
            value::encode_into(&next, &mut self.bytes)
                .map_err(|error| cannot_encode::<T>(error.to_string()))?;
            let (len, has_proxies) = (self.bytes.len(), codec::collected() > 0);
            if self.count > 0 && (len > self.max_bytes || has_proxies) {
                self.bytes.truncate(before);
                inputs.push_front(next);
                return Ok(Added::Some);
            }
            if len > self.max_bytes {
                let message = format!("{len} bytes; the limit is {}", self.max_bytes);
                return Err(cannot_encode::<T>(message));
            }
            self.count += 1;
            if has_proxies {
                return Ok(Added::WithProxies(next));
            }
        }
        Ok(Added::All)
    }
}

fn cannot_encode<T: Task>(message: String) -> Error {
    let object = format!("{} {}", Kind::Pool.name(), T::NAME);
    Error::Encode(Box::new(crate::Context {
        operation: "run",
        object,
        message: format!("cannot encode the arguments: {message}"),
        ..crate::Context::default()
    }))
}

fn decode<T: serde::de::DeserializeOwned>(results: &Results, link: &Arc<Link>) -> Ran<T> {
    let mut ran = Ran {
        values: Vec::new(),
        failures: Vec::new(),
        elapsed: Duration::ZERO,
        workers: results.workers,
    };
    for segment in &results.segments {
        let before = ran.failures.len();
        for failure in &segment.failures {
            let told = read_failure(failure);
            for index in failure.index..failure.index.saturating_add(failure.count.max(1)) {
                ran.failures.push((index as usize, told.clone()));
            }
        }
        let failed = ran.failures.len() - before;
        let succeeded = (segment.count as usize).saturating_sub(failed);
        decode_values(segment, succeeded, before, link, &mut ran);
        ran.elapsed += Duration::from_micros(segment.elapsed_us);
    }
    ran
}

/// Decodes the results of a segment: all at once, or one by one if that fails, as one of them is then not
/// what it should be.
fn decode_values<T: serde::de::DeserializeOwned>(
    segment: &PoolSegment,
    succeeded: usize,
    before: usize,
    link: &Arc<Link>,
    ran: &mut Ran<T>,
) {
    if succeeded == 0 {
        return;
    }
    let data = segment.results.as_ref().map(|value| &value.data[..]).unwrap_or_default();
    if let Ok(values) = codec::decode::<Vec<T>>(data, link)
        && values.len() == succeeded
    {
        if ran.values.is_empty() {
            ran.values = values;
        } else {
            ran.values.extend(values);
        }
        return;
    }
    // The places of those that have a result.
    let failed: Vec<usize> = ran.failures[before..].iter().map(|(index, _)| *index).collect();
    let start = segment.start as usize;
    let places = (start..start + segment.count as usize).filter(|at| !failed.contains(at));
    let mut rest = value::array(data).map_or(&[][..], |(_, rest)| rest);
    for at in places {
        let decoded = value::split(rest).and_then(|(element, after)| {
            rest = after;
            codec::decode::<T>(element, link)
        });
        match decoded {
            Ok(value) => ran.values.push(value),
            Err(error) => {
                let message = error.to_string();
                ran.failures.push((at, TaskFailure::Unserialisable { message }));
            }
        }
    }
    ran.failures[before..].sort_by_key(|(index, _)| *index);
}

pub(crate) fn read_failure(failure: &PoolFailure) -> TaskFailure {
    use PoolFailureKind as K;
    let message = failure.message.clone();
    let death = failure.death.unwrap_or_default();
    match failure.kind() {
        K::Unspecified | K::Failed => {
            let chain = std::iter::once(message).chain(failure.causes.iter().cloned());
            TaskFailure::Failed { chain: chain.collect() }
        }
        K::Panicked => TaskFailure::Panicked { message, location: failure.location.clone() },
        K::WorkerLost => TaskFailure::WorkerLost {
            message,
            exit_code: death.exit_code,
            out_of_memory: death.out_of_memory,
        },
        K::Poisonous => TaskFailure::Poisonous { message, exit_code: death.exit_code },
        K::TimedOut => TaskFailure::TimedOut { after_ms: failure.message.parse().unwrap_or(0) },
        K::UnknownTask => TaskFailure::UnknownTask,
        K::SignatureMismatch => TaskFailure::SignatureMismatch {
            known: failure.causes.first().cloned().unwrap_or_default(),
            asked: failure.causes.get(1).cloned().unwrap_or_default(),
        },
        K::ResultTooLarge => match &failure.causes[..] {
            [bytes, max_bytes] => TaskFailure::ResultTooLarge {
                bytes: bytes.parse().unwrap_or(0),
                max_bytes: max_bytes.parse().unwrap_or(0),
            },
            _ => TaskFailure::Unserialisable { message },
        },
        K::Unencodable => TaskFailure::Undecodable { message },
    }
}

/// A failure as a worker reports it.
pub(crate) fn write_failure(index: u32, failure: TaskFailure) -> PoolFailure {
    use PoolFailureKind as K;
    let text = failure.to_string();
    let (kind, message, causes, location) = match failure {
        TaskFailure::Failed { chain } => {
            let mut chain = chain.into_iter();
            (K::Failed, chain.next().unwrap_or_default(), chain.collect(), String::new())
        }
        TaskFailure::Panicked { message, location } => (K::Panicked, message, Vec::new(), location),
        TaskFailure::TimedOut { after_ms } => {
            (K::TimedOut, after_ms.to_string(), Vec::new(), String::new())
        }
        TaskFailure::ResultTooLarge { bytes, max_bytes } => {
            let sizes = vec![bytes.to_string(), max_bytes.to_string()];
            (K::ResultTooLarge, text, sizes, String::new())
        }
        TaskFailure::Unserialisable { message } => {
            (K::ResultTooLarge, message, Vec::new(), String::new())
        }
        TaskFailure::Undecodable { message } => {
            (K::Unencodable, message, Vec::new(), String::new())
        }
        TaskFailure::UnknownTask => (K::UnknownTask, text, Vec::new(), String::new()),
        TaskFailure::SignatureMismatch { known, asked } => {
            (K::SignatureMismatch, text, vec![known, asked], String::new())
        }
        TaskFailure::WorkerLost { .. } => (K::WorkerLost, text, Vec::new(), String::new()),
        TaskFailure::Poisonous { .. } => (K::Poisonous, text, Vec::new(), String::new()),
    };
    PoolFailure { index, count: 1, kind: kind.into(), message, causes, location, death: None }
}
