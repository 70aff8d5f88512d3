//! `Queue`, `JoinableQueue`, `LifoQueue` and `PriorityQueue`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Manager, Queue},
};
use serde_json::Value;

use super::{Answer, Args, Failure, Patience, Shared, none, unknown};

pub(super) fn make(
    manager: &Manager,
    kind: &str,
    args: &Args<'_>,
) -> Result<Arc<dyn Shared>, Failure> {
    let queue = manager.queue::<Value>(Unnamed).maxsize(args.count(0));
    let queue = match kind {
        "LifoQueue" => queue.lifo(),
        "PriorityQueue" => queue.priority(),
        _ => queue.fifo(),
    };
    Ok(Arc::new(queue.open()?))
}

impl Shared for Queue<Value> {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "empty" => self.is_empty()?.into(),
            "full" => self.is_full()?.into(),
            "get" => get(self, &Patience::new(args, 0))?,
            "get_nowait" => get(self, &Patience::Never)?,
            "join" => none(self.join())?,
            "put" => none(match Patience::new(args, 1) {
                Patience::Forever => self.put(args.at(0)),
                Patience::Never => self.try_put(args.at(0)),
                Patience::For(timeout) => self.put_timeout(args.at(0), timeout),
            })?,
            "put_nowait" => none(self.try_put(args.at(0)))?,
            "qsize" => self.len()?.into(),
            "shutdown" if args.at(0) == &Value::Bool(true) => none(self.shutdown_immediate())?,
            "shutdown" => none(self.shutdown())?,
            "task_done" => none(self.task_done())?,
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn get(queue: &Queue<Value>, patience: &Patience) -> Answer {
    let got = match *patience {
        Patience::Forever => Some(queue.get()?),
        Patience::Never => queue.try_get()?,
        Patience::For(timeout) => queue.get_timeout(timeout)?,
    };
    got.ok_or(Failure::Named("Empty"))
}
