//! What was added to a collection that nobody takes anything from is in it, once.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct Elements {
    added: BTreeMap<String, BTreeSet<u64>>,
    refused: BTreeMap<String, BTreeSet<u64>>,
    pub(super) violations: Vec<String>,
}

impl Elements {
    pub(crate) fn added(&mut self, name: &str, item: u64) {
        self.added.entry(name.to_owned()).or_default().insert(item);
    }

    pub(crate) fn refused(&mut self, name: &str, item: u64) {
        self.refused.entry(name.to_owned()).or_default().insert(item);
    }

    /// What has to be in it from now on.
    pub(crate) fn of(&self, name: &str) -> Vec<u64> {
        self.added.get(name).into_iter().flatten().copied().collect()
    }

    /// What was found where `expected` had to be.
    pub(crate) fn found(&mut self, name: &str, expected: &[u64], found: &[u64], is_list: bool) {
        let distinct: BTreeSet<_> = found.iter().collect();
        let lost: Vec<_> = expected.iter().filter(|item| !distinct.contains(item)).collect();
        if !lost.is_empty() {
            self.violations.push(format!("{name}: {lost:?} were added, and are not there"));
        }
        if is_list && distinct.len() < found.len() {
            self.violations.push(format!("{name}: something is there twice: {found:?}"));
        }
        let refused = self.refused.get(name);
        if let Some(item) = refused.and_then(|refused| refused.iter().find(|i| found.contains(i))) {
            self.violations.push(format!("{name}: {item} was refused, and is there"));
        }
    }
}
