//! One sample of one side: a server, and the clients that work with it.

use std::{
    io,
    process::{Command, Stdio},
};

use clap::ValueEnum;
use mp_manager_bench::{
    AUTHKEY,
    process::{Process, Usage},
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::{
    client::Sample,
    error,
    measured::Measured,
    rows::Row,
    server::{PYTHON, Programs, Server, Side},
};

/// As long as it lives, this thread and what it starts have one processor.
struct Pinned(CpuSet);

impl Pinned {
    fn new() -> io::Result<Self> {
        let before = sched_getaffinity(None)?;
        let first = (0..CpuSet::MAX_CPU).find(|&cpu| before.is_set(cpu)).unwrap_or(0);
        let mut one = CpuSet::new();
        one.set(first);
        sched_setaffinity(None, &one)?;
        Ok(Self(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // What was possible before is possible again.
        let _ = sched_setaffinity(None, &self.0);
    }
}

/// Measures once.
pub(crate) fn measure(
    programs: &Programs,
    row: &Row,
    side: Side,
    count: u64,
    seconds: f64,
) -> io::Result<Measured> {
    let pinned = if row.is_pinned { Some(Pinned::new()?) } else { None };
    let server = programs.start(side)?;
    // Nobody takes turns at an echo.
    let (processes, count) = if side == Side::Echo { (1, 1) } else { (row.processes, count) };
    let mut clients = Vec::new();
    for rank in 0..processes {
        clients.push(start(programs, row, side, &server, count, seconds, rank)?);
    }
    let failed = |why: io::Error| error(format!("{}: {}: {why}", row.name, side.name()));
    for client in &mut clients {
        if client.line().map_err(failed)? != "ready" {
            return Err(failed(error("the client does not get ready")));
        }
    }
    let before = server.usage()?;
    for client in clients.iter_mut().rev() {
        client.tell("go")?;
    }
    let mut samples = Vec::new();
    for client in &mut clients {
        let said = client.line().map_err(failed)?;
        samples.push(serde_json::from_str::<Sample>(&said)?);
    }
    let after = server.usage()?;
    drop(pinned);
    // The server goes after them: they would say that it is gone.
    drop(clients);
    Ok(summary(&samples, &before, &after))
}

fn start(
    programs: &Programs,
    row: &Row,
    side: Side,
    server: &Server,
    count: u64,
    seconds: f64,
    rank: u32,
) -> io::Result<Process> {
    let work = row.work.to_possible_value().map(|value| value.get_name().to_owned());
    let work = work.unwrap_or_default();
    let (seconds, count, rank) = (seconds.to_string(), count.to_string(), rank.to_string());
    let mut command;
    if let Some(speaks) = side.speaks().and_then(|speaks| speaks.to_possible_value()) {
        command = Command::new(std::env::current_exe()?);
        command
            .args(["client", &work, "--speaks", speaks.get_name(), "--seconds", &seconds])
            .args(["--count", &count, "--rank", &rank, "--address", server.address()])
            .env("MP_MANAGER_AUTHKEY", AUTHKEY)
            .env_remove("MP_MANAGER_AUTHKEY_FILE");
        if let Some(process) = server.process() {
            command.args(["--server", &process.id().to_string()]);
        }
    } else {
        command = Command::new(programs.python());
        command.args(["-c", PYTHON, "client", &work, server.address(), &seconds, &count, &rank]);
    }
    Process::start(command.stdin(Stdio::piped()))
}

fn summary(samples: &[Sample], before: &Usage, after: &Usage) -> Measured {
    let all: u64 = samples.iter().map(|sample| sample.all).sum();
    let each = |used: f64| if all == 0 { f64::NAN } else { used / all as f64 };
    let first = samples.first().cloned().unwrap_or_default();
    Measured {
        rate: samples
            .iter()
            .filter(|sample| sample.seconds > 0.0)
            .map(|sample| sample.operations as f64 / sample.seconds)
            .sum(),
        seconds: first.seconds,
        p50: first.p50,
        bytes: first.bytes,
        server_cpu: each(after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6),
        switches: each(after.switches.saturating_sub(before.switches) as f64),
        server_kib: after.kib,
    }
}
