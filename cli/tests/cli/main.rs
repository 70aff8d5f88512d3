//! The `mp-manager` binary, as a shell sees it.

mod completions;
mod deadline;
mod fence;
mod fixture;
mod keygen;
mod lock;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory;
mod objects;
mod output;
mod serve;
mod socket;
mod state;
#[cfg(target_os = "linux")]
mod stderr;
mod tls;
mod undecodable;
mod usage;
