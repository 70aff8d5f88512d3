//! `Barrier`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Barrier, Manager},
};

use super::{Answer, Args, Failure, Patience, Shared, none, unknown};

/// A barrier, and the action that its parties bring.
struct Meeting {
    barrier: Barrier,
    action: Option<String>,
}

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Arc<dyn Shared>, Failure> {
    let barrier = manager.barrier(Unnamed, args.count(0)).open()?;
    let action = args.tagged(1, "int").map(|text| text.as_str().expect("a text").into());
    Ok(Arc::new(Meeting { barrier, action }))
}

/// Python's `int(text)`: succeeds or fails as the scenario wants.
fn run(action: &str) -> Result<(), Failure> {
    action.parse::<i64>().map(drop).map_err(|_| Failure::Named("ValueError"))
}

impl Meeting {
    fn wait(&self, patience: &Patience) -> Result<usize, Failure> {
        Ok(match (patience, &self.action) {
            (Patience::For(timeout), None) => self.barrier.wait_timeout(*timeout)?,
            (Patience::For(timeout), Some(action)) => {
                self.barrier.wait_timeout_with(*timeout, || run(action))?
            }
            (_, None) => self.barrier.wait()?,
            (_, Some(action)) => self.barrier.wait_with(|| run(action))?,
        })
    }
}

impl Shared for Meeting {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "abort" => none(self.barrier.abort())?,
            "broken" => self.barrier.is_broken()?.into(),
            "n_waiting" => self.barrier.waiting()?.into(),
            "parties" => self.barrier.parties()?.into(),
            "reset" => none(self.barrier.reset())?,
            "wait" => self.wait(&Patience::timeout(args, 0))?.into(),
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
