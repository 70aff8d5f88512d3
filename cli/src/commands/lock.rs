//! `mp-manager lock`

use std::{
    ffi::OsString,
    process::{ExitCode, ExitStatus},
    time::Duration,
};

use clap::Args;
use mp_manager::{Fence, LockGuard, Manager};

use crate::{
    child::{Ended, Running, listen_for_stops},
    deadline::{Deadline, Passed},
    error::{Error, status_code},
    options::Options,
    parse,
    signals::Signals,
    stderr,
};

/// Run a command while holding a lock
///
/// Others who want the lock wait their turn; the command starts when it is ours, and the lock is
/// released when the command has ended. The exit code is the command's.
///
/// The command finds the fencing token in MP_MANAGER_FENCING_TOKEN, and the manager in
/// MP_MANAGER_ADDRESS. SIGINT (Ctrl-C), SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 end us while we wait for the
/// lock, and are passed on to the command and what it has started once that runs; so are SIGTSTP and SIGCONT, which
/// stop and continue us as well. On a terminal the command is in the job of the shell that we are in: it is stopped
/// with us, by Ctrl-Z or when it reads in the background, until `fg`. If the lock is lost while it runs, because the
/// manager is or because somebody else has released the lock, the command is killed, and what it has
/// started: with SIGTERM, and with SIGKILL after the grace. The exit code is 76 then. A command that
/// we may not kill, such as sudo, goes on, and the message says so. During the grace the lock may be
/// somebody else's already. If we are killed ourselves, with SIGKILL, the command is too, but not what it
/// has started.
///
/// A lock protects nothing from a command that was stopped for longer than the lock waited for it.
/// What the command writes with --fence "$MP_MANAGER_FENCE" is written only while the lock is held.
/// Nothing is fenced by itself: fenced commands never wait, and a fence is good for one manager
/// only. Of locks inside each other it is the inner one's.
#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// The lock, which is created if need be
    name: String,
    /// How long connecting and waiting for it may take; as long as it takes unless it is given, 0 does
    /// not wait
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true)]
    timeout: Option<Duration>,
    /// How long the command has to end when the lock is lost, before it is killed with SIGKILL
    #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true, default_value = "5")]
    grace: Duration,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Lock {
    pub(crate) async fn run(self, options: &Options) -> Result<ExitCode, Error> {
        let program = self.command.first().map(|program| program.display().to_string());
        let purpose = format!("lock: {}", program.unwrap_or_default());
        let deadline = Deadline::after(self.timeout);
        let status = options
            .session_with_signals(deadline, &purpose, async |manager, signals| {
                let guard = signals.interrupt(self.acquire(manager, deadline)).await?;
                let environment = environment(manager, options, &guard);
                self.hold(guard, signals, environment).await
            })
            .await?;
        Ok(status_code(status).into())
    }

    async fn acquire(&self, manager: &Manager, deadline: Deadline) -> Result<LockGuard, Error> {
        let acquire = async {
            let lock = manager.lock(&self.name).await?;
            match deadline.left() {
                Some(left) => lock.acquire_timeout(left).await,
                None => lock.acquire().await.map(Some),
            }
        };
        match deadline.ask(acquire).await {
            Ok(Ok(Some(guard))) => Ok(guard),
            Ok(Ok(None)) | Err(Passed) => Err(Error::TimedOut(format!(
                "lock \"{name}\" was not free{within} (`mp-manager inspect {name}` shows who holds \
                 it)",
                name = self.name,
                within = deadline.within(),
            ))),
            Ok(Err(error)) => Err(deadline.failed(error)),
        }
    }

    /// Runs the command. From now on signals are for it, not for us.
    async fn hold(
        &self,
        guard: LockGuard,
        signals: &mut Signals,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<ExitStatus, Error> {
        let mut command = Running::start(&self.command, None, |process| {
            process.envs(environment);
        })?;
        listen_for_stops(signals)?;
        let status = tokio::select! {
            status = command.ended(signals) => Some(status?),
            () = guard.lost() => None,
        };
        let command_state = match status {
            Some(status) => format!("the command had ended ({status})"),
            None => {
                let name = &self.name;
                // At once, as the command may take its time to end.
                stderr::complain(&format!("lock \"{name}\" was lost: ending the command"));
                match command.kill(self.grace).await? {
                    Ended::All => "the command was killed".into(),
                    Ended::NotPermitted => "the command is STILL RUNNING: it may not be killed by \
                                            this user, so end it otherwise"
                        .into(),
                }
            }
        };
        let lost = |why| Error::LockLost(format!("{why}; {command_state}"));
        guard.release().await.map_err(|error| lost(error.to_string()))?;
        status.ok_or_else(|| lost("the lock was lost".into()))
    }
}

/// What the command needs to use the same manager, from whatever directory, and to prove that its
/// lock stands. The authkey itself is not in it: a command that has no use for it should not see it.
fn environment(
    manager: &Manager,
    options: &Options,
    guard: &LockGuard,
) -> Vec<(OsString, OsString)> {
    let mut environment = manager.environment();
    environment.retain(|(variable, _)| {
        variable != mp_manager::AUTHKEY_VARIABLE && variable != mp_manager::AUTHKEY_FILE_VARIABLE
    });
    if let Some(file) = options.authkey_file.as_ref().filter(|file| !file.as_os_str().is_empty()) {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        environment.push((mp_manager::AUTHKEY_FILE_VARIABLE.into(), file.into()));
    }
    environment.push(("MP_MANAGER_FENCING_TOKEN".into(), guard.token().to_string().into()));
    environment.push((mp_manager::FENCE_VARIABLE.into(), Fence::from(guard).to_string().into()));
    environment
}
