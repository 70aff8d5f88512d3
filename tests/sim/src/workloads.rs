//! What the processes do with the manager: each of them in terms of the public proxies, and with an
//! eye on what must hold.

mod busy;
mod directory;
mod hoard;
mod pool;
mod references;
mod waiters;

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use mp_manager::{Error, Fence, LockGuard, Manager, Permit, Queue, RLockGuard, Result, Value};

pub(crate) use self::pool::Staff;
use crate::{
    client::{Alarm, Sleep, Task},
    event::Event,
    invariants::{Held, Holder, Oracle},
    network::ClientId,
    plan::{Plan, Workload},
    world::{Micros, World},
};

const PERMITS: usize = 3;
const PARTIES: usize = 2;
const SECOND: Micros = 1_000_000;

/// When things happen, and how long they take.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Nothing goes wrong any more from then on.
    pub(crate) calm_from: Micros,
    /// And nobody waits for the dead any more.
    pub(crate) settled_from: Micros,
    /// How long a task does nothing, at most.
    pub(crate) longest_pause: Micros,
    /// How long a session lasts without a word.
    pub(crate) lease: Micros,
}

/// What a process' tasks know.
#[derive(Clone)]
pub(crate) struct Context {
    world: Rc<World<Event>>,
    oracle: Rc<RefCell<Oracle>>,
    manager: Manager,
    process: ClientId,
    times: Times,
    stops: Rc<Cell<u64>>,
    /// How many sessions it has had.
    sessions: Rc<Cell<u64>>,
    /// Ends the process, once it is set.
    exits: Rc<Cell<bool>>,
    staff: Rc<Staff>,
    /// How much longer than it should anything may take, as tasks wait for a processor.
    slack: Micros,
    /// Answers are always there within a fraction of the time that a client waits for them.
    is_quick: bool,
}

/// What a process' tasks share with those who run it.
type Shared<'a> = (&'a Rc<Cell<u64>>, &'a Rc<Cell<u64>>, &'a Rc<Cell<bool>>, &'a Rc<Staff>);

/// The tasks of one process.
pub(crate) fn tasks(plan: &Plan, context: &Context) -> Vec<Task> {
    let rounds = plan.rounds;
    let mut tasks: Vec<Task> = Vec::new();
    // A process of a host is replaced whenever it ends: by the end the others look at what is left, and nobody may
    // begin anew with that.
    let is_late = plan.cluster.is_some() && context.world.now() >= context.times.calm_from;
    for workload in &plan.workloads {
        if is_late && *workload != Workload::Pool {
            continue;
        }
        let again = || context.clone();
        match workload {
            Workload::Lock => {
                for _ in 0..=context.world.below(4) {
                    tasks.push(Box::pin(lock(again(), rounds)));
                }
            }
            // Its owner is the thread: there is one for each process.
            Workload::RLock => tasks.push(Box::pin(rlock(again(), rounds))),
            Workload::Permits => tasks.push(Box::pin(permits(again(), rounds))),
            Workload::Count => tasks.push(Box::pin(count(again(), rounds * 3))),
            Workload::Queue => {
                tasks.push(Box::pin(produce(again(), rounds)));
                tasks.push(Box::pin(consume(again())));
            }
            Workload::Barrier => tasks.push(Box::pin(barrier(again(), rounds))),
            Workload::Condition => {
                // Its lock's owner is the thread: two tasks would not exclude each other.
                if context.process.is_multiple_of(2) {
                    tasks.push(Box::pin(fill(again(), rounds)));
                } else {
                    tasks.push(Box::pin(take(again(), rounds)));
                }
            }
            Workload::Event => tasks.push(Box::pin(event(again(), rounds))),
            Workload::Directory => tasks.extend(directory::tasks(context, rounds)),
            Workload::References => tasks.push(Box::pin(references::exchange(again(), rounds))),
            Workload::Busy => {
                for task in 0..=context.world.below(2) {
                    tasks.push(Box::pin(busy::sort_and_combine(again(), task, rounds)));
                }
            }
            Workload::Waiters => {
                let waiters = plan.limits.max_open_requests.min(70) + 4;
                tasks.extend(waiters::tasks(context, waiters));
            }
            Workload::Pool => tasks.extend(match plan.cluster {
                Some(cluster) => pool::hosts::tasks(context, cluster, rounds),
                None => pool::tasks(context, plan.workers(), rounds),
            }),
            Workload::Hoard => tasks.push(Box::pin(hoard::hoard(again(), rounds))),
        }
    }
    tasks.push(Box::pin(come_back(context.clone())));
    tasks
}

impl Context {
    pub(crate) fn new(
        world: &Rc<World<Event>>,
        oracle: &Rc<RefCell<Oracle>>,
        manager: Manager,
        process: ClientId,
        times: Times,
        (stops, sessions, exits, staff): Shared<'_>,
        (slack, is_quick): (Micros, bool),
    ) -> Self {
        let (world, oracle) = (Rc::clone(world), Rc::clone(oracle));
        let (stops, sessions) = (Rc::clone(stops), Rc::clone(sessions));
        let (exits, staff) = (Rc::clone(exits), Rc::clone(staff));
        Self {
            world,
            oracle,
            manager,
            process,
            times,
            stops,
            sessions,
            exits,
            staff,
            slack,
            is_quick,
        }
    }

    fn sleep(&self, time: Micros) -> Sleep {
        let alarm = Rc::new(Alarm::default());
        self.world.after(time, Event::Ring(Rc::clone(&alarm)));
        Sleep::new(alarm)
    }

    async fn sleep_until(&self, time: Micros) {
        self.sleep(time.saturating_sub(self.world.now())).await;
    }

    async fn pause(&self) {
        let longest = *self.world.pick(&[100, 5_000, 300_000]).unwrap_or(&100);
        self.sleep(self.world.below(longest.min(self.times.longest_pause))).await;
    }

    /// The outcome, unless its caller loses patience: the call is given up then.
    async fn patiently<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        if !self.world.one_in(5) {
            return Some(future.await);
        }
        let longest = *self.world.pick(&[50, 2_000, 100_000, 2_000_000]).unwrap_or(&50);
        let mut patience = pin!(self.sleep(self.world.below(longest)));
        let mut future = pin!(future);
        // Some would rather not have what has come too late.
        let is_strict = self.world.one_in(2);
        std::future::poll_fn(|cx| {
            if is_strict && patience.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(result) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(result));
            }
            patience.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// The outcome of a call with a timeout, which must end it.
    async fn timed<T>(
        &self,
        operation: &str,
        timeout: Duration,
        future: impl Future<Output = T>,
    ) -> T {
        let (began, stops) = (self.world.now(), self.stops.get());
        let output = future.await;
        if self.stops.get() == stops {
            let took = self.world.now() - began;
            let mut oracle = self.oracle.borrow_mut();
            oracle.silence.ended(self.process, operation, timeout, took, self.slack);
        }
        output
    }

    /// What was asked for, unless it failed with its session, as it may.
    fn expect<T>(&self, operation: &str, result: Result<T>) -> Option<T> {
        if let Err(error @ (Error::OutcomeUnknown(_) | Error::Unreachable(_))) = &result
            && self.is_answered_in_time()
        {
            let error = format!("long after the last trouble: {error}");
            self.oracle.borrow_mut().calls.failed(self.process, operation, &error);
        }
        match result {
            Ok(value) => Some(value),
            Err(
                Error::SessionLost(_)
                | Error::ManagerRestarted(_)
                | Error::OutcomeUnknown(_)
                | Error::Unreachable(_),
            ) => {
                self.oracle.borrow_mut().wakeups.somebody_died();
                None
            }
            Err(error) => {
                let error = error.to_string();
                self.oracle.borrow_mut().calls.failed(self.process, operation, &error);
                None
            }
        }
    }

    /// As [`expect`](Self::expect), of a call with a timeout. While the server stands still, calls that were given
    /// up stay open, so that there may be no room for another one until its time is over.
    fn expect_in_time<T>(&self, operation: &str, result: Result<T>) -> Option<T> {
        match result {
            Err(Error::LimitExceeded(_)) if !self.is_answered_in_time() => None,
            result => self.expect(operation, result),
        }
    }

    /// Whether whatever is asked now is answered before a client's own clock would end its call.
    fn is_answered_in_time(&self) -> bool {
        self.is_quick && self.world.now() > self.times.calm_from + 6 * SECOND + 2 * self.times.lease
    }

    /// Opens something, for as long as it takes.
    async fn open<T, F: Future<Output = Result<T>>>(
        &self,
        mut open: impl FnMut(&Manager) -> F,
    ) -> T {
        loop {
            if let Some(opened) = self.expect("open", open(&self.manager).await) {
                return opened;
            }
            self.pause().await;
        }
    }

    fn note(&self, what: std::fmt::Arguments<'_>) {
        let process = self.process;
        let now = self.world.now();
        self.world.trace.borrow_mut().note(now, format_args!("process {process}: {what}"));
    }
}

impl Holder for RefCell<Option<LockGuard>> {
    fn believes_to_hold(&self) -> bool {
        self.borrow().as_ref().is_some_and(|guard| !guard.is_lost())
    }
}

impl Holder for RefCell<Option<RLockGuard>> {
    fn believes_to_hold(&self) -> bool {
        self.borrow().as_ref().is_some_and(|guard| !guard.is_lost())
    }
}

impl Holder for RefCell<Option<Permit>> {
    fn believes_to_hold(&self) -> bool {
        self.borrow().as_ref().is_some_and(|permit| !permit.is_lost())
    }
}

async fn lock(my: Context, rounds: u64) {
    const NAME: &str = "lock";
    let lock = my.open(|manager| manager.lock(NAME).open()).await;
    let written = my.open(|manager| manager.value("written", &0_u64).open()).await;
    for _ in 0..rounds {
        my.pause().await;
        let acquired = if my.world.one_in(3) {
            let timeout = Duration::from_micros(my.world.below(3 * SECOND));
            let acquire = my.timed("acquire_timeout", timeout, lock.acquire_timeout(timeout));
            let acquired = my.patiently(acquire).await;
            acquired.and_then(|result| my.expect_in_time("acquire", result)).flatten()
        } else {
            let acquired = my.patiently(lock.acquire()).await;
            acquired.and_then(|result| my.expect("acquire", result))
        };
        let Some(guard) = acquired else {
            continue;
        };
        let token = guard.token();
        my.note(format_args!("has the lock, {token}"));
        let held: Held<LockGuard> = Rc::new(RefCell::new(Some(guard)));
        let holder = Rc::clone(&held) as Rc<dyn Holder>;
        my.oracle.borrow_mut().mutual_exclusion.acquired(NAME, my.process, token, &holder);
        my.pause().await;
        if my.world.one_in(8) {
            // Long enough to lose it.
            my.sleep(my.world.below(4 * SECOND)).await;
        }
        let fenced = held.borrow().as_ref().map(|guard| written.fenced(guard));
        if let Some(fenced) = fenced {
            match my.patiently(fenced.swap(&token)).await {
                Some(Err(Error::Fenced(_))) | None => {}
                Some(result) => {
                    if let Some(previous) = my.expect("swap", result) {
                        my.oracle.borrow_mut().mutual_exclusion.wrote(NAME, token, previous);
                    }
                }
            }
        }
        my.pause().await;
        let guard = held.borrow_mut().take();
        my.note(format_args!("lets go of the lock, {token}"));
        if let Some(guard) = guard
            && my.world.one_in(2)
        {
            let fence = Fence::from(&guard);
            match my.patiently(guard.release()).await {
                Some(Err(Error::NotHeld(_))) | None => {}
                Some(result) => {
                    if my.expect("release", result).is_some() {
                        write_late(&my, NAME, &written.fenced(fence), token).await;
                    }
                }
            }
        }
    }
}

/// As a process would that was told the fence, and does not know that its grant is over.
async fn write_late(my: &Context, lock: &str, fenced: &Value<u64>, token: u64) {
    match my.patiently(fenced.swap(&token)).await {
        Some(Err(Error::Fenced(_))) | None => {}
        Some(result) => {
            if my.expect("swap", result).is_some() {
                my.oracle.borrow_mut().mutual_exclusion.wrote_late(lock, token);
            }
        }
    }
}

async fn rlock(my: Context, rounds: u64) {
    const NAME: &str = "rlock";
    let lock = my.open(|manager| manager.rlock(NAME).open()).await;
    for _ in 0..rounds {
        my.pause().await;
        let acquired = my.patiently(lock.acquire()).await;
        let Some(guard) = acquired.and_then(|result| my.expect("acquire", result)) else {
            continue;
        };
        let token = guard.token();
        my.note(format_args!("has the re-entrant lock, {token}"));
        let held: Held<RLockGuard> = Rc::new(RefCell::new(Some(guard)));
        let holder = Rc::clone(&held) as Rc<dyn Holder>;
        my.oracle.borrow_mut().mutual_exclusion.acquired(NAME, my.process, token, &holder);
        my.pause().await;
        let again = my.patiently(lock.acquire()).await;
        if let Some(again) = again.and_then(|result| my.expect("acquire", result)) {
            // Or it was lost, and is another's level now.
            if again.token() != token {
                let held: Held<RLockGuard> = Rc::new(RefCell::new(Some(again)));
                let holder = Rc::clone(&held) as Rc<dyn Holder>;
                let token = held.borrow().as_ref().map_or(0, RLockGuard::token);
                my.oracle.borrow_mut().mutual_exclusion.acquired(NAME, my.process, token, &holder);
                my.pause().await;
            }
        }
        my.pause().await;
        let guard = held.borrow_mut().take();
        if let Some(guard) = guard
            && my.world.one_in(2)
        {
            match my.patiently(guard.release()).await {
                Some(Err(Error::NotHeld(_) | Error::NotOwner(_))) | None => {}
                Some(result) => _ = my.expect("release", result),
            }
        }
    }
}

async fn permits(my: Context, rounds: u64) {
    const NAME: &str = "permits";
    let semaphore = my.open(|manager| manager.bounded_semaphore(NAME, PERMITS).open()).await;
    for _ in 0..rounds {
        my.pause().await;
        let wanted = 1 + usize::try_from(my.world.below(PERMITS as u64)).unwrap_or(0);
        let acquired = my.patiently(semaphore.acquire_many(wanted)).await;
        let Some(permit) = acquired.and_then(|result| my.expect("acquire_many", result)) else {
            continue;
        };
        let token = permit.token();
        my.note(format_args!("has {wanted} permits, {token}"));
        let held: Held<Permit> = Rc::new(RefCell::new(Some(permit)));
        let holder = Rc::clone(&held) as Rc<dyn Holder>;
        let numbers = (wanted as u64, PERMITS as u64);
        my.oracle.borrow_mut().permits.acquired(NAME, numbers, token, &holder);
        my.pause().await;
        let permit = held.borrow_mut().take();
        if let Some(permit) = permit
            && my.world.one_in(2)
        {
            match my.patiently(permit.release()).await {
                Some(Err(Error::NotHeld(_))) | None => {}
                Some(result) => _ = my.expect("release", result),
            }
        }
    }
    // By then everybody is here, and nobody holds any for ever.
    my.sleep_until(my.times.settled_from).await;
    if let Some(available) = my.expect("available", semaphore.available().await) {
        my.oracle.borrow_mut().permits.available(NAME, available as u64, PERMITS as u64);
    }
}

async fn count(my: Context, rounds: u64) {
    const NAME: &str = "counter";
    let counter = my.open(|manager| manager.value(NAME, &0_u64).open()).await;
    for _ in 0..rounds {
        my.pause().await;
        my.oracle.borrow_mut().exactly_once.begins(NAME);
        match my.patiently(counter.add(&1)).await {
            Some(Ok(value)) => my.oracle.borrow_mut().exactly_once.confirmed(NAME, value),
            // It was not even sent.
            Some(Err(Error::SessionLost(_) | Error::ManagerRestarted(_))) => {
                my.oracle.borrow_mut().exactly_once.refused(NAME);
            }
            Some(result) => _ = my.expect("add", result),
            None => {}
        }
    }
    if let Some(value) = my.expect("get", counter.get().await) {
        my.oracle.borrow_mut().exactly_once.seen(NAME, value);
    }
}

type Item = (u64, u64);

async fn produce(my: Context, rounds: u64) {
    let queue = my.open(|manager| manager.queue::<Item>("queue").maxsize(6).open()).await;
    let producer = my.process as u64;
    for number in 0..rounds * 2 {
        my.pause().await;
        let item = (producer, number);
        my.oracle.borrow_mut().queue.putting(item);
        let put = match my.world.below(3) {
            0 => {
                let timeout = Duration::from_micros(my.world.below(SECOND));
                let put = my.timed("put_timeout", timeout, queue.put_timeout(&item, timeout));
                my.patiently(put).await
            }
            _ => my.patiently(queue.put(&item)).await,
        };
        match put {
            Some(Ok(())) => my.oracle.borrow_mut().queue.put(item),
            Some(Err(Error::QueueFull(_) | Error::SessionLost(_))) => {
                my.oracle.borrow_mut().queue.not_put(item);
            }
            result => {
                // It may come about as long as its session goes on, also after what comes next.
                my.oracle.borrow_mut().queue.doubt(item);
                let _ = result.map(|result| my.expect_in_time("put", result));
            }
        }
    }
}

async fn consume(my: Context) {
    let queue = my.open(|manager| manager.queue::<Item>("queue").maxsize(6).open()).await;
    let consumer = my.process as u64;
    loop {
        my.pause().await;
        let is_last = my.world.now() > my.times.calm_from + 30 * SECOND;
        // An answer that comes after its timeout says nothing of what is there.
        let least = if is_last { 4 * SECOND } else { 0 };
        let timeout = Duration::from_micros(least + my.world.below(4 * SECOND));
        if my.world.one_in(2) && !is_last {
            let lease = my.timed("lease_timeout", timeout, queue.lease_timeout(timeout));
            let leased = my.patiently(lease).await;
            let leased = leased.and_then(|result| my.expect_in_time("lease", result));
            let Some(leased) = leased.flatten() else { continue };
            let item = *leased;
            my.note(format_args!("leases {item:?}"));
            my.oracle.borrow_mut().queue.received(consumer, item, leased.deliveries());
            my.pause().await;
            match my.world.below(4) {
                0 => drop(leased),
                1 => drop(leased.reject().await),
                _ => {
                    my.oracle.borrow_mut().queue.settled(item);
                    match my.patiently(leased.done()).await {
                        Some(Ok(())) => my.oracle.borrow_mut().queue.finished(item),
                        Some(Err(Error::NotHeld(_))) | None => {}
                        Some(result) => _ = my.expect("done", result),
                    }
                }
            }
            continue;
        }
        if my.world.one_in(4) && !is_last {
            change_its_mind(&my, &queue).await;
            continue;
        }
        let get = my.timed("get_timeout", timeout, queue.get_counted_timeout(timeout));
        let got = my.patiently(get).await;
        match got.and_then(|result| my.expect_in_time("get", result)) {
            Some(Some(received)) => {
                my.note(format_args!("gets {:?}", received.value));
                let mut oracle = my.oracle.borrow_mut();
                oracle.queue.received(consumer, received.value, received.deliveries);
                oracle.queue.settled(received.value);
            }
            Some(None) if is_last => return my.oracle.borrow_mut().queue.drained(),
            _ => {}
        }
    }
}

/// Gives a call up when its answer may have arrived, and later ones have.
async fn change_its_mind(my: &Context, queue: &Queue<Item>) {
    let timeout = Duration::from_micros(my.world.below(2 * SECOND));
    let mut get = pin!(queue.get_timeout(timeout));
    let began = std::future::poll_fn(|cx| Poll::Ready(get.as_mut().poll(cx))).await;
    if let Poll::Ready(result) = began {
        let _ = my.expect("get", result);
        return;
    }
    for _ in 0..2 {
        my.expect("len", queue.len().await);
    }
}

/// Whoever waits at the barrier, until it does not any more.
struct Arrival {
    my: Context,
    call: u64,
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // It may count until the manager knows.
        let over = self.my.world.now() + 20 * SECOND;
        self.my.oracle.borrow_mut().barrier.leaves(self.call, over);
    }
}

async fn barrier(my: Context, rounds: u64) {
    const NAME: &str = "barrier";
    let barrier = my.open(|manager| manager.barrier(NAME, PARTIES).open()).await;
    for _ in 0..rounds {
        my.pause().await;
        let timeout = Duration::from_micros(SECOND + my.world.below(3 * SECOND));
        let call = my.oracle.borrow_mut().barrier.arrives(my.world.now());
        let arrival = Arrival { my: my.clone(), call };
        let wait = my.timed("barrier.wait_timeout", timeout, barrier.wait_timeout(timeout));
        match my.patiently(wait).await {
            Some(Ok(_)) => {
                let now = my.world.now();
                my.oracle.borrow_mut().barrier.passes(NAME, call, PARTIES, now);
            }
            Some(Err(Error::BarrierBroken(_))) => drop(barrier.reset().await),
            Some(Err(error)) => _ = my.expect_in_time("wait", Err::<(), _>(error)),
            None => {}
        }
        drop(arrival);
    }
}

/// Puts something where others wait for it, and wakes one of them.
async fn fill(my: Context, rounds: u64) {
    let condition = my.open(|manager| manager.condition("condition").open()).await;
    let items = my.open(|manager| manager.value("items", &0_u64).open()).await;
    for _ in 0..rounds {
        my.pause().await;
        let Some(guard) = my.expect("acquire", condition.acquire().await) else { continue };
        if my.expect("add", items.add(&1).await).is_some() {
            match guard.notify_one().await {
                Err(Error::NotOwner(_) | Error::NotHeld(_)) => {
                    my.oracle.borrow_mut().wakeups.somebody_died();
                }
                result => _ = my.expect("notify_one", result),
            }
        }
    }
    if my.process > 0 {
        return;
    }
    // Until then whoever was woken may still stand behind the dead in the lock's line.
    my.sleep_until(my.times.settled_from).await;
    let since = my.world.now();
    if my.expect("get", items.get().await).is_some_and(|items| items > 0) {
        my.sleep(15 * SECOND).await;
        if my.expect("get", items.get().await).is_some_and(|items| items > 0) {
            my.oracle.borrow_mut().wakeups.something_is_there(since);
        }
    }
}

async fn take(my: Context, rounds: u64) {
    let condition = my.open(|manager| manager.condition("condition").open()).await;
    let items = my.open(|manager| manager.value("items", &0_u64).open()).await;
    for _ in 0..rounds {
        my.pause().await;
        let Some(mut guard) = my.expect("acquire", condition.acquire().await) else { continue };
        loop {
            let Some(there) = my.expect("get", items.get().await) else { break };
            if there > 0 {
                my.expect("set", items.set(&(there - 1)).await);
                break;
            }
            let end = my.times.settled_from + 30 * SECOND;
            let timeout = end.saturating_sub(my.world.now());
            my.oracle.borrow_mut().wakeups.waits(my.process, my.world.now());
            let waited = condition.wait_timeout(guard, Duration::from_micros(timeout)).await;
            my.oracle.borrow_mut().wakeups.goes_on(my.process);
            match waited {
                Ok((woken, true)) => guard = woken,
                Ok((_, false)) => return,
                Err(Error::NotHeld(_) | Error::NotOwner(_)) => break,
                Err(error) => {
                    my.expect("wait", Err::<(), _>(error));
                    break;
                }
            }
        }
    }
}

async fn event(my: Context, rounds: u64) {
    let event = my.open(|manager| manager.event("event").open()).await;
    for _ in 0..rounds {
        my.pause().await;
        match my.world.below(3) {
            0 => _ = my.patiently(event.set()).await.map(|result| my.expect("set", result)),
            1 => _ = my.patiently(event.clear()).await.map(|result| my.expect("clear", result)),
            _ => {
                let timeout = Duration::from_micros(my.world.below(5 * SECOND));
                let wait = my.timed("event.wait_timeout", timeout, event.wait_timeout(timeout));
                let waited = my.patiently(wait).await;
                let _ = waited.map(|result| my.expect_in_time("wait", result));
            }
        }
    }
    // The last one to come here lets everybody go, however long it has to try.
    while my.expect("set", event.set().await).is_none() {
        my.pause().await;
    }
    my.expect("wait", event.wait().await);
}

/// However long the manager was away: once it is back, the client is, too.
async fn come_back(my: Context) {
    my.sleep_until(my.times.settled_from).await;
    let mut opened = my.manager.value("here", &0_u64).open().await;
    for _ in 0..3 {
        if opened.is_ok() {
            return;
        }
        my.sleep(SECOND).await;
        opened = my.manager.value("here", &0_u64).open().await;
    }
    if let Err(error) = opened {
        my.oracle.borrow_mut().calls.failed(my.process, "open", &error.to_string());
    }
}
