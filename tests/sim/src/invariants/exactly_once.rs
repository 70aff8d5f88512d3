//! What was confirmed was done once; what failed for an unknown reason once at most.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct ExactlyOnce {
    counters: BTreeMap<String, Counter>,
    pub(super) violations: Vec<String>,
}

#[derive(Default)]
struct Counter {
    confirmed: u64,
    /// Begun by processes that were killed or given up since, or whose outcome is not known.
    unknown: u64,
    seen: u64,
}

impl ExactlyOnce {
    /// An addition is under way.
    pub(crate) fn begins(&mut self, name: &str) {
        self.counters.entry(name.to_owned()).or_default().unknown += 1;
    }

    /// It was confirmed; the counter stood at `value` then.
    pub(crate) fn confirmed(&mut self, name: &str, value: u64) {
        let counter = self.counters.entry(name.to_owned()).or_default();
        counter.unknown -= 1;
        counter.confirmed += 1;
        counter.look(name, value, &mut self.violations);
    }

    /// It did not happen, for certain.
    pub(crate) fn refused(&mut self, name: &str) {
        self.counters.entry(name.to_owned()).or_default().unknown -= 1;
    }

    /// The counter stands at `value`.
    pub(crate) fn seen(&mut self, name: &str, value: u64) {
        let counter = self.counters.entry(name.to_owned()).or_default();
        counter.look(name, value, &mut self.violations);
    }

    pub(super) fn finish(&mut self) {
        for (name, counter) in &self.counters {
            let Counter { confirmed, unknown, seen } = counter;
            if seen < confirmed || *seen > confirmed + unknown {
                self.violations.push(format!(
                    "{name} stands at {seen} after {confirmed} confirmed additions and {unknown} \
                     unknown ones"
                ));
            }
        }
    }
}

impl Counter {
    fn look(&mut self, name: &str, value: u64, violations: &mut Vec<String>) {
        let most = self.confirmed + self.unknown;
        if value > most {
            violations.push(format!("{name} stands at {value} after {most} additions at most"));
        }
        self.seen = self.seen.max(value);
    }
}
