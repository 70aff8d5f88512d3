//! What the two sides are asked: scripts of calls, one file per kind.
//!
//! ```text
//! == A title [3.13]                 begins a scenario; the oldest Python that can run it
//! d = dict()                        makes an object
//! d.__setitem__("a", 1)             calls a method; the arguments are JSON
//! l.sort({"kw": {"reverse": true}}) with keyword arguments; other tags are for what JSON lacks
//! b: d.get("a")                     the same on a thread b
//! b> q.get()                        begins a call on thread b, after those that it has begun …
//! b<                                … and this is what the first of them gave
//! until x.n_waiting() == 1          calls until that is the result
//! inner = l.__getitem__(0)          names an object that a call returns
//! del d                             drops the proxy
//! -- reason: 3 | !KeyError          the line before gives 3 in Python and a KeyError here, for a
//!                                   reason in deviations.rs
//! # a comment
//! ```

use serde_json::{Value, json};

/// What a step gave: a value or the name of an exception.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Ok(Value),
    Error(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok(value) => write!(f, "{value}"),
            Self::Error(name) => write!(f, "!{name}"),
        }
    }
}

impl Outcome {
    fn parse(text: &str) -> Self {
        match text.trim().strip_prefix('!') {
            Some(name) => Self::Error(name.into()),
            None => Self::Ok(parse_json(text)),
        }
    }
}

pub(crate) struct Scenario {
    pub(crate) file: &'static str,
    pub(crate) title: String,
    /// The oldest Python that has what it uses: 3 and this.
    pub(crate) since: u32,
    pub(crate) steps: Vec<Step>,
}

pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) action: Action,
    pub(crate) deviation: Option<Deviation>,
}

/// A difference that is meant.
pub(crate) struct Deviation {
    pub(crate) reason: String,
    pub(crate) python: Outcome,
    pub(crate) ours: Outcome,
}

#[derive(Clone)]
pub(crate) enum Action {
    New { names: Vec<String>, kind: String, args: Vec<Value> },
    Call(Call),
    Finish { thread: String },
    Until { call: Call, value: Value },
    Delete { name: String },
}

#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) names: Vec<String>,
    pub(crate) thread: Option<String>,
    /// Only begins; a later step has what it gave.
    pub(crate) begin: bool,
    pub(crate) object: String,
    pub(crate) method: String,
    pub(crate) args: Vec<Value>,
}

impl Action {
    /// As the driver reads it.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::New { names, kind, args } => {
                json!({"do": "new", "names": names, "kind": kind, "args": args})
            }
            Self::Call(call) => call.to_json("call", &Value::Null),
            Self::Finish { thread } => json!({"do": "finish", "thread": thread}),
            Self::Until { call, value } => call.to_json("until", value),
            Self::Delete { name } => json!({"do": "del", "name": name}),
        }
    }
}

impl Call {
    fn to_json(&self, action: &str, value: &Value) -> Value {
        let Self { names, thread, begin, object, method, args } = self;
        json!({
            "do": action, "names": names, "thread": thread, "begin": begin,
            "object": object, "method": method, "args": args, "value": value,
        })
    }
}

/// The scenarios of a file.
pub(crate) fn parse(file: &'static str, text: &str) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if let Some(title) = line.strip_prefix("== ") {
            let (title, since) = parse_title(title);
            scenarios.push(Scenario { file, title, since, steps: Vec::new() });
        } else if !line.is_empty() && !line.starts_with('#') {
            let scenario = scenarios.last_mut().unwrap_or_else(|| panic!("{file}: no title"));
            scenario.add(number, line);
        }
    }
    scenarios
}

impl Scenario {
    fn add(&mut self, line: usize, text: &str) {
        if let Some(deviation) = text.strip_prefix("-- ") {
            let step = self.steps.last_mut().expect("a deviation follows a step");
            step.deviation = Some(parse_deviation(deviation));
        } else {
            let action = parse_action(text);
            self.steps.push(Step { line, text: text.into(), action, deviation: None });
        }
    }
}

fn parse_title(text: &str) -> (String, u32) {
    let versioned = text.strip_suffix(']').and_then(|text| text.rsplit_once(" [3."));
    match versioned {
        Some((title, minor)) => (title.into(), minor.parse().expect("a version")),
        None => (text.into(), 0),
    }
}

fn parse_deviation(text: &str) -> Deviation {
    let (reason, outcomes) = text.split_once(": ").expect("reason: python | ours");
    let (python, ours) = outcomes.split_once(" | ").expect("python | ours");
    Deviation { reason: reason.into(), python: Outcome::parse(python), ours: Outcome::parse(ours) }
}

fn parse_action(text: &str) -> Action {
    if let Some(name) = text.strip_prefix("del ") {
        return Action::Delete { name: name.into() };
    }
    if let Some(rest) = text.strip_prefix("until ") {
        let (call, value) = rest.rsplit_once(" == ").expect("until call == value");
        let Action::Call(call) = parse_call(call, None, false) else { panic!("no call: {text}") };
        return Action::Until { call, value: parse_json(value) };
    }
    let head: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
    match text[head.len()..].split_at_checked(1) {
        Some(("<", "")) => Action::Finish { thread: head },
        Some((":", rest)) => parse_call(rest.trim(), Some(head), false),
        Some((">", rest)) => parse_call(rest.trim(), Some(head), true),
        _ => parse_call(text, None, false),
    }
}

fn parse_call(text: &str, thread: Option<String>, begin: bool) -> Action {
    let (head, args) = text.split_once('(').unwrap_or_else(|| panic!("no call: {text}"));
    let args = args.strip_suffix(')').unwrap_or_else(|| panic!("no call: {text}"));
    let Value::Array(args) = parse_json(&format!("[{args}]")) else { unreachable!() };
    let (names, target) = head.split_once(" = ").unwrap_or(("", head));
    let names = names.split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match target.split_once('.') {
        Some((object, method)) => {
            let (object, method) = (object.into(), method.into());
            Action::Call(Call { names, thread, begin, object, method, args })
        }
        None => Action::New { names, kind: target.into(), args },
    }
}

fn parse_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}
