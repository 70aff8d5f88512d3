//! `mp-manager event`

use std::time::Duration;

use clap::{Args, Subcommand};
use mp_manager::{Event as Proxy, Manager, Open};

use crate::{
    deadline::{Deadline, Passed},
    error::Error,
    options::Options,
    parse,
};

/// Use a shared event, which is set or not; it is created if need be
#[derive(Debug, Args)]
pub(crate) struct Event {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Set it, and wake everybody who waits for it
    Set { name: String },
    /// Clear it
    Clear { name: String },
    /// Wait until it is set
    Wait {
        name: String,
        /// How long connecting and waiting may take; as long as it takes unless it is given, 0 does
        /// not wait
        #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true)]
        timeout: Option<Duration>,
    },
}

impl Event {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        match self.action {
            Action::Set { name } => {
                options.with("event set", any(&name), async |event: Proxy| event.set().await).await
            }
            Action::Clear { name } => {
                let clear = async |event: Proxy| event.clear().await;
                options.with("event clear", any(&name), clear).await
            }
            Action::Wait { name, timeout } => {
                let deadline = Deadline::after(timeout);
                let wait = async |manager: &Manager| match deadline
                    .ask(wait(any(&name)(manager), deadline))
                    .await
                {
                    Ok(Ok(true)) => Ok(()),
                    Ok(Ok(false)) | Err(Passed) => Err(not_in_time(&name, deadline)),
                    Ok(Err(error)) => Err(deadline.failed(error)),
                };
                options.session_by(deadline, "event wait", wait).await
            }
        }
    }
}

fn any(name: &str) -> impl FnOnce(&Manager) -> Open<Proxy> {
    move |manager| manager.event(name)
}

/// Waits until it is set, or returns false.
async fn wait(event: Open<Proxy>, deadline: Deadline) -> mp_manager::Result<bool> {
    let event = event.await?;
    match deadline.left() {
        Some(left) => event.wait_timeout(left).await,
        None => event.wait().await.map(|()| true),
    }
}

fn not_in_time(name: &str, deadline: Deadline) -> Error {
    Error::TimedOut(format!("event \"{name}\" was not set{}", deadline.within()))
}
