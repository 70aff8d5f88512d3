//! `Event`.

use std::{any::Any, sync::Arc};

use mp_manager::{
    Unnamed,
    blocking::{Event, Manager},
};

use super::{Answer, Args, Failure, Patience, Shared, none, unknown};

pub(super) fn make(manager: &Manager) -> Result<Arc<dyn Shared>, Failure> {
    Ok(Arc::new(manager.event(Unnamed).open()?))
}

impl Shared for Event {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "clear" => none(self.clear())?,
            "is_set" => self.is_set()?.into(),
            "set" => none(self.set())?,
            "wait" => match Patience::timeout(args, 0) {
                Patience::For(timeout) => self.wait_timeout(timeout)?.into(),
                _ => self.wait().map(|()| true)?.into(),
            },
            _ => unknown(method),
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
