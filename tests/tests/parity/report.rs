//! What was compared, what differs, and what is missing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    deviations::{DEVIATIONS, NOT_APPLICABLE},
    python::Answers,
    runner::Ran,
    scenario::{Action, Outcome, Scenario, Step},
};

/// Kind and method.
type Method = (String, String);

#[derive(Default)]
pub(crate) struct Report {
    calls: usize,
    methods: BTreeSet<Method>,
    /// Methods that this Python does not have yet.
    newer: BTreeMap<Method, u32>,
    deviations: BTreeMap<String, usize>,
    problems: Vec<String>,
}

impl Report {
    /// Compares what both sides gave.
    pub(crate) fn compare(&mut self, scenario: &Scenario, python: Vec<Outcome>, ours: Vec<Ran>) {
        for ((step, python), ran) in scenario.steps.iter().zip(python).zip(ours) {
            self.calls += 1;
            self.methods.extend(ran.called);
            if let Some(problem) = self.judge(step, &python, &ran.outcome) {
                let (file, line, title) = (scenario.file, step.line, &scenario.title);
                let text = &step.text;
                self.problems.push(format!("{file}:{line} ({title}): {text}: {problem}"));
            }
        }
    }

    fn judge(&mut self, step: &Step, python: &Outcome, ours: &Outcome) -> Option<String> {
        let Some(deviation) = &step.deviation else {
            return (python != ours).then(|| format!("CPython gives {python}, we give {ours}"));
        };
        *self.deviations.entry(deviation.reason.clone()).or_default() += 1;
        if (python, ours) == (&deviation.python, &deviation.ours) {
            return None;
        }
        let expected = format!("{} there and {} here", deviation.python, deviation.ours);
        Some(format!("CPython gives {python}, we give {ours}; the deviation is {expected}"))
    }

    /// Notes what this Python is too old for.
    pub(crate) fn leave_out(&mut self, scenarios: &[&Scenario]) {
        for scenario in scenarios {
            let kinds = kinds(scenario);
            for step in &scenario.steps {
                if let Some(deviation) = &step.deviation {
                    self.deviations.entry(deviation.reason.clone()).or_default();
                }
                if let Action::Call(call) = &step.action {
                    let method = (kinds[call.object.as_str()].into(), call.method.clone());
                    self.newer.insert(method, scenario.since);
                }
            }
        }
    }

    /// Prints what was done, and fails if anything is wrong or missing.
    pub(crate) fn conclude(mut self, version: &str, answers: &Answers) {
        self.methods.retain(|(kind, name)| has(answers, kind, name));
        self.check_coverage(answers);
        self.check_deviations();
        let left_out = self.left_out(answers);
        println!(
            "parity: compared {} methods ({} calls) with CPython {version}; \
             not compared: {}; deliberate deviations: {}",
            self.methods.len(),
            self.calls,
            left_out.values().map(Vec::len).sum::<usize>(),
            DEVIATIONS.len(),
        );
        for (why, methods) in &left_out {
            println!("parity: not compared: {}: {why}", methods.join(", "));
        }
        for (name, why) in DEVIATIONS {
            let calls = self.deviations.get(*name).unwrap_or(&0);
            println!("parity: deliberate deviation: {name} ({calls} calls): {why}");
        }
        for (kind, methods) in answers.registered.iter().filter(|(_, some)| !some.is_empty()) {
            println!("parity: beyond SyncManager's own proxies: {kind}: {}", methods.join(", "));
        }
        let problems = self.problems.join("\n");
        assert!(problems.is_empty(), "{} differ:\n{problems}", self.problems.len());
    }

    /// Everything that Python has was compared, or has a reason.
    fn check_coverage(&mut self, answers: &Answers) {
        for (kind, names) in &answers.methods {
            for name in names {
                let method = (kind.clone(), name.clone());
                match (self.methods.contains(&method), not_applicable(kind, name)) {
                    (false, None) => {
                        self.problems.push(format!("{kind}.{name} is not compared, for no reason"));
                    }
                    (true, Some(_)) => {
                        self.problems.push(format!("{kind}.{name} is compared after all"));
                    }
                    _ => {}
                }
            }
        }
    }

    fn check_deviations(&mut self) {
        let known: BTreeSet<_> = DEVIATIONS.iter().map(|(name, _)| *name).collect();
        let used: BTreeSet<_> = self.deviations.keys().map(String::as_str).collect();
        let odd: Vec<_> = known.symmetric_difference(&used).collect();
        if !odd.is_empty() {
            self.problems.push(format!("deviations without reason, or without a case: {odd:?}"));
        }
    }

    /// What was not compared, by the reason.
    fn left_out(&self, answers: &Answers) -> BTreeMap<String, Vec<String>> {
        let mut left_out: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for ((kind, name), since) in &self.newer {
            if !self.methods.contains(&(kind.clone(), name.clone())) {
                let why = format!("needs CPython 3.{since}");
                left_out.entry(why).or_default().push(format!("{kind}.{name}"));
            }
        }
        for (kind, name, why) in NOT_APPLICABLE {
            if has(answers, kind, name) {
                left_out.entry((*why).into()).or_default().push(format!("{kind}.{name}"));
            }
        }
        left_out
    }
}

/// Whether this Python has it.
fn has(answers: &Answers, kind: &str, name: &str) -> bool {
    answers.methods.get(kind).is_some_and(|names| names.iter().any(|known| known == name))
}

fn not_applicable(kind: &str, name: &str) -> Option<&'static str> {
    let row = NOT_APPLICABLE.iter().find(|row| (row.0, row.1) == (kind, name));
    row.map(|row| row.2)
}

/// The kinds of a scenario's objects, by name.
fn kinds(scenario: &Scenario) -> BTreeMap<&str, &str> {
    let mut kinds = BTreeMap::new();
    for step in &scenario.steps {
        if let Action::New { names, kind, .. } = &step.action {
            kinds.extend(names.iter().map(|name| (name.as_str(), kind.as_str())));
        }
    }
    kinds
}
