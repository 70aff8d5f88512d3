//! Why there is no order, for people.

use std::fmt;

use super::{Action, Operation, state::State};

/// So many operations before the end of the longest order are shown.
const SHOWN: usize = 12;

/// The longest order that was found, and what could not come next in it.
#[derive(Debug, Clone)]
pub struct Violation {
    /// How many operations are in it.
    pub placed: usize,
    /// How many happened for certain.
    pub certain: usize,
    /// The last of those in it, in order.
    pub last: Vec<Operation>,
    /// The object after them.
    pub state: String,
    /// What happened for certain and could not come next, with what it would have been told.
    pub stuck: Vec<(Operation, String)>,
}

impl Violation {
    pub(super) fn new<'a>(
        state: &State,
        order: &[&Operation],
        stuck: impl Iterator<Item = &'a Operation>,
        certain: usize,
    ) -> Self {
        let last = &order[order.len().saturating_sub(SHOWN)..];
        Self {
            placed: order.len(),
            certain,
            last: last.iter().map(|&operation| operation.clone()).collect(),
            state: state.describe(),
            stuck: stuck.map(|operation| (operation.clone(), state.answer(operation))).collect(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { placed, certain, last, state, stuck } = self;
        writeln!(
            f,
            "no order of its {certain} operations; the longest has {placed} and ends with"
        )?;
        for operation in last {
            writeln!(f, "  {operation}")?;
        }
        writeln!(f, "after which the object is {state}, and next must come one of")?;
        for (operation, answer) in stuck {
            writeln!(f, "  {operation}")?;
            if !answer.is_empty() {
                writeln!(f, "    which would be told {answer}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} … ", self.start)?;
        match &self.returned {
            Some(returned) => write!(f, "{}]", returned.at)?,
            None => write!(f, "]")?,
        }
        write!(f, " process {}: ", self.process)?;
        match &self.action {
            Action::Call { op, .. } => write!(f, "{op:?}")?,
            Action::GiveBack(call) => write!(f, "what {call:?} took goes back")?,
        }
        match self.told() {
            Some(told) => write!(f, " → {told:?}"),
            None => f.write_str(" → ?"),
        }
    }
}
