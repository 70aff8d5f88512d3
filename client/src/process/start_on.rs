//! Starts a process on another host, and watches it until it has ended.

use std::{pin::pin, sync::Arc, thread};

use futures_util::future::{Either, select};
use mp_manager_proto::v1::PoolRun;
use rustix::event::{EventfdFlags, eventfd};
use tokio::sync::{oneshot, watch};

use crate::{
    error::{Error, Result},
    objects::{Manager, pool::SharedPool},
    process::{
        arguments::Held,
        children,
        handle::{Body, Process, Shared},
        hosted::{Ended, Order, PROCESS, STARTED, pool_name, run},
        log,
        outcome::Outcome,
        remote::{Remote, result_of},
    },
};

/// A host, on which processes are started.
pub(super) struct Target {
    pub(super) manager: Manager,
    pub(super) pool: SharedPool,
    pub(super) pool_name: String,
    pub(super) host: String,
}

/// The exit code of a process of which nobody knows how it ended.
const UNKNOWN: i32 = 255;

/// Starts a process on a host, and returns when it is there.
pub(super) async fn start(target: Target, order: Order, held: Option<Held>) -> Result<Process> {
    let name = order.name.clone();
    let failed = |message: String| Error::Start { name: name.clone(), message };
    let pool = target.find().await.map_err(|error| match error {
        Error::ObjectNotFound(_) => failed(format!(
            "the pool's host \"{}\" is no agent, and starts processes of its own program only",
            target.host
        )),
        error => error,
    })?;
    let encoded = |error: mp_manager_proto::value::CodecError| failed(error.to_string());
    let (ordered, started) =
        (run(PROCESS, &order).map_err(encoded)?, run(STARTED, &order.id).map_err(encoded)?);
    let (send, receive) = oneshot::channel();
    let life = move || live(target, pool, order, (ordered, started), held, send);
    thread::Builder::new()
        .name("mp-manager-child".into())
        .spawn(life)
        .map_err(|error| failed(error.to_string()))?;
    receive.await.map_err(|error| failed(error.to_string()))?
}

impl Target {
    /// The pool that the host works in alone.
    async fn find(&self) -> Result<SharedPool> {
        let status = self.pool.status().await?;
        if !status.hosts.iter().any(|host| host.name == self.host) {
            let names: Vec<_> = status.hosts.into_iter().map(|host| host.name).collect();
            let hosts = if names.is_empty() { "it has none".into() } else { names.join(", ") };
            return Err(Error::Configuration(format!(
                "pool \"{}\" has no host \"{}\" (its hosts: {hosts})",
                self.pool_name, self.host
            )));
        }
        let name = pool_name(&self.pool_name, &self.host);
        self.manager.shared_pool(name).existing().open().await
    }
}

/// Starts it, and watches it to its end, on a thread of its own.
fn live(
    target: Target,
    pool: SharedPool,
    order: Order,
    (ordered, started): (PoolRun, PoolRun),
    held: Option<Held>,
    send: oneshot::Sender<Result<Process>>,
) {
    let failed = |message: String| Error::Start { name: order.name.clone(), message };
    let mut ending = Box::pin(result_of::<Ended>(&pool, ordered));
    let is_there = pin!(result_of::<u32>(&pool, started));
    let began = pollster::block_on(select(is_there, &mut ending));
    let pid = match began {
        Either::Left((Ok(pid), _)) => pid,
        Either::Left((Err(why), _)) | Either::Right((Err(why), _)) => {
            let _ = send.send(Err(failed(why.to_string())));
            return discard(held);
        }
        Either::Right((Ok(ended), _)) => {
            let message = format!("it {} before it had started", Outcome::from(ended));
            let _ = send.send(Err(failed(message)));
            return discard(held);
        }
    };
    // The process has its own now.
    drop(held);
    let ended = match eventfd(0, EventfdFlags::CLOEXEC) {
        Ok(ended) => ended,
        Err(error) => {
            let _ = send.send(Err(failed(error.to_string())));
            return;
        }
    };
    let (host, id) = (target.host, order.id);
    let shared = Shared {
        name: order.name.clone(),
        daemon: order.daemon,
        pid,
        pidfd: ended,
        body: Body::There(Arc::new(Remote::new(pool.clone(), id, host))),
        outcome: watch::Sender::new(None),
    };
    let process = Process::of(shared);
    children::add(process.clone());
    log::started(process.name(), pid);
    if send.send(Ok(process.clone())).is_err() {
        // Whoever started it has gone: the run is cancelled, and so the process terminated.
        children::remove(&process);
        return;
    }
    let outcome = match pollster::block_on(ending) {
        Ok(ended) => ended.into(),
        Err(failure) => Outcome::Failed { failure, exit_code: UNKNOWN },
    };
    children::remove(&process);
    log::ended(process.name(), pid, &outcome);
    process.shared().outcome.send_replace(Some(outcome));
    let _ = rustix::io::write(&process.shared().pidfd, &1_u64.to_ne_bytes());
}

fn discard(held: Option<Held>) {
    if let Some(held) = held {
        pollster::block_on(held.discard());
    }
}
