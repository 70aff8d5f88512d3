//! No wake-up is lost: whoever waits for what is there is woken.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct WakeUps {
    /// Since when each process waits.
    waiting: BTreeMap<usize, u64>,
    /// A process that was woken may have died with it, or lost its session.
    may_be_lost: bool,
    pub(super) violations: Vec<String>,
}

impl WakeUps {
    pub(crate) fn waits(&mut self, process: usize, now: u64) {
        self.waiting.insert(process, now);
    }

    pub(crate) fn goes_on(&mut self, process: usize) {
        self.waiting.remove(&process);
    }

    /// Somebody's session was lost, or a process was killed.
    pub(crate) fn somebody_died(&mut self) {
        self.may_be_lost = true;
    }

    /// Something is there to be taken, and has been since `since`, when all was quiet already.
    pub(crate) fn something_is_there(&mut self, since: u64) {
        if self.may_be_lost {
            return;
        }
        for (process, began) in self.waiting.iter().filter(|(_, began)| **began < since) {
            self.violations.push(format!(
                "process {process} waits since {began} for what is there since {since}"
            ));
        }
    }
}
