//! What guards are made of.

pub(crate) mod grant;
pub(crate) mod owner;
pub(crate) mod reentrant;
