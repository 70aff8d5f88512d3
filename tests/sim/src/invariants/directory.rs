//! A name stands for one object at a time, from its creation to its deletion.

use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Directory {
    names: BTreeMap<String, Name>,
    pub(super) violations: Vec<String>,
}

#[derive(Default)]
struct Name {
    /// Whoever was told that it has created the object, if nobody can have deleted that since.
    creator: Option<usize>,
    /// Calls that may delete it at any time.
    deleting: u64,
    /// Counts beginnings and ends of such calls.
    changes: u64,
}

impl Directory {
    /// A process begins to create an object; what [`created`](Self::created) has to be told.
    pub(crate) fn creating(&mut self, name: &str) -> u64 {
        self.names.entry(name.to_owned()).or_default().changes
    }

    pub(crate) fn created(&mut self, name: &str, process: usize, changes: u64) {
        let state = self.names.entry(name.to_owned()).or_default();
        if state.deleting > 0 || state.changes != changes {
            // Some object was deleted meanwhile, which may be this one.
            return;
        }
        if let Some(other) = state.creator.replace(process) {
            let what = format!("process {process} has created {name}, which process {other} has");
            self.violations.push(what);
        }
    }

    pub(crate) fn deleting(&mut self, name: &str) {
        let state = self.names.entry(name.to_owned()).or_default();
        state.creator = None;
        state.deleting += 1;
        state.changes += 1;
    }

    /// It is gone, or was not there.
    pub(crate) fn deleted(&mut self, name: &str) {
        let state = self.names.entry(name.to_owned()).or_default();
        state.deleting -= 1;
        state.changes += 1;
    }

    /// What a process has created is what another has.
    pub(crate) fn is_anothers(&mut self, name: &str, process: usize, creator: usize) {
        self.violations.push(format!("{name} of process {process} is that of process {creator}"));
    }

    /// An object answers after its deletion.
    pub(crate) fn outlives(&mut self, name: &str, creator: usize) {
        self.violations.push(format!("{name} of process {creator} answers after its deletion"));
    }
}
