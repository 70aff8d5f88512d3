//! The commands, one file each.

mod cert;
mod completions;
mod dict;
mod event;
mod inspect;
mod keygen;
mod list;
mod lock;
mod ls;
mod man;
mod ping;
#[cfg(target_os = "linux")]
mod pool;
mod queue;
mod rm;
mod run;
mod serve;
mod set;
#[cfg(target_os = "linux")]
pub(crate) mod tied;
mod value;
#[cfg(target_os = "linux")]
mod worker;

use std::{future::Future, process::ExitCode};

use clap::Subcommand;
use tokio::runtime::Builder;

use crate::{error::Error, json::undecoded_values, options::Options};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Serve),
    Keygen(keygen::Keygen),
    Cert(cert::Cert),
    Ping(ping::Ping),
    Ls(ls::Ls),
    Inspect(inspect::Inspect),
    Rm(rm::Rm),
    Dict(dict::Dict),
    List(list::List),
    Set(set::Set),
    Value(value::Value),
    Queue(queue::Queue),
    Event(event::Event),
    Lock(lock::Lock),
    #[cfg(target_os = "linux")]
    Worker(worker::Worker),
    #[cfg(target_os = "linux")]
    Pool(pool::Pool),
    Run(run::Run),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    /// Runs it to its end.
    pub(crate) fn run(self, options: &Options) -> Result<ExitCode, Error> {
        match self {
            Self::Serve(serve) => block_on(serve.run(options)),
            Self::Keygen(keygen) => done(keygen.run()),
            Self::Cert(cert) => done(block_on(cert.run(options))),
            Self::Ping(ping) => done(block_on(ping.run(options))),
            Self::Ls(ls) => done(block_on(ls.run(options))),
            Self::Inspect(inspect) => done(block_on(inspect.run(options))),
            Self::Rm(rm) => done(block_on(rm.run(options))),
            Self::Dict(dict) => done(block_on(dict.run(options))),
            Self::List(list) => done(block_on(list.run(options))),
            Self::Set(set) => done(block_on(set.run(options))),
            Self::Value(value) => done(block_on(value.run(options))),
            Self::Queue(queue) => done(block_on(queue.run(options))),
            Self::Event(event) => done(block_on(event.run(options))),
            Self::Lock(lock) => block_on(lock.run(options)),
            #[cfg(target_os = "linux")]
            Self::Worker(worker) => block_on(worker.run(options)),
            #[cfg(target_os = "linux")]
            Self::Pool(pool) => done(block_on(pool.run(options))),
            Self::Run(run) => block_on_threads(run.run(options)),
            Self::Completions(completions) => done(completions.run()),
            Self::Man(man) => done(man.run()),
        }
    }
}

fn done(result: Result<(), Error>) -> Result<ExitCode, Error> {
    result?;
    match undecoded_values() {
        0 => Ok(ExitCode::SUCCESS),
        count => Err(Error::Undecodable(count)),
    }
}

/// Runs a command, on this thread.
fn block_on<T>(command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    block_on_runtime(&mut Builder::new_current_thread(), command)
}

/// Runs a command, on this thread and others.
fn block_on_threads<T>(command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    block_on_runtime(&mut Builder::new_multi_thread(), command)
}

fn block_on_runtime<T>(
    builder: &mut Builder,
    command: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let runtime = builder.enable_all().build().map_err(Error::io("cannot start"))?;
    let result = runtime.block_on(command);
    // Neither what still runs, nor a reader that is slow, nor a name server may keep us.
    runtime.shutdown_background();
    result
}
