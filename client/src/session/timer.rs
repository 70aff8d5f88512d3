//! Ends calls whose timeouts have passed, on a thread of its own.
//!
//! The runtime that runs a connection may be busy, paused or not running at all; a timeout ends its
//! call all the same.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

/// What has calls that end by their own timeouts.
pub(crate) trait Expire: Send + Sync {
    /// By the clock that the timeouts are about.
    fn now(&self) -> Duration;
    /// Ends calls whose timeouts have passed, and says when the next one is due.
    fn expire_due(&self) -> Option<Duration>;
}

/// The machine may have slept, which the condition variable does not notice.
const LONGEST_NAP: Duration = Duration::from_secs(1);

/// Started with the first call that has a timeout, and ends when it is dropped.
pub(crate) struct Timer {
    session: Weak<dyn Expire>,
    alarm: Arc<Alarm>,
}

#[derive(Default)]
struct Alarm {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    is_running: bool,
    is_over: bool,
    wake_at: Option<Duration>,
}

impl Timer {
    pub(crate) fn new(session: Weak<dyn Expire>) -> Self {
        Self { session, alarm: Arc::default() }
    }

    /// Has calls ended that are due at `at`, by the session's clock.
    pub(crate) fn wake_at(&self, at: Duration) {
        let mut state = self.alarm.lock();
        if state.wake_at.is_some_and(|known| known <= at) {
            return;
        }
        state.wake_at = Some(at);
        if !state.is_running {
            let (session, alarm) = (Weak::clone(&self.session), Arc::clone(&self.alarm));
            let thread = thread::Builder::new().name("mp-manager-timer".into());
            // Without a thread it is the manager that ends calls, and the next one tries again.
            state.is_running = thread.spawn(move || run(&session, &alarm)).is_ok();
        }
        self.alarm.changed.notify_one();
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.alarm.lock().is_over = true;
        self.alarm.changed.notify_one();
    }
}

impl Alarm {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(session: &Weak<dyn Expire>, alarm: &Alarm) {
    let mut state = alarm.lock();
    while !state.is_over {
        let Some(at) = state.wake_at else {
            state = alarm.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        drop(state);
        let Some(session) = session.upgrade() else { return };
        let left = at.saturating_sub(session.now());
        if left.is_zero() {
            alarm.lock().wake_at = None;
            let next = session.expire_due();
            // It may be the last hold on the session, whose end takes the lock.
            drop(session);
            state = alarm.lock();
            state.wake_at = [state.wake_at, next].into_iter().flatten().min();
        } else {
            drop(session);
            let nap = left.min(LONGEST_NAP);
            let woken = alarm.changed.wait_timeout(alarm.lock(), nap);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
