//! `mp-manager queue`

use std::time::Duration;

use clap::{Args, Subcommand};
use mp_manager::{Delivery, Manager, Open};

use crate::{
    error::Error,
    fence::Fenced,
    json::{Json, Texts},
    options::Options,
    output::{self, print_line, print_line_aside},
    parse,
};

type Proxy = mp_manager::Queue<Json>;

/// Use a shared queue
///
/// A VALUE is JSON; - reads it from standard input. With --fence nothing waits.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(flatten)]
    texts: Texts,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Put a value in; the queue is created if need be
    Put {
        name: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
        /// How long to wait for room; as long as it takes unless it is given, 0 not at all
        #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, conflicts_with = "fence")]
        timeout: Option<Duration>,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Take the next value out and print it; it goes back if standard output does not take all of it
    Get {
        name: String,
        /// How long to wait for one; as long as it takes unless it is given, 0 not at all
        #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, conflicts_with = "fence")]
        timeout: Option<Duration>,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Print the next value, which stays
    Peek { name: String },
    /// Print how many values there are
    Len { name: String },
}

impl Queue {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let Self { texts, action } = self;
        match action {
            Action::Put { name, value, timeout, fenced } => {
                let value = texts.value(&value)?;
                let put = async |queue| {
                    let queue = fenced.apply(queue, Proxy::fenced);
                    match timeout {
                        Some(timeout) => queue.put_timeout(&value, timeout).await,
                        None => queue.put(&value).await,
                    }
                };
                options.write("queue put", fenced, any(&name), put).await
            }
            Action::Get { name, timeout, fenced } => {
                output::check()?;
                let get = async |manager: &Manager| {
                    let queue =
                        fenced.apply(fenced.open(manager, any(&name)).await?, Proxy::fenced);
                    let timeout = if fenced.is_given() { Some(Duration::ZERO) } else { timeout };
                    let delivery = next(queue, &name, timeout).await?;
                    print_line_aside(texts.text(&delivery)).await?;
                    Ok(delivery.done().await?)
                };
                options.session("queue get", get).await
            }
            Action::Peek { name } => {
                let peek = async |queue: Proxy| queue.peek().await;
                let value = options.with("queue peek", existing(&name), peek).await?;
                let empty = || Error::Absent(format!("queue \"{name}\" is empty"));
                print_line(&texts.text(&value.ok_or_else(empty)?))
            }
            Action::Len { name } => {
                let len = async |queue: Proxy| queue.len().await;
                print_line(&options.with("queue len", existing(&name), len).await?.to_string())
            }
        }
    }
}

/// What is only looked at is not created.
fn existing(name: &str) -> impl FnOnce(&Manager) -> Open<Proxy> {
    move |manager| manager.queue(name).existing()
}

/// Who takes may come before who puts.
fn any(name: &str) -> impl Fn(&Manager) -> Open<Proxy> {
    move |manager| manager.queue(name)
}

async fn next(
    queue: Proxy,
    name: &str,
    timeout: Option<Duration>,
) -> Result<Delivery<Json>, Error> {
    let Some(timeout) = timeout else { return Ok(queue.lease().await?) };
    queue.lease_timeout(timeout).await?.ok_or_else(|| {
        Error::TimedOut(format!("queue \"{name}\" had nothing to take within {timeout:?}"))
    })
}
