//! What the fuzz targets run on the bytes they make up, and ordinary tests on a few of their own:
//! whatever the bytes are, nothing may panic, and what is accepted must keep to its laws.
//!
//! A target is a function here, a file of the same name in `fuzz/fuzz_targets` that calls it, and a
//! directory of the same name in `fuzz/corpus`, which is written from [`seeds`].

mod generate;
mod messages;
mod objects;
mod orders;
mod references;
mod seeds;
mod sessions;
mod texts;
mod values;
mod weights;

pub use self::{
    messages::{client_frames, handshakes, server_frames},
    objects::objects,
    orders::orders,
    references::references,
    seeds::{Seed, corpus, seeds},
    sessions::{client_sessions, server_sessions},
    texts::{addresses, authkeys, fences},
    values::values,
    weights::weights,
};

/// A target's name and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 13] = [
    ("addresses", addresses),
    ("authkeys", authkeys),
    ("client_frames", client_frames),
    ("client_sessions", client_sessions),
    ("fences", fences),
    ("handshakes", handshakes),
    ("objects", objects),
    ("orders", orders),
    ("references", references),
    ("server_frames", server_frames),
    ("server_sessions", server_sessions),
    ("values", values),
    ("weights", weights),
];
