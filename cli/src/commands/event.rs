//! `mp-manager event`

use std::time::Duration;

use clap::{Args, Subcommand};
use mp_manager::{Event as Proxy, Manager, Open};

use crate::{error::Error, options::Options, parse};

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
        /// How long to wait; as long as it takes unless it is given, 0 not at all
        #[arg(long, value_name = "SECONDS", value_parser = parse::seconds)]
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
            Action::Wait { name, timeout: None } => {
                let wait = async |event: Proxy| event.wait().await;
                options.with("event wait", any(&name), wait).await
            }
            Action::Wait { name, timeout: Some(timeout) } => {
                let wait = async |event: Proxy| event.wait_timeout(timeout).await;
                match options.with("event wait", any(&name), wait).await? {
                    true => Ok(()),
                    false => Err(not_in_time(&name, timeout)),
                }
            }
        }
    }
}

fn any(name: &str) -> impl FnOnce(&Manager) -> Open<Proxy> {
    move |manager| manager.event(name)
}

fn not_in_time(name: &str, timeout: Duration) -> Error {
    Error::TimedOut(format!("event \"{name}\" was not set within {timeout:?}"))
}
