//! Runs everything that belongs to a connection in one task: HTTP/2 itself, and each stream on it.
//!
//! A task of the runtime for each would cost more than what they do in it: a request would wake two of them after
//! another, and its reply two more. Here all are polled by whoever [drives](Tasks::drive) them, and what one of them
//! does for another one is taken up in the same poll.

use std::{
    fmt,
    future::{pending, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream::FuturesUnordered, task::AtomicWaker};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// After so many rounds in one poll other tasks have their turn. A request and its reply take three: reading,
/// the stream, writing.
const MAX_ROUNDS: usize = 4;
/// And after this long: large messages take milliseconds to encode and to write.
const MAX_TIME: Duration = Duration::from_millis(1);

/// The driver polls, and looks at the other flags before it ends.
const POLLING: u8 = 1;
/// The future beside the tasks was woken.
const FUTURE: u8 = 1 << 1;
/// The one beside that.
const SIDE: u8 = 1 << 2;
/// The busy task was woken.
const BUSY: u8 = 1 << 3;
/// Another task was woken.
const TASK: u8 = 1 << 4;
/// There are new tasks.
const NEW: u8 = 1 << 5;

/// Takes tasks in, which are polled by whoever has the [`Tasks`].
#[derive(Clone)]
pub struct Spawner(Arc<Shared>);

/// The futures that a driver polls beside the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The main future.
    Future,
    /// A future that is seldom woken: polled by its own wakes, it adds nothing to the polls of the main one.
    Side,
}

/// The tasks of one connection.
pub struct Tasks {
    running: FuturesUnordered<Task>,
    shared: Arc<Shared>,
    future: Waker,
    side: Waker,
    others: Waker,
}

#[derive(Default)]
struct Shared {
    /// Those that were never polled.
    new: Mutex<New>,
    /// It is taken out to be polled.
    busy: Mutex<Option<Busy>>,
    flags: AtomicU8,
    driver: AtomicWaker,
}

#[derive(Default)]
struct New {
    busy: Option<Task>,
    others: Vec<Task>,
}

/// The task that has the most to do, and what wakes it.
struct Busy {
    task: Task,
    waker: Waker,
}

/// Wakes one of the parts.
struct Bell {
    shared: Arc<Shared>,
    flag: u8,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// The driver is woken by the first flag, unless it polls: then it finds them all.
    fn raise(&self, flag: u8) {
        if self.flags.fetch_or(flag, Ordering::AcqRel) == 0 {
            self.driver.wake();
        }
    }

    /// Takes in what is new.
    fn take_in(self: &Arc<Self>, running: &mut FuturesUnordered<Task>) {
        let new = mem::take(&mut *lock(&self.new));
        running.extend(new.others);
        let Some(task) = new.busy else { return };
        let busy = Busy { task, waker: Bell::waker(self, BUSY) };
        let before = lock(&self.busy).replace(busy);
        running.extend(before.map(|busy| busy.task));
    }

    fn poll_busy(&self) {
        // It is gone if it panics.
        let Some(mut busy) = lock(&self.busy).take() else { return };
        if busy.task.as_mut().poll(&mut Context::from_waker(&busy.waker)).is_pending() {
            *lock(&self.busy) = Some(busy);
        }
    }
}

impl Bell {
    fn waker(shared: &Arc<Shared>, flag: u8) -> Waker {
        Waker::from(Arc::new(Self { shared: Arc::clone(shared), flag }))
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.shared.raise(self.flag);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.shared.raise(self.flag);
    }
}

impl Spawner {
    /// Has a future polled with the others.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        lock(&self.0.new).others.push(Box::pin(future));
        self.0.raise(NEW);
    }

    /// As [`spawn`](Self::spawn), for the one that has the most to do: it need not be looked for among the others. If
    /// there are several, that holds for one of them.
    pub fn spawn_busy(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut new = lock(&self.0.new);
        let before = new.busy.replace(Box::pin(future));
        new.others.extend(before);
        drop(new);
        self.0.raise(NEW);
    }
}

impl Spawner {
    /// Polls the busy task within a poll of the future, if it was woken; whether it was. The future has to look at all
    /// that may have woken it after this: it is not polled again for that.
    #[must_use]
    pub fn poll_busy(&self) -> bool {
        let before = self.0.flags.fetch_and(!BUSY, Ordering::AcqRel);
        if before & BUSY == 0 {
            return false;
        }
        self.0.poll_busy();
        if before & FUTURE == 0 {
            self.0.flags.fetch_and(!FUTURE, Ordering::AcqRel);
        }
        true
    }

    /// Has a part polled again: it was changed.
    pub fn wake(&self, part: Part) {
        self.0.raise(match part {
            Part::Future => FUTURE,
            Part::Side => SIDE,
        });
    }
}

impl Tasks {
    /// No tasks, and what takes them in.
    #[must_use]
    pub fn new() -> (Spawner, Self) {
        let shared = Arc::<Shared>::default();
        let [future, side, others] = [FUTURE, SIDE, TASK].map(|flag| Bell::waker(&shared, flag));
        shared.raise(FUTURE | SIDE);
        let running = FuturesUnordered::new();
        let tasks = Self { running, shared: Arc::clone(&shared), future, side, others };
        (Spawner(shared), tasks)
    }

    /// Polls a future to its end, and the tasks meanwhile.
    pub async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        self.drive_both(future, pending()).await
    }

    /// Polls two futures, each when it is woken, until one of them ends, and the tasks meanwhile.
    pub async fn drive_both<T>(
        &mut self,
        future: impl Future<Output = T>,
        side: impl Future<Output = T>,
    ) -> T {
        let (mut future, mut side) = (pin!(future), pin!(side));
        self.shared.flags.fetch_or(FUTURE | SIDE, Ordering::AcqRel);
        poll_fn(|cx| {
            self.poll_with(cx, |part, cx| match part {
                Part::Future => future.as_mut().poll(cx),
                Part::Side => side.as_mut().poll(cx),
            })
        })
        .await
    }

    /// Polls both parts and the tasks, those that were woken, until none of them is ready to go on.
    pub fn poll_with<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(Part, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Self { running, shared, future, side, others } = self;
        shared.driver.register(cx.waker());
        shared.flags.fetch_or(POLLING, Ordering::AcqRel);
        // Also if one of them panics.
        let _end = End { shared, waker: cx.waker() };
        let began = Instant::now();
        for round in 0..MAX_ROUNDS {
            let is_done = shared.flags.load(Ordering::Acquire) == POLLING;
            if is_done || (round > 0 && began.elapsed() >= MAX_TIME) {
                break;
            }
            let mut woken = shared.flags.fetch_and(POLLING, Ordering::AcqRel);
            for (flag, part, waker) in
                [(FUTURE, Part::Future, &*future), (SIDE, Part::Side, &*side)]
            {
                if woken & flag == 0 {
                    continue;
                }
                woken &= !flag;
                if let ready @ Poll::Ready(_) = poll(part, &mut Context::from_waker(waker)) {
                    // The next driver polls the others: nothing wakes them twice.
                    shared.flags.fetch_or(woken, Ordering::AcqRel);
                    return ready;
                }
            }
            if woken & NEW != 0 {
                shared.take_in(running);
                woken |= BUSY | TASK;
            }
            if woken & BUSY != 0 {
                shared.poll_busy();
            }
            if woken & TASK != 0 {
                let cx = &mut Context::from_waker(others);
                while let Poll::Ready(Some(())) = running.poll_next_unpin(cx) {}
            }
        }
        Poll::Pending
    }

    /// Takes out the tasks that have not ended.
    pub fn take(&mut self) -> impl Future<Output = ()> + Send + 'static {
        self.shared.take_in(&mut self.running);
        let busy = lock(&self.shared.busy).take();
        self.running.extend(busy.map(|busy| busy.task));
        mem::take(&mut self.running).collect()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let new = lock(&self.shared.new);
        self.running.is_empty()
            && new.busy.is_none()
            && new.others.is_empty()
            && lock(&self.shared.busy).is_none()
    }
}

impl Drop for Tasks {
    /// Drops the tasks here: their wakers, which they may have a part in, keep what they are in.
    fn drop(&mut self) {
        let new = mem::take(&mut *lock(&self.shared.new));
        let busy = lock(&self.shared.busy).take();
        drop((new, busy));
    }
}

/// The end of a poll. If something was woken since, another one follows.
struct End<'a> {
    shared: &'a Shared,
    waker: &'a Waker,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        if self.shared.flags.fetch_and(!POLLING, Ordering::AcqRel) != POLLING {
            self.waker.wake_by_ref();
        }
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("takes tasks in")
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks", self.running.len())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicBool, AtomicUsize},
    };

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Polls tasks as a task of a runtime would.
    #[derive(Default)]
    struct Driver(Arc<Wakes>);

    impl Driver {
        fn wakes(&self) -> usize {
            self.0.0.load(Ordering::Relaxed)
        }

        fn poll<F: Future>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
            future.poll(&mut Context::from_waker(&Waker::from(Arc::clone(&self.0))))
        }
    }

    /// Something that one task puts there for another one.
    #[derive(Default)]
    struct Place {
        is_there: AtomicBool,
        waker: Mutex<Option<Waker>>,
    }

    impl Place {
        fn put(&self) {
            self.is_there.store(true, Ordering::Relaxed);
            let waker = lock(&self.waker).take();
            waker.into_iter().for_each(Waker::wake);
        }

        async fn wait(&self) {
            poll_fn(|cx| {
                *lock(&self.waker) = Some(cx.waker().clone());
                if self.is_there.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        }
    }

    #[test]
    fn what_tasks_do_for_each_other_is_taken_up_in_one_poll() {
        let (driver, [question, answer]) = (Driver::default(), [(); 2].map(|()| Arc::default()));
        let (spawner, mut tasks) = Tasks::new();
        let (asked, answered): (Arc<Place>, Arc<Place>) =
            (Arc::clone(&question), Arc::clone(&answer));
        spawner.spawn(async move {
            asked.wait().await;
            answered.put();
        });
        let begins: Arc<Place> = Arc::default();
        let begun = Arc::clone(&begins);
        let mut driven = pin!(tasks.drive(async move {
            begun.wait().await;
            question.put();
            answer.wait().await;
        }));
        assert!(driver.poll(driven.as_mut()).is_pending());
        assert_eq!(driver.wakes(), 0);
        begins.put();
        assert_eq!(driver.wakes(), 1);
        assert!(driver.poll(driven).is_ready());
        assert_eq!(driver.wakes(), 1);
    }

    #[test]
    fn a_task_that_is_woken_as_the_future_ends_goes_on_with_the_next_one() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        let [waited, answered] = [(); 2].map(|()| Arc::<Place>::default());
        let (waits, answers) = (Arc::clone(&waited), Arc::clone(&answered));
        spawner.spawn(async move {
            waits.wait().await;
            answers.put();
        });
        let ends = Arc::<Place>::default();
        {
            let mut driven = pin!(tasks.drive(ends.wait()));
            assert!(driver.poll(driven.as_mut()).is_pending());
            ends.put();
            waited.put();
            assert!(driver.poll(driven).is_ready());
        }
        assert!(driver.poll(pin!(tasks.drive(answered.wait()))).is_ready());
    }

    #[test]
    fn a_new_task_wakes_the_driver() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        let mut driven = pin!(tasks.drive(pending::<()>()));
        assert!(driver.poll(driven.as_mut()).is_pending());
        let place: Arc<Place> = Arc::default();
        let puts = Arc::clone(&place);
        spawner.spawn(async move { puts.put() });
        assert_eq!(driver.wakes(), 1);
        assert!(driver.poll(driven).is_pending());
        assert!(place.is_there.load(Ordering::Relaxed));
    }

    #[test]
    fn the_side_is_polled_when_it_is_woken_and_not_otherwise() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        let [side, other] = [(); 2].map(|()| Arc::<Place>::default());
        let (waits, polls) = (Arc::clone(&other), AtomicUsize::new(0));
        spawner.spawn(async move { waits.wait().await });
        let mut waiting = pin!(side.wait());
        let counted = poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            waiting.as_mut().poll(cx)
        });
        let mut driven = pin!(tasks.drive_both(pending(), counted));
        assert!(driver.poll(driven.as_mut()).is_pending());
        other.put();
        assert!(driver.poll(driven.as_mut()).is_pending());
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        side.put();
        assert!(driver.poll(driven).is_ready());
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn busy_tasks_are_polled_as_the_others_however_many_there_are() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        let places = [(); 3].map(|()| [(); 2].map(|()| Arc::<Place>::default()));
        let mut driven = pin!(tasks.drive(pending::<()>()));
        for [waited, answered] in &places {
            let (waits, answers) = (Arc::clone(waited), Arc::clone(answered));
            spawner.spawn_busy(async move {
                waits.wait().await;
                answers.put();
            });
            assert!(driver.poll(driven.as_mut()).is_pending());
        }
        for [waited, answered] in &places {
            waited.put();
            assert!(driver.poll(driven.as_mut()).is_pending());
            assert!(answered.is_there.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_task_that_always_goes_on_lets_others_have_their_turn() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        spawner.spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let mut driven = pin!(tasks.drive(pending::<()>()));
        for polls in 1..10 {
            assert!(driver.poll(driven.as_mut()).is_pending());
            assert_eq!(driver.wakes(), polls);
        }
    }

    #[test]
    fn the_busy_task_goes_on_within_a_poll_of_the_future_which_takes_up_what_it_leaves() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        let [read, question, answer] = [(); 3].map(|()| Arc::<Place>::default());
        let (asked, answers) = (Arc::clone(&question), Arc::clone(&answer));
        spawner.spawn_busy(async move {
            asked.wait().await;
            answers.put();
        });
        let (begins, polls) = (Arc::clone(&read), AtomicUsize::new(0));
        let mut reading = pin!(async move {
            begins.wait().await;
            question.put();
            pending::<()>().await;
        });
        let mut answered = pin!(answer.wait());
        let mut driven = pin!(tasks.drive(poll_fn(|cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            let waits =
                answered.as_mut().poll(cx).is_pending() && reading.as_mut().poll(cx).is_pending();
            if waits && spawner.poll_busy() {
                assert!(answer.is_there.load(Ordering::Relaxed));
            }
            Poll::<()>::Pending
        })));
        assert!(driver.poll(driven.as_mut()).is_pending());
        read.put();
        assert!(driver.poll(driven).is_pending());
        assert!(answer.is_there.load(Ordering::Relaxed));
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn tasks_are_dropped_with_those_who_poll_them() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        let (place, alive) = (Arc::<Place>::default(), Arc::new(()));
        for is_polled in [true, false] {
            let (place, alive) = (Arc::clone(&place), Arc::clone(&alive));
            // The place keeps the task's waker, and the waker keeps the tasks.
            spawner.spawn_busy(async move {
                place.wait().await;
                drop(alive);
            });
            if is_polled {
                assert!(driver.poll(pin!(tasks.drive(pending::<()>()))).is_pending());
            }
        }
        drop(tasks);
        assert_eq!(Arc::strong_count(&alive), 1);
    }

    #[test]
    fn tasks_go_on_where_they_are_taken() {
        let (driver, (spawner, mut tasks)) = (Driver::default(), Tasks::new());
        let place: Arc<Place> = Arc::default();
        let (waits, never) = (Arc::clone(&place), Arc::<Place>::default());
        spawner.spawn_busy(async move { waits.wait().await });
        assert!(driver.poll(pin!(tasks.drive(never.wait()))).is_pending());
        assert!(!tasks.is_empty());
        let mut rest = pin!(tasks.take());
        assert!(tasks.is_empty());
        assert!(driver.poll(rest.as_mut()).is_pending());
        let before = driver.wakes();
        place.put();
        assert_eq!(driver.wakes(), before + 1);
        assert!(driver.poll(rest).is_ready());
    }
}
