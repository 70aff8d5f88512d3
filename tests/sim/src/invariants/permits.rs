//! No more permits are held than there are, and none gets lost.

use std::{
    collections::BTreeMap,
    rc::{Rc, Weak},
};

use super::mutual_exclusion::{Holder, Starts};

/// So many permits, under this token.
type Holding = (u64, u64, Weak<dyn Holder>);

#[derive(Default)]
pub(crate) struct Permits {
    starts: Starts,
    semaphores: BTreeMap<String, Vec<Holding>>,
    left: BTreeMap<String, (u64, u64)>,
    pub(super) violations: Vec<String>,
}

impl Permits {
    /// The manager has started, and forgotten who had which.
    pub(crate) fn started(&mut self, start: u64) {
        self.starts.begin(start);
    }

    /// A process has acquired `permits` of `total`, under `token`.
    pub(crate) fn acquired(
        &mut self,
        name: &str,
        (permits, total): (u64, u64),
        token: u64,
        holder: &Rc<dyn Holder>,
    ) {
        let holders = self.semaphores.entry(name.to_owned()).or_default();
        holders.retain(|(_, _, holder)| holder.strong_count() > 0);
        let believes = |holder: &Weak<dyn Holder>| {
            holder.upgrade().is_some_and(|holder| holder.believes_to_hold())
        };
        let held: u64 = holders
            .iter()
            .filter(|(_, theirs, holder)| {
                self.starts.of(*theirs) == self.starts.of(token) && believes(holder)
            })
            .map(|(permits, _, _)| permits)
            .sum();
        if held + permits > total {
            self.violations.push(format!(
                "{name}: {permits} permits were granted while {held} of {total} are held"
            ));
        }
        holders.push((permits, token, Rc::downgrade(holder)));
    }

    /// Nobody holds any, and so many are there.
    pub(crate) fn available(&mut self, name: &str, available: u64, total: u64) {
        self.left.insert(name.to_owned(), (available, total));
    }

    pub(super) fn finish(&mut self) {
        for (name, (available, total)) in &self.left {
            if available != total {
                self.violations.push(format!(
                    "{name}: {available} of {total} permits are left when nobody holds any"
                ));
            }
        }
    }
}
