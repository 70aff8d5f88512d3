//! An agent's half of processes on other hosts: starts them, signals them, and says how they ended.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use futures_util::future::{Either, select};
use mp_manager_proto::{
    v1::{PoolEnlist, PoolReport, PoolTicket},
    value,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::watch;

use crate::{
    error::{Error, Result},
    failure::TaskFailure,
    objects::{
        Manager,
        pool::{Hold, SharedPool, Work},
    },
    process::{
        arguments::Held,
        bootstrap::Role,
        handle::Process,
        hosted::{
            Ended, Order, PROCESS, SIGNAL, STARTED, Signalled, array_of, element_of, pool_name,
            program_of,
        },
        pool::submit::write_failure,
        spawn::{Exec, Launch},
        start::start,
    },
};

/// How long one call for work waits.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// So many orders come at once.
const MAX_ORDERS: u32 = 64;
/// How often it looks whether somebody still wants a process.
const LOOK: Duration = Duration::from_millis(100);
/// How long a process that nobody wants has from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long the manager may take to hear that it leaves.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long it waits before it tries to come back.
const PAUSE: Duration = Duration::from_millis(500);

/// The programs that others may start here, and how their output is printed.
pub(super) struct Allows {
    /// The program that their processes are.
    pub(super) exec: Exec,
    /// Any other one.
    pub(super) commands: bool,
    /// Each line of all output comes after the process's name.
    pub(super) prefixes_output: bool,
}

/// Starts processes for others.
pub(super) struct Hosting {
    manager: Manager,
    pool: SharedPool,
    /// The pool's name.
    name: String,
    host: String,
    allows: Allows,
    processes: Mutex<HashMap<String, Hosted>>,
    count: watch::Sender<usize>,
    /// No more orders are taken.
    over: watch::Sender<bool>,
}

/// A process that somebody has ordered, or asked after before the order came.
#[derive(Default)]
struct Hosted {
    process: Option<Process>,
    /// Whether it has come as far as its starter waits for.
    started: Option<std::result::Result<u32, TaskFailure>>,
    /// The ticket of who waits for that.
    waits: Option<PoolTicket>,
}

impl Hosting {
    /// Begins to take orders.
    pub(super) async fn begin(
        manager: &Manager,
        (pool, host): (&str, &str),
        allows: Allows,
    ) -> Result<Arc<Self>> {
        let name = pool_name(pool, host);
        let pool = manager.shared_pool(name.clone()).await?;
        let hosting = Arc::new(Self {
            manager: manager.clone(),
            pool,
            name,
            host: host.into(),
            allows,
            processes: Mutex::default(),
            count: watch::Sender::new(0),
            over: watch::Sender::new(false),
        });
        let taking = Arc::clone(&hosting);
        let take = move || {
            while !*taking.over.borrow() {
                if !taking.take() {
                    thread::sleep(PAUSE);
                }
            }
        };
        let started = thread::Builder::new().name("mp-manager-hosting".into()).spawn(take);
        let cannot_start = |error| Error::Configuration(format!("cannot start a thread: {error}"));
        started.map_err(cannot_start)?;
        Ok(hosting)
    }

    /// Waits until no process is left.
    pub(super) async fn are_gone(&self) {
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Takes no more orders, and kills the processes.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
        for process in self.lock().values().filter_map(|hosted| hosted.process.as_ref()) {
            let _ = process.kill();
        }
    }

    /// Removes the pool of this host, which nobody works in any more.
    pub(super) async fn leave(&self) {
        self.over.send_replace(true);
        // If the manager is gone, so is the pool.
        let delete = pin!(self.manager.delete(&self.name));
        let _ = tokio::time::timeout(FAREWELL, delete).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Hosted>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes orders once: whether it may again at once.
    fn take(self: &Arc<Self>) -> bool {
        let mut over = self.over.subscribe();
        let over = pin!(over.wait_for(|is_over| *is_over));
        let take = pin!(self.pool.take(MAX_ORDERS, TAKE_TIMEOUT));
        // What was taken meanwhile goes back.
        let Either::Right((taken, _)) = pollster::block_on(select(over, take)) else {
            return false;
        };
        match taken {
            Ok(Some(Work { tickets, hold })) => {
                for ticket in tickets {
                    self.obey(ticket, &hold);
                }
                true
            }
            Ok(None) => true,
            // In another session it is no worker yet.
            Err(Error::NotHeld(_)) => {
                let enlist = PoolEnlist { name: self.host.clone(), ..PoolEnlist::default() };
                pollster::block_on(self.pool.enlist(enlist)).is_ok()
            }
            Err(_) => false,
        }
    }

    fn obey(self: &Arc<Self>, ticket: PoolTicket, hold: &Arc<Hold>) {
        match ticket.task.as_ref().map(|task| &*task.name) {
            Some(PROCESS) => {
                let (hosting, hold) = (Arc::clone(self), Arc::clone(hold));
                self.count.send_modify(|count| *count += 1);
                let token = ticket.token;
                let host = move || {
                    let ended = hosting.host(&ticket, &hold);
                    hosting.report(ticket.token, ended);
                    hosting.count.send_modify(|count| *count -= 1);
                };
                if let Err(error) =
                    thread::Builder::new().name("mp-manager-hosted".into()).spawn(host)
                {
                    self.count.send_modify(|count| *count -= 1);
                    self.report::<()>(token, Err(failed("cannot start a thread", &error)));
                }
            }
            Some(STARTED) => match arguments::<String>(&ticket) {
                Ok(id) => self.tell(&id, |hosted| hosted.waits = Some(ticket)),
                Err(failure) => self.report::<()>(ticket.token, Err(failure)),
            },
            Some(SIGNAL) => {
                let signalled =
                    arguments::<(String, Signalled)>(&ticket).and_then(|(id, signal)| {
                        let process =
                            self.lock().get(&id).and_then(|hosted| hosted.process.clone());
                        // One that has ended is left alone.
                        process.map_or(Ok(()), |process| send(&process, signal))
                    });
                self.report(ticket.token, signalled);
            }
            _ => self.report::<()>(ticket.token, Err(TaskFailure::UnknownTask)),
        }
    }

    /// Starts a process, and waits for its end.
    fn host(&self, ticket: &PoolTicket, hold: &Hold) -> std::result::Result<Ended, TaskFailure> {
        let order: Order = arguments(ticket)?;
        let id = order.id.clone();
        let ended = self.host_order(order, &|| self.pool.is_lost(ticket, hold));
        if let Err(failure) = &ended {
            let failure = failure.clone();
            self.tell(&id, |hosted| hosted.started = Some(Err(failure)));
        }
        self.lock().remove(&id);
        ended
    }

    fn host_order(
        &self,
        order: Order,
        is_unwanted: &dyn Fn() -> bool,
    ) -> std::result::Result<Ended, TaskFailure> {
        if let Some(program) = program_of(&order.role).filter(|_| !self.allows.commands) {
            let chain = vec![format!(
                "host \"{}\" does not run {}: its agent was started without --allow-commands",
                self.host,
                program.display()
            )];
            return Err(TaskFailure::Failed { chain });
        }
        let (taken, mut is_taken) = watch::channel(false);
        let held = match &order.role {
            Role::Task { held: Some(name), .. } => {
                Some(Held::for_another(self.manager.clone(), name.clone(), Bell(taken)))
            }
            _ => None,
        };
        let launch = Launch {
            exec: Some(self.allows.exec.clone()),
            leads_group: true,
            name: order.name,
            daemon: order.daemon,
            environment: order.environment,
            current_dir: order.current_dir,
            role: order.role,
            arguments: order.arguments,
            manager: self.manager.environment(),
            prefixes_output: order.prefixes_output || self.allows.prefixes_output,
        };
        let is_program = program_of(&launch.role).is_some();
        let waits_for_taking = held.is_some();
        let process =
            pollster::block_on(start(launch, is_program, held)).map_err(|error| match error {
                Error::Start { message, .. } => TaskFailure::Failed { chain: vec![message] },
                error => TaskFailure::Failed { chain: vec![error.to_string()] },
            })?;
        self.tell(&order.id, |hosted| hosted.process = Some(process.clone()));
        if waits_for_taking {
            // Its starter keeps the originals until then; the bell is rung at its end as well.
            let _ = pollster::block_on(is_taken.wait_for(|is_taken| *is_taken));
        }
        let pid = process.pid();
        self.tell(&order.id, |hosted| hosted.started = Some(Ok(pid)));
        while !process.wait_timeout(LOOK) {
            if is_unwanted() {
                let _ = process.terminate();
                if !process.wait_timeout(GRACE) {
                    let _ = process.kill();
                }
            }
        }
        match process.outcome() {
            Some(outcome) => Ok(outcome.into()),
            None => Err(TaskFailure::Failed { chain: vec!["nobody knows how it ended".into()] }),
        }
    }

    /// Notes something of a process, and tells its starter if that has waited for it.
    fn tell(&self, id: &str, note: impl FnOnce(&mut Hosted)) {
        let told = {
            let mut processes = self.lock();
            let hosted = processes.entry(id.into()).or_default();
            note(hosted);
            match hosted.started.is_some() {
                true => hosted.waits.take().zip(hosted.started.clone()),
                false => None,
            }
        };
        if let Some((ticket, started)) = told {
            self.report(ticket.token, started);
        }
    }

    fn report<T: Serialize>(&self, token: u64, result: std::result::Result<T, TaskFailure>) {
        let encoded = result.and_then(|result| {
            array_of(&result)
                .map_err(|error| TaskFailure::Unserialisable { message: error.to_string() })
        });
        let (results, failures) = match encoded {
            Ok(results) => (Some(results), Vec::new()),
            Err(failure) => (None, vec![write_failure(0, failure)]),
        };
        self.pool.report(vec![PoolReport {
            token,
            count: 1,
            results,
            failures,
            ..PoolReport::default()
        }]);
    }
}

/// Rings when it is dropped.
struct Bell(watch::Sender<bool>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

fn send(process: &Process, signal: Signalled) -> std::result::Result<(), TaskFailure> {
    let sent = match signal {
        Signalled::Interrupt => process.interrupt(),
        Signalled::Terminate => process.terminate(),
        Signalled::Kill => process.kill(),
    };
    sent.map_err(|error| failed("cannot signal it", &error))
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> TaskFailure {
    TaskFailure::Failed { chain: vec![what.into(), error.to_string()] }
}

fn arguments<T: DeserializeOwned>(ticket: &PoolTicket) -> std::result::Result<T, TaskFailure> {
    let data = ticket.args.as_ref().map(|args| &args.data[..]).unwrap_or_default();
    let undecodable =
        |error: value::CodecError| TaskFailure::Undecodable { message: error.to_string() };
    element_of(data).map_err(undecodable)
}
