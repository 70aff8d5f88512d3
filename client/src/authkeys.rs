//! The authkeys a client knows.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use mp_manager_proto::authkey::Authkey;

use crate::error::{Error, Result};

/// One or more authkeys, and which of them got us in.
#[derive(Debug, Clone)]
pub(crate) struct Authkeys {
    all: Arc<[Authkey]>,
    /// Shared by all clones: whoever connects again begins with it.
    accepted: Arc<AtomicUsize>,
}

impl Authkeys {
    pub(crate) fn new(all: Vec<Authkey>) -> Result<Self> {
        if all.is_empty() {
            return Err(Error::Configuration("no authkey: give at least one".into()));
        }
        if all.iter().any(|authkey| authkey.secret().is_empty()) {
            return Err(Error::Configuration("the authkey is empty".into()));
        }
        Ok(Self { all: all.into(), accepted: Arc::default() })
    }

    /// All of them, in the order in which they were given.
    #[cfg(feature = "embedded")]
    pub(crate) fn to_vec(&self) -> Vec<Authkey> {
        self.all.to_vec()
    }

    /// All of them, in the order in which to try them: the one that was accepted last, then as they
    /// were given.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = (usize, &Authkey)> {
        let accepted = self.accepted.load(Ordering::Relaxed);
        let others = self.all.iter().enumerate().filter(move |(n, _)| *n != accepted);
        self.all.get(accepted).map(|authkey| (accepted, authkey)).into_iter().chain(others)
    }

    /// The one with this number got us in.
    pub(crate) fn accept(&self, number: usize) {
        self.accepted.store(number, Ordering::Relaxed);
    }

    /// The one that got us in.
    pub(crate) fn accepted(&self) -> Option<&Authkey> {
        self.in_turn().next().map(|(_, authkey)| authkey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_comes_first_also_for_clones() {
        let authkeys = Authkeys::new(["a", "b", "c"].map(Authkey::from).to_vec()).unwrap();
        let order = |authkeys: &Authkeys| -> Vec<usize> {
            authkeys.in_turn().map(|(number, _)| number).collect()
        };
        assert_eq!(order(&authkeys), [0, 1, 2]);
        authkeys.clone().accept(1);
        assert_eq!(order(&authkeys), [1, 0, 2]);
        assert_eq!(authkeys.accepted(), Some(&Authkey::from("b")));
        assert!(Authkeys::new(Vec::new()).is_err());
    }
}
