//! `mp-manager queue`

use std::time::Duration;

use clap::{Args, Subcommand};
use mp_manager::{Manager, Open};

use crate::{
    deadline::{Deadline, Passed},
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
        /// How long connecting and waiting for room may take; as long as it takes unless it is
        /// given, 0 does not wait (the manager has 5 s to answer)
        #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true, conflicts_with = "fence")]
        timeout: Option<Duration>,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Take the next value out and print it; it goes back if standard output does not take all of it
    Get {
        name: String,
        /// How long connecting and waiting for one may take; as long as it takes unless it is
        /// given, 0 does not wait (the manager has 5 s to answer)
        #[arg(long, value_name = "SECONDS", value_parser = parse::seconds, allow_negative_numbers = true, conflicts_with = "fence")]
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
                let deadline = Deadline::after(timeout);
                let value = texts.value(&value)?;
                let put = async |manager: &Manager| {
                    let open = fenced.open(manager, any(&name));
                    let queue = deadline.ask(open).await.map_err(|Passed| no_answer(&name))??;
                    let queue = fenced.apply(queue, Proxy::fenced);
                    let put = async {
                        match deadline.left() {
                            Some(left) => queue.put_timeout(&value, left).await,
                            None => queue.put(&value).await,
                        }
                    };
                    let put = deadline.ask(put).await.map_err(|Passed| may_be_put(&name))?;
                    put.map_err(|error| deadline.failed(error))
                };
                options.session_by(deadline, "queue put", put).await
            }
            Action::Get { name, timeout, fenced } => {
                output::check()?;
                let deadline = Deadline::after(timeout);
                let get = async |manager: &Manager| {
                    let next = async {
                        let queue = fenced.open(manager, any(&name)).await?;
                        let queue = fenced.apply(queue, Proxy::fenced);
                        let at_once = fenced.is_given().then_some(Duration::ZERO);
                        match at_once.or(deadline.left()) {
                            Some(left) => queue.lease_timeout(left).await,
                            None => queue.lease().await.map(Some),
                        }
                    };
                    let next = deadline.ask(next).await.unwrap_or_else(|Passed| Ok(None));
                    let next = next.map_err(|error| deadline.failed(error))?;
                    let delivery = next.ok_or_else(|| nothing(&name, deadline))?;
                    print_line_aside(texts.text(&delivery)).await?;
                    let done = deadline.confirm(delivery.done()).await;
                    Ok(done.map_err(|Passed| may_come_again(&name))??)
                };
                options.session_by(deadline, "queue get", get).await
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

fn nothing(name: &str, deadline: Deadline) -> Error {
    Error::TimedOut(format!("queue \"{name}\" had nothing to take{}", deadline.within()))
}

fn no_answer(name: &str) -> Error {
    Error::TimedOut(format!("queue \"{name}\" was not opened in time: nothing was put in"))
}

fn may_be_put(name: &str) -> Error {
    Error::Unconfirmed(format!(
        "the manager did not say in time whether the value is in queue \"{name}\": it may be, or yet \
         come to be"
    ))
}

fn may_come_again(name: &str) -> Error {
    Error::Unconfirmed(format!(
        "the manager did not confirm that the value is taken from queue \"{name}\": it was printed, \
         and may be handed out again"
    ))
}
