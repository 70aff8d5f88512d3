//! A dead session holds nothing and waits for nothing.

#[derive(Default)]
pub(crate) struct DeadSessions {
    pub(super) violations: Vec<String>,
}

impl DeadSessions {
    /// What is left when nobody is there any more.
    pub(crate) fn left(&mut self, wrong: Vec<String>) {
        self.violations.extend(wrong);
    }
}
