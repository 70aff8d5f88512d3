//! Where we differ from Python on purpose, and what of Python's has no counterpart here.
//!
//! What our types rule out cannot be called at all, and so is in no scenario: notifying without the
//! lock, using an end of a pipe that is closed, storing text in an Array. What we give where Python
//! gives nothing, such as the old value of a key that is set, is left aside.

/// Reasons, by the name that scenarios give after `--`.
pub(crate) const DEVIATIONS: &[(&str, &str)] = &[
    ("equality", "values of different types are never equal: 1, 1.0 and true are three values"),
    ("from_keys", "from_keys fills the dict it is called on; Python's makes another"),
    ("fixed length", "an Array keeps its length, as multiprocessing.Array does"),
    ("failed put", "a put that fails puts nothing; Python's PriorityQueue keeps the item"),
    ("priority", "what has no order at all is refused at once, not when a second one comes"),
    ("keys", "every value that has no NaN in it can be a key or an element of a set"),
    ("operators", "operators take another shared set as methods do; Python's want a local one"),
    ("task_done", "it finishes what get has taken; in Python, whatever was put"),
    ("too long", "a message that is longer than wanted stays; Python loses it, or the connection"),
    ("typed errors", "a constructor's error is typed; Python's is a traceback as text"),
];

/// Kind, method, and why it is not compared.
pub(crate) const NOT_APPLICABLE: &[(&str, &str, &str)] = &[
    ("dict", "__ror__", REFLECTED),
    ("set", "__rand__", REFLECTED),
    ("set", "__ror__", REFLECTED),
    ("set", "__rsub__", REFLECTED),
    ("set", "__rxor__", REFLECTED),
    ("Namespace", "__getattribute__", "what the proxy's __getattr__ calls"),
    ("Barrier", "__getattribute__", "what the proxy's parties, n_waiting and broken call"),
    ("Lock", "acquire_lock", SYNONYM),
    ("Lock", "release_lock", SYNONYM),
    ("Lock", "locked_lock", SYNONYM),
    ("Semaphore", "locked", NO_REFERENT),
    ("BoundedSemaphore", "locked", NO_REFERENT),
    ("Condition", "notifyAll", SYNONYM),
    ("Event", "isSet", SYNONYM),
    ("Pipe", "closed", "close() consumes the end"),
    ("Pipe", "fileno", "there is no file"),
    ("Pipe", "readable", "whoever opens the pipe knows; the other way is an error"),
    ("Pipe", "writable", "whoever opens the pipe knows; the other way is an error"),
    ("Manager", "Pool", "not one of the shared objects"),
    ("Manager", "__enter__", "a manager is started or connected when it is there"),
    ("Manager", "__exit__", "an embedded manager ends with its last handle; there is shutdown"),
    (
        "Manager",
        "get_server",
        "a server without a process of its own is the crate mp-manager-server",
    ),
    ("Manager", "register", "every kind is there; a server runs no code of its clients'"),
    ("Manager", "join", "shutdown returns when the server has ended"),
];

const REFLECTED: &str = "the operator of a local value; in Rust, copy() first";
const NO_REFERENT: &str = "3.14's proxy has it, threading's semaphores do not";
const SYNONYM: &str = "an obsolete synonym";
