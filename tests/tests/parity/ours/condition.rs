//! `Condition`.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex},
};

use mp_manager::{
    Unnamed,
    blocking::{Condition, ConditionGuard, Event, Manager},
};
use serde_json::Value;

use super::{Answer, Args, Failure, Patience, Shared, none, unknown};

/// The token of no grant: whoever releases it holds nothing.
const NO_TOKEN: u64 = 0;

/// A condition, and the guards that each thread has of it.
struct Held {
    condition: Condition,
    guards: Mutex<HashMap<String, Vec<ConditionGuard>>>,
}

pub(super) fn make(manager: &Manager) -> Result<Arc<dyn Shared>, Failure> {
    let condition = manager.condition(Unnamed).open()?;
    Ok(Arc::new(Held { condition, guards: Mutex::default() }))
}

impl Held {
    fn push(&self, args: &Args<'_>, guard: ConditionGuard) {
        self.guards.lock().unwrap().entry(args.thread.into()).or_default().push(guard);
    }

    fn pop(&self, args: &Args<'_>) -> Option<ConditionGuard> {
        self.guards.lock().unwrap().get_mut(args.thread)?.pop()
    }

    fn acquire(&self, args: &Args<'_>) -> Answer {
        let guard = match Patience::new(args, 0) {
            Patience::Forever => Some(self.condition.acquire()?),
            Patience::Never => self.condition.try_acquire()?,
            Patience::For(timeout) => self.condition.acquire_timeout(timeout)?,
        };
        Ok(guard.map(|guard| self.push(args, guard)).is_some().into())
    }

    /// Something that only who holds the lock can do, and that gives the lock back.
    fn with_guard(
        &self,
        args: &Args<'_>,
        work: impl FnOnce(ConditionGuard) -> mp_manager::Result<(ConditionGuard, bool)>,
    ) -> Result<bool, Failure> {
        let guard = self.pop(args).expect("a guard: the types ask for one");
        let (guard, result) = work(guard)?;
        self.push(args, guard);
        Ok(result)
    }

    fn wait(&self, args: &Args<'_>) -> Answer {
        let condition = &self.condition;
        Ok(self
            .with_guard(args, |guard| match Patience::timeout(args, 0) {
                Patience::For(timeout) => condition.wait_timeout(guard, timeout),
                _ => condition.wait(guard).map(|guard| (guard, true)),
            })?
            .into())
    }

    fn wait_for(&self, args: &Args<'_>) -> Answer {
        let condition = &self.condition;
        let event: Event = args.object(0, "is_set").expect("an event");
        Ok(self
            .with_guard(args, |guard| match Patience::timeout(args, 1) {
                Patience::For(timeout) => {
                    condition.wait_for_timeout(guard, || event.is_set(), timeout)
                }
                _ => condition.wait_for(guard, || event.is_set()).map(|guard| (guard, true)),
            })?
            .into())
    }

    fn notify(&self, args: &Args<'_>, count: Option<usize>) -> Answer {
        self.with_guard(args, |guard| {
            match count {
                Some(1) => guard.notify_one()?,
                Some(count) => guard.notify(count)?,
                None => guard.notify_all()?,
            };
            Ok((guard, true))
        })?;
        Ok(Value::Null)
    }
}

impl Shared for Held {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        match method {
            "__enter__" | "acquire" => self.acquire(args),
            "__exit__" | "release" => none(match self.pop(args) {
                Some(guard) => guard.release(),
                None => self.condition.release_token(NO_TOKEN),
            }),
            "locked" => Ok(self.condition.is_locked()?.into()),
            "notify" if args.len() == 0 => self.notify(args, Some(1)),
            "notify" => self.notify(args, Some(args.count(0))),
            "notify_all" => self.notify(args, None),
            "wait" => self.wait(args),
            "wait_for" => self.wait_for(args),
            _ => unknown(method),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
