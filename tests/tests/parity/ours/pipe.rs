//! `Pipe`.

use std::{
    any::Any,
    sync::{Arc, Mutex},
};

use mp_manager::{
    Error, Unnamed,
    blocking::{Manager, PipeEnd},
};
use serde_json::{Value, json};

use super::{Answer, Args, Failure, Named, Patience, Shared, none, unknown};

type End = PipeEnd<Value, Value>;

/// An end until it is closed.
struct Connection {
    end: Mutex<Option<End>>,
}

pub(super) fn make(manager: &Manager, args: &Args<'_>) -> Result<Vec<Named>, Failure> {
    let pipe = manager.pipe::<Value, Value>(Unnamed);
    let one_way = args.at(0) == &Value::Bool(false);
    let pipe = if one_way { pipe.one_way() } else { pipe }.open()?;
    let (first, second) = pipe.ends();
    Ok([first, second].into_iter().map(named).collect())
}

fn named(end: End) -> Named {
    ("Pipe".into(), Arc::new(Connection { end: Mutex::new(Some(end)) }))
}

impl Connection {
    fn close(&self) -> Result<(), Failure> {
        let end = self.end.lock().unwrap().take();
        Ok(end.map_or(Ok(()), End::close)?)
    }

    /// A method of the end.
    fn call_end(end: &End, method: &str, args: &Args<'_>) -> Answer {
        Ok(match method {
            "poll" => match Patience::timeout(args, 0) {
                Patience::For(timeout) => end.poll(timeout)?.into(),
                _ => end.poll(std::time::Duration::ZERO)?.into(),
            },
            "recv" => end.receive()?,
            "recv_bytes" if args.len() == 0 => bytes(end.receive_bytes()?),
            "recv_bytes" => bytes(end.receive_bytes_max(args.count(0))?),
            "recv_bytes_into" => {
                let length = args.tagged(0, "buffer").and_then(Value::as_u64);
                let length = usize::try_from(length.expect("a length")).unwrap();
                bytes(end.receive_bytes_max(length)?)
            }
            "send" => none(end.send(args.at(0)).map_err(broken))?,
            "send_bytes" => none(end.send_bytes(raw(args).as_bytes()).map_err(broken))?,
            _ => unknown(method),
        })
    }
}

fn raw<'a>(args: &'a Args<'_>) -> &'a str {
    args.tagged(0, "bytes").and_then(Value::as_str).expect("bytes")
}

fn bytes(bytes: Vec<u8>) -> Value {
    json!({ "bytes": String::from_utf8(bytes).unwrap() })
}

/// Python has another name for the end of the file when it is noticed in sending.
fn broken(error: Error) -> Failure {
    match error {
        Error::EndOfFile(_) => Failure::Named("BrokenPipeError"),
        error => error.into(),
    }
}

impl Shared for Connection {
    fn call(&self, method: &str, args: &Args<'_>) -> Answer {
        match method {
            "__enter__" => Ok(Value::Null),
            "__exit__" | "close" => none(self.close()),
            _ => {
                let end = self.end.lock().unwrap().clone().expect("the end is open");
                Self::call_end(&end, method, args)
            }
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
