//! `mp-manager lock`

use std::{
    ffi::OsString,
    io::{self, Write},
    os::unix::process::ExitStatusExt,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use clap::Args;
use mp_manager::{Fence, LockGuard, Manager};

use crate::{
    child::Running,
    error::{Error, signal_code},
    options::Options,
    parse,
    signals::Signals,
};

/// Run a command while holding a lock
///
/// Others who want the lock wait their turn; the command starts when it is ours, and the lock is
/// released when the command has ended. The exit code is the command's.
///
/// The command finds the fencing token in MP_MANAGER_FENCING_TOKEN, and the manager in
/// MP_MANAGER_ADDRESS. Signals are passed on to it. If the lock is lost while it runs, because the
/// manager is or because somebody else has released the lock, the command is killed: with SIGTERM,
/// and with SIGKILL after the grace. The exit code is 76 then.
///
/// A lock protects nothing from a command that was stopped for longer than the lock waited for it.
/// What the command writes with --fence "$MP_MANAGER_FENCE" is written only while the lock is held.
/// Nothing is fenced by itself: fenced commands never wait, and a fence is good for one manager
/// only. Of locks inside each other it is the inner one's.
#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// The lock, which is created if need be
    name: String,
    /// How long to wait for it; as long as it takes unless it is given, 0 not at all
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
    timeout: Option<Duration>,
    /// How long the command has to end when the lock is lost, before it is killed with SIGKILL
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, default_value = "5")]
    grace: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Lock {
    pub(crate) async fn run(self, options: &Options) -> Result<ExitCode, Error> {
        let program = self.command.first().map(|program| program.display().to_string());
        let purpose = format!("lock: {}", program.unwrap_or_default());
        let status = options
            .session_with_signals(&purpose, async |manager, signals| {
                let guard = signals.interrupt(self.acquire(manager)).await?;
                self.hold(guard, signals, options).await
            })
            .await?;
        Ok(exit_code(status))
    }

    async fn acquire(&self, manager: &Manager) -> Result<LockGuard, Error> {
        let lock = manager.lock(&self.name).await?;
        let Some(timeout) = self.timeout else { return Ok(lock.acquire().await?) };
        lock.acquire_timeout(timeout).await?.ok_or_else(|| {
            Error::TimedOut(format!(
                "lock \"{name}\" was not free within {timeout:?} (`mp-manager inspect {name}` \
                 shows who holds it)",
                name = self.name,
            ))
        })
    }

    /// Runs the command. From now on signals are for it, not for us.
    async fn hold(
        &self,
        guard: LockGuard,
        signals: &mut Signals,
        options: &Options,
    ) -> Result<ExitStatus, Error> {
        let mut command = Running::start(&self.command, environment(options, &guard))?;
        let status = tokio::select! {
            status = command.ended(signals) => Some(status?),
            () = guard.lost() => None,
        };
        let command_state = match status {
            Some(status) => format!("the command had ended ({status})"),
            None => {
                self.tell_of_loss();
                command.kill(self.grace).await?;
                "the command was killed".into()
            }
        };
        let lost = |why| Error::LockLost(format!("{why}; {command_state}"));
        guard.release().await.map_err(|error| lost(error.to_string()))?;
        status.ok_or_else(|| lost("the lock was lost".into()))
    }

    /// At once, as the command may take its time to end; whether anybody reads it or not.
    fn tell_of_loss(&self) {
        let told = format!("mp-manager: lock \"{}\" was lost: ending the command\n", self.name);
        let _ = io::stderr().write_all(told.as_bytes());
    }
}

/// What the command needs to use the same manager, and to prove that its lock stands. The authkey
/// itself is not in it: a command that has no use for it should not see it.
fn environment(options: &Options, guard: &LockGuard) -> Vec<(OsString, OsString)> {
    let mut environment = vec![
        ("MP_MANAGER_FENCING_TOKEN".into(), guard.token().to_string().into()),
        (mp_manager::FENCE_VARIABLE.into(), Fence::from(guard).to_string().into()),
        (mp_manager::ADDRESS_VARIABLE.into(), options.address.to_string().into()),
    ];
    if let Some(file) = &options.authkey_file {
        environment.push((mp_manager::AUTHKEY_FILE_VARIABLE.into(), file.into()));
    }
    environment.extend(options.tls.environment());
    environment
}

fn exit_code(status: ExitStatus) -> ExitCode {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, signal) => signal_code(signal.unwrap_or_default()),
    }
}
