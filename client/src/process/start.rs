//! Starts a process, and watches it until it has ended.

use std::{fmt, thread};

use tokio::sync::{oneshot, watch};

use crate::{
    error::{Error, Result},
    failure::TaskFailure,
    process::{
        arguments::Held,
        children,
        control::FrameKind,
        handle::{Body, Process, Shared},
        log,
        outcome::Outcome,
        output::Output,
        spawn::{Child, Launch, await_either, await_end, kill_group, spawn},
    },
};

/// Starts a process, on the thread that watches it from then on.
pub(super) async fn start(launch: Launch, is_program: bool, held: Option<Held>) -> Result<Process> {
    let (send, receive) = oneshot::channel();
    let name = launch.name.clone();
    let failed =
        |error: &dyn fmt::Display| Error::Start { name: name.clone(), message: error.to_string() };
    let life = move || {
        let (name, daemon, leads_group) = (launch.name.clone(), launch.daemon, launch.leads_group);
        let child = spawn(launch)
            .and_then(|child| if is_program { has_become(&name, child) } else { Ok(child) });
        match child {
            Err(error) => {
                discard(held);
                let _ = send.send(Err(error));
            }
            Ok(child) => {
                let Child { pid, pidfd, control, process, output } = child;
                let outcome = watch::Sender::new(None);
                let body = Body::Here { control, is_program };
                let shared = Shared { name, daemon, pid, pidfd, body, outcome };
                let handle = Process::of(shared);
                children::add(handle.clone());
                log::started(handle.name(), handle.pid());
                if send.send(Ok(handle.clone())).is_err() {
                    // Whoever started it has gone.
                    let _ = handle.kill();
                }
                watch_until_ended(&handle, (process, leads_group), output, held);
            }
        }
    };
    thread::Builder::new()
        .name("mp-manager-child".into())
        .spawn(life)
        .map_err(|error| failed(&error))?;
    receive.await.map_err(|error| failed(&error))?
}

/// Waits until a child has become the other program, which closes the control socket.
fn has_become(name: &str, mut child: Child) -> Result<Child> {
    let message = match child.control.receive() {
        Ok(None) => return Ok(child),
        Ok(Some(frame)) => failure_of(&frame.payload).map_or_else(
            || "it said what nobody understands".into(),
            |failure| failure.to_string(),
        ),
        Err(error) => error.to_string(),
    };
    let _ = child.wait();
    Err(Error::Start { name: name.into(), message })
}

fn failure_of(payload: &[u8]) -> Option<TaskFailure> {
    rmp_serde::from_slice(payload).ok()
}

/// Nobody takes them any more.
fn discard(held: Option<Held>) {
    if let Some(held) = held {
        pollster::block_on(held.discard());
    }
}

/// Waits until the process has ended, and says how.
fn watch_until_ended(
    process: &Process,
    (mut child, leads_group): (std::process::Child, bool),
    output: Option<Output>,
    mut held: Option<Held>,
) {
    let Shared { body, pidfd, outcome, .. } = process.shared();
    let Body::Here { control, .. } = body else { return };
    let mut failure = None;
    let mut is_open = true;
    let mut take = |is_open: &mut bool| match control.receive() {
        Ok(Some(frame)) if frame.kind == FrameKind::Failed => failure = failure_of(&frame.payload),
        Ok(Some(frame)) if frame.kind == FrameKind::Taken => held = None,
        Ok(Some(_)) => {}
        Ok(None) | Err(_) => *is_open = false,
    };
    // If it cannot be watched it is only waited for.
    while is_open {
        match await_either(control, pidfd, None) {
            Ok((_, true)) | Err(_) => break,
            Ok((true, false)) => take(&mut is_open),
            Ok((false, false)) => {}
        }
    }
    if leads_group && await_end(pidfd).is_ok() {
        // What it has started ends with it. Before it is waited for: its group cannot be another one.
        kill_group(process.pid());
    }
    let ended = child.wait();
    // What it said last; a process of its own that it left behind may keep the socket open.
    if is_open && control.set_nonblocking().is_ok() {
        while is_open {
            take(&mut is_open);
        }
    }
    if let Some(output) = output {
        output.finish();
    }
    children::remove(process);
    let how = Outcome::of(ended.ok(), failure);
    log::ended(process.name(), process.pid(), &how);
    outcome.send_replace(Some(how));
    discard(held);
}
