//! Asking one object, or the directory: requests out of values, and values out of replies.

pub(crate) mod as_value;
pub(crate) mod codec;
pub(crate) mod fence;
pub(crate) mod object;
pub(crate) mod reply;
pub(crate) mod subject;
