//! The `mp-manager` binary, as a shell sees it.

#[cfg(target_os = "linux")]
mod cluster;
mod completions;
mod deadline;
mod fence;
mod fixture;
#[cfg(target_os = "linux")]
mod inherited;
#[cfg(target_os = "linux")]
mod job_control;
mod keygen;
mod lock;
mod log;
mod man;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod memory;
#[cfg(target_os = "linux")]
mod metrics;
mod objects;
mod output;
#[cfg(target_os = "linux")]
mod pid_one;
mod run;
mod serve;
mod socket;
mod state;
#[cfg(target_os = "linux")]
mod stderr;
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(target_os = "linux")]
mod terminal;
mod tls;
mod undecodable;
mod usage;
#[cfg(target_os = "linux")]
mod worker;
