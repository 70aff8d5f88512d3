//! A dead session holds nothing and waits for nothing.

#[derive(Default)]
pub(in crate::sim) struct DeadSessions {
    pub(super) violations: Vec<String>,
}

impl DeadSessions {
    /// What is left when nobody is there any more.
    pub(in crate::sim) fn left(&mut self, wrong: Vec<String>) {
        self.violations.extend(wrong);
    }
}
