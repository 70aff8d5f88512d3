//! Our side: the same calls, by Python's names, on the blocking client.

mod array;
mod barrier;
mod dict;
mod event;
mod list;
mod lock;
mod manager;
mod namespace;
mod nested;
mod pipe;
mod queue;
mod set;
mod value;

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use mp_manager::{Error, Slice, blocking::Manager};
use serde::Serialize;
use serde_json::{Value, json};

use crate::scenario::{Action, Call, Outcome, Scenario};

/// A call that takes so long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a method gives: a value, or the name of the exception that Python has for it.
type Answer = Result<Value, Failure>;

enum Failure {
    Named(&'static str),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A shared object, called by the names of Python's methods.
trait Shared: Send + Sync {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer;

    /// For calls of other objects that take this one.
    fn as_any(&self) -> &dyn Any;

    /// The object that a call returns, with its kind.
    fn call_for_object(&self, method: &str, _: &Args<'_>) -> Result<Named, Failure> {
        panic!("{method} returns no object");
    }
}

/// An object and the name of its kind.
type Named = (String, Arc<dyn Shared>);

type Objects = Arc<Mutex<HashMap<String, Named>>>;

/// The arguments of a call, who calls, and what they may refer to.
struct Args<'a> {
    values: &'a [Value],
    thread: &'a str,
    objects: &'a Objects,
}

impl Args<'_> {
    fn len(&self) -> usize {
        self.values.len()
    }

    fn at(&self, index: usize) -> &Value {
        self.values.get(index).unwrap_or(&Value::Null)
    }

    fn integer(&self, index: usize) -> Option<i64> {
        self.at(index).as_i64()
    }

    /// A number of things; negative ones are none.
    fn count(&self, index: usize) -> usize {
        self.integer(index).map_or(0, |count| usize::try_from(count).unwrap_or_default())
    }

    fn text(&self, index: usize) -> &str {
        self.at(index).as_str().unwrap_or_else(|| panic!("no text: {}", self.at(index)))
    }

    /// A value behind a tag: `{"bytes": …}`.
    fn tagged(&self, index: usize, tag: &str) -> Option<&Value> {
        self.at(index).as_object()?.get(tag)
    }

    fn slice(&self, index: usize) -> Option<Slice> {
        let parts = self.tagged(index, "slice")?;
        let slice = Slice::new();
        let slice = parts[0].as_i64().map_or(slice, |start| slice.start(start));
        let slice = parts[1].as_i64().map_or(slice, |stop| slice.stop(stop));
        Some(parts[2].as_i64().map_or(slice, |step| slice.step(step)))
    }

    /// The elements of a list, set or tuple.
    fn elements(&self, index: usize) -> Vec<Value> {
        let tagged = self.tagged(index, "set").or_else(|| self.tagged(index, "tuple"));
        let elements = tagged.unwrap_or_else(|| self.at(index)).as_array();
        elements.unwrap_or_else(|| panic!("no elements: {}", self.at(index))).clone()
    }

    /// The entries of a dict or of a list of pairs.
    fn entries(&self, index: usize) -> Vec<(Value, Value)> {
        let pairs = self.tagged(index, "dict").unwrap_or_else(|| self.at(index)).as_array();
        let pairs = pairs.unwrap_or_else(|| panic!("no entries: {}", self.at(index)));
        pairs.iter().map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    /// The object that an argument refers to: `{"ref": "name"}`.
    fn object<T: Clone + 'static>(&self, index: usize, tag: &str) -> Option<T> {
        let name = self.tagged(index, tag)?.as_str()?;
        let objects = self.objects.lock().unwrap();
        let (_, object) = objects.get(name).unwrap_or_else(|| panic!("no object {name}"));
        Some(object.as_any().downcast_ref::<T>().expect("an object of that type").clone())
    }
}

/// How long a call of Python's may wait, from its arguments.
enum Patience {
    Forever,
    Never,
    For(Duration),
}

impl Patience {
    /// Of `method(…, blocking, timeout)`, where `blocking` is at this place.
    fn new(args: &Args<'_>, blocking: usize) -> Self {
        if args.at(blocking) == &json!(false) {
            Self::Never
        } else {
            Self::timeout(args, blocking + 1)
        }
    }

    /// Of `method(…, timeout)`.
    fn timeout(args: &Args<'_>, timeout: usize) -> Self {
        match args.at(timeout).as_f64() {
            Some(seconds) => Self::For(Duration::from_secs_f64(seconds.max(0.0))),
            None => Self::Forever,
        }
    }
}

fn value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// What a method gives that gives nothing.
fn none((): ()) -> Value {
    Value::Null
}

/// A dict as both sides write it, in its order.
fn dict_value(entries: Vec<(Value, Value)>) -> Value {
    json!({ "dict": entries })
}

/// A set as both sides write it, whose order is nobody's business.
fn set_value(mut elements: Vec<Value>) -> Value {
    elements.sort_by_key(Value::to_string);
    json!({ "set": elements })
}

/// What a call gives that does not come back.
fn hanging() -> Outcome {
    Outcome::Error("hangs or has panicked".into())
}

fn unknown(method: &str) -> ! {
    panic!("{method} is in a scenario, but nothing says what it is here")
}

/// Python's name for an error; the objects name those that depend on the method themselves.
fn exception(error: &Error) -> &'static str {
    match error {
        Error::AuthenticationFailed(_) => "AuthenticationError",
        Error::Connect { .. } | Error::SessionLost(_) | Error::ShuttingDown(_) => "ConnectionError",
        Error::KeyNotFound(_) => "KeyError",
        Error::IndexOutOfRange(_) => "IndexError",
        Error::ValueNotFound(_)
        | Error::SizeMismatch(_)
        | Error::BoundExceeded(_)
        | Error::InvalidArgument(_) => "ValueError",
        Error::TypeMismatch(_) | Error::Encode(_) => "TypeError",
        Error::Overflow(_) => "OverflowError",
        Error::NotHeld(_) | Error::NotOwner(_) => "RuntimeError",
        Error::BarrierBroken(_) => "BrokenBarrierError",
        Error::QueueFull(_) => "Full",
        Error::QueueShutDown(_) => "ShutDown",
        Error::EndOfFile(_) => "EOFError",
        Error::BufferTooShort(_) => "BufferTooShort",
        Error::WrongDirection(_) => "OSError",
        error => panic!("no exception of Python's for {error:?}"),
    }
}

fn outcome(answer: Answer) -> Outcome {
    match answer {
        Ok(value) => Outcome::Ok(value),
        Err(Failure::Named(name)) => Outcome::Error(name.into()),
        Err(Failure::Error(error)) => Outcome::Error(exception(&error).into()),
    }
}

/// Makes what a kind's constructor in Python makes.
fn make(manager: &Manager, kind: &str, args: &Args<'_>) -> Result<Vec<Named>, Failure> {
    Ok(match kind {
        "Manager" => vec![manager::start()?],
        "connect" => vec![manager::connect(args)?],
        "Pipe" => pipe::make(manager, args)?,
        "dict_of_lists" => vec![("dict".into(), nested::make(manager)?)],
        _ => vec![make_one(manager, kind, args)?],
    })
}

fn make_one(manager: &Manager, kind: &str, args: &Args<'_>) -> Result<Named, Failure> {
    let made = match kind {
        "Array" => array::make(manager, args),
        "Barrier" => barrier::make(manager, args),
        "Event" => event::make(manager),
        "JoinableQueue" | "LifoQueue" | "PriorityQueue" | "Queue" => {
            queue::make(manager, kind, args)
        }
        "Lock" => lock::make(manager),
        "Namespace" => namespace::make(manager),
        "Value" => value::make(manager, args),
        "dict" => dict::make(manager, args),
        "list" => list::make(manager, args),
        "set" => set::make(manager, args),
        _ => unknown(kind),
    };
    Ok((kind.into(), made?))
}

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
