//! Every call ends, and in a way that it may.

#[derive(Default)]
pub(crate) struct Calls {
    pub(super) violations: Vec<String>,
}

impl Calls {
    /// A process has not come to its end, long after the last trouble.
    pub(crate) fn has_not_ended(&mut self, process: usize, tasks: usize, phase: &str) {
        self.violations
            .push(format!("process {process} has not ended: {tasks} tasks go on, {phase}"));
    }

    /// A call failed in a way that nothing here explains.
    pub(crate) fn failed(&mut self, process: usize, operation: &str, error: &str) {
        self.violations.push(format!("process {process}: {operation} failed: {error}"));
    }

    /// Things happen without end.
    pub(crate) fn go_round_in_circles(&mut self) {
        self.violations.push("it goes on and on".into());
    }

    /// Its session was resumed by somebody else, and its connection ended as if it had only broken.
    pub(crate) fn was_robbed_without_a_word(&mut self, process: usize) {
        self.violations
            .push(format!("process {process} does not hear that its session was stolen"));
    }

    pub(crate) fn broke_the_protocol(&mut self, process: usize, why: &str) {
        self.violations.push(format!("the session of process {process} was ended: {why}"));
    }
}
