//! The arguments of a call, as scenarios write them.

use std::time::Duration;

use mp_manager::Slice;
use serde_json::Value;

use super::Objects;

/// The arguments of a call, who calls, and what they may refer to.
pub(crate) struct Args<'a> {
    pub(crate) values: &'a [Value],
    pub(crate) thread: &'a str,
    pub(crate) objects: &'a Objects,
}

impl Args<'_> {
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn at(&self, index: usize) -> &Value {
        self.values.get(index).unwrap_or(&Value::Null)
    }

    pub(super) fn integer(&self, index: usize) -> Option<i64> {
        self.at(index).as_i64()
    }

    /// A number of things; negative ones are none.
    pub(super) fn count(&self, index: usize) -> usize {
        self.integer(index).map_or(0, |count| usize::try_from(count).unwrap_or_default())
    }

    pub(super) fn text(&self, index: usize) -> &str {
        self.at(index).as_str().unwrap_or_else(|| panic!("no text: {}", self.at(index)))
    }

    /// A keyword argument of a call that has no others.
    pub(super) fn keyword(&self, name: &str) -> Option<&Value> {
        self.tagged(0, "kw")?.get(name)
    }

    /// A value behind a tag: `{"bytes": …}`.
    pub(super) fn tagged(&self, index: usize, tag: &str) -> Option<&Value> {
        self.at(index).as_object()?.get(tag)
    }

    pub(super) fn slice(&self, index: usize) -> Option<Slice> {
        let parts = self.tagged(index, "slice")?;
        let slice = Slice::new();
        let slice = parts[0].as_i64().map_or(slice, |start| slice.start(start));
        let slice = parts[1].as_i64().map_or(slice, |stop| slice.stop(stop));
        Some(parts[2].as_i64().map_or(slice, |step| slice.step(step)))
    }

    /// The elements of a list, set or tuple.
    pub(super) fn elements(&self, index: usize) -> Vec<Value> {
        let tagged = self.tagged(index, "set").or_else(|| self.tagged(index, "tuple"));
        let elements = tagged.unwrap_or_else(|| self.at(index)).as_array();
        elements.unwrap_or_else(|| panic!("no elements: {}", self.at(index))).clone()
    }

    /// The entries of a dict or of a list of pairs.
    pub(super) fn entries(&self, index: usize) -> Vec<(Value, Value)> {
        let pairs = self.tagged(index, "dict").unwrap_or_else(|| self.at(index)).as_array();
        let pairs = pairs.unwrap_or_else(|| panic!("no entries: {}", self.at(index)));
        pairs.iter().map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    /// The object that an argument refers to: `{"ref": "name"}`.
    pub(super) fn object<T: Clone + 'static>(&self, index: usize, tag: &str) -> Option<T> {
        let name = self.tagged(index, tag)?.as_str()?;
        let objects = self.objects.lock().unwrap();
        let (_, object) = objects.get(name).unwrap_or_else(|| panic!("no object {name}"));
        Some(object.as_any().downcast_ref::<T>().expect("an object of that type").clone())
    }
}

/// How long a call of Python's may wait, from its arguments.
pub(crate) enum Patience {
    Forever,
    Never,
    For(Duration),
}

impl Patience {
    /// Of `method(…, blocking, timeout)`, where `blocking` is at this place.
    pub(super) fn new(args: &Args<'_>, blocking: usize) -> Self {
        if args.at(blocking) == &Value::Bool(false) {
            Self::Never
        } else {
            Self::timeout(args, blocking + 1)
        }
    }

    /// Of `method(…, timeout)`.
    pub(super) fn timeout(args: &Args<'_>, timeout: usize) -> Self {
        match args.at(timeout).as_f64() {
            Some(seconds) => Self::For(Duration::from_secs_f64(seconds.max(0.0))),
            None => Self::Forever,
        }
    }
}
