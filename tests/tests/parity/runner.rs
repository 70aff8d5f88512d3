//! Runs a scenario on our side: each of its threads is one.

use std::{
    collections::HashMap,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use mp_manager::blocking::Manager;
use serde_json::Value;

use crate::{
    ours::{Objects, Shared, args::Args, make, outcome},
    scenario::{Action, Call, Outcome, Scenario},
};

/// A call that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A step's outcome, and the kind and method that it called.
pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) called: Option<(String, String)>,
}

/// A scenario while it runs.
pub(crate) struct Runner<'a> {
    manager: &'a Manager,
    objects: Objects,
    workers: HashMap<String, Worker>,
}

/// A thread that calls, one call after the other.
struct Worker {
    calls: mpsc::Sender<Box<dyn FnOnce() -> Outcome + Send>>,
    outcomes: mpsc::Receiver<Outcome>,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(manager: &'a Manager) -> Self {
        Self { manager, objects: Objects::default(), workers: HashMap::new() }
    }

    /// Runs the steps, up to one that hangs, and says what each gave.
    pub(crate) fn run(mut self, scenario: &Scenario) -> Vec<Ran> {
        let mut ran = Vec::new();
        for step in &scenario.steps {
            let this = self.step(&step.action);
            let hangs = this.outcome == hanging();
            ran.push(this);
            if hangs {
                break;
            }
        }
        ran
    }

    fn step(&mut self, action: &Action) -> Ran {
        match action {
            Action::New { names, kind, args } => {
                let outcome = self.new_objects(names, kind, args);
                let method = if kind == "Manager" { "start" } else { kind };
                Ran { outcome, called: Some(("Manager".into(), method.into())) }
            }
            Action::Call(call) => self.call(call),
            Action::Finish { thread } => {
                Ran { outcome: self.worker(thread).outcome(), called: None }
            }
            Action::Until { call, value } => self.call_until(call, &Outcome::Ok(value.clone())),
            Action::Delete { name } => {
                self.objects.lock().unwrap().remove(name);
                Ran { outcome: Outcome::Ok(Value::Null), called: None }
            }
        }
    }

    /// Calls again and again; what it waits for has no other signal.
    fn call_until(&mut self, call: &Call, expected: &Outcome) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = self.call(call);
            if ran.outcome == *expected || Instant::now() > deadline {
                return ran;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn new_objects(&self, names: &[String], kind: &str, args: &[Value]) -> Outcome {
        let args = Args { values: args, thread: "", objects: &self.objects };
        let made = match make(self.manager, kind, &args) {
            Ok(made) => made,
            Err(failure) => return outcome(Err(failure)),
        };
        self.objects.lock().unwrap().extend(names.iter().cloned().zip(made));
        Outcome::Ok(Value::Null)
    }

    fn call(&mut self, call: &Call) -> Ran {
        let named = self.objects.lock().unwrap().get(&call.object).cloned();
        let (kind, object) = named.unwrap_or_else(|| panic!("no object {}", call.object));
        let (objects, begun) = (Arc::clone(&self.objects), call.clone());
        let worker = self.worker(call.thread.as_deref().unwrap_or("main"));
        worker.begin(move || invoke(&*object, &begun, &objects));
        let outcome = if call.begin { Outcome::Ok(Value::Null) } else { worker.outcome() };
        Ran { outcome, called: Some((kind, call.method.clone())) }
    }

    fn worker(&mut self, thread: &str) -> &mut Worker {
        self.workers.entry(thread.into()).or_insert_with(Worker::start)
    }
}

fn invoke(object: &dyn Shared, call: &Call, objects: &Objects) -> Outcome {
    let thread = call.thread.as_deref().unwrap_or("main");
    let args = Args { values: &call.args, thread, objects };
    let Some(name) = call.names.first() else {
        return outcome(object.call(&call.method, &args));
    };
    outcome(object.call_for_object(&call.method, &args).map(|named| {
        objects.lock().unwrap().insert(name.clone(), named);
        Value::Null
    }))
}

impl Worker {
    fn start() -> Self {
        let (calls, todo) = mpsc::channel::<Box<dyn FnOnce() -> Outcome + Send>>();
        let (done, outcomes) = mpsc::channel();
        thread::spawn(move || todo.iter().map(|call| call()).try_for_each(|it| done.send(it)));
        Self { calls, outcomes }
    }

    fn begin(&self, call: impl FnOnce() -> Outcome + Send + 'static) {
        self.calls.send(Box::new(call)).unwrap();
    }

    fn outcome(&self) -> Outcome {
        self.outcomes.recv_timeout(PATIENCE).unwrap_or_else(|_| hanging())
    }
}

/// What a call gives that does not come back.
fn hanging() -> Outcome {
    Outcome::Error("hangs or has panicked".into())
}
