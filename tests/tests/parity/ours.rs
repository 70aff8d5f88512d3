//! Our side: the same calls, by Python's names, on the blocking client.

pub(crate) mod args;
mod array;
mod barrier;
mod condition;
mod dict;
mod event;
mod list;
mod lock;
mod manager;
mod namespace;
mod nested;
mod pipe;
mod queue;
mod rlock;
mod semaphore;
mod set;
mod value;

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex},
};

use mp_manager::{Error, blocking::Manager};
use serde::Serialize;
use serde_json::{Value, json};

use self::args::{Args, Patience};
use crate::scenario::Outcome;

/// What a method gives: a value, or the name of the exception that Python has for it.
pub(crate) type Answer = Result<Value, Failure>;

pub(crate) enum Failure {
    Named(&'static str),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A shared object, called by the names of Python's methods.
pub(crate) trait Shared: Send + Sync {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer;

    /// For calls of other objects that take this one.
    fn as_any(&self) -> &dyn Any;

    /// The object that a call returns, with its kind.
    fn call_for_object(&self, method: &str, _: &Args<'_>) -> Result<Named, Failure> {
        panic!("{method} returns no object");
    }
}

/// An object and the name of its kind.
pub(crate) type Named = (String, Arc<dyn Shared>);

/// The objects of a scenario, by name.
pub(crate) type Objects = Arc<Mutex<HashMap<String, Named>>>;

/// Makes what a kind's constructor in Python makes.
pub(crate) fn make(manager: &Manager, kind: &str, args: &Args<'_>) -> Result<Vec<Named>, Failure> {
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
        "BoundedSemaphore" => semaphore::make_bounded(manager, args),
        "Condition" => condition::make(manager),
        "Event" => event::make(manager),
        "JoinableQueue" | "LifoQueue" | "PriorityQueue" | "Queue" => {
            queue::make(manager, kind, args)
        }
        "Lock" => lock::make(manager),
        "Namespace" => namespace::make(manager),
        "RLock" => rlock::make(manager),
        "Semaphore" => semaphore::make(manager, args),
        "Value" => value::make(manager, args),
        "dict" => dict::make(manager, args),
        "list" => list::make(manager, args),
        "set" => set::make(manager, args),
        _ => unknown(kind),
    };
    Ok((kind.into(), made?))
}

/// The answer as both sides write it.
pub(crate) fn outcome(answer: Answer) -> Outcome {
    match answer {
        Ok(value) => Outcome::Ok(value),
        Err(Failure::Named(name)) => Outcome::Error(name.into()),
        Err(Failure::Error(error)) => Outcome::Error(exception(&error).into()),
    }
}

fn value(value: impl Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

/// The answer of a method that gives nothing, or nothing that Python's gives.
fn none<T, E: Into<Failure>>(result: Result<T, E>) -> Answer {
    result.map(|_| Value::Null).map_err(Into::into)
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
