//! `mp-manager list`

use clap::{Args, Subcommand};
use mp_manager::{Manager, Open};

use crate::{
    deadline::Deadline,
    error::Error,
    fence::Fenced,
    json::{Json, Texts},
    options::Options,
    output::{self, print_line, print_line_aside, print_values},
    signals::Signals,
};

type Proxy = mp_manager::List<Json>;

/// Use a shared list
///
/// A VALUE is JSON; - reads it from standard input. An INDEX below 0 counts from the end.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    texts: Texts,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print one value
    Get {
        name: String,
        #[arg(allow_negative_numbers = true)]
        index: i64,
    },
    /// Replace one value
    Set {
        name: String,
        #[arg(allow_negative_numbers = true)]
        index: i64,
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Add a value at the end; the list is created if need be
    Push {
        name: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Remove a value and print it; it goes back if standard output does not take all of it
    Pop {
        name: String,
        /// Which one; the last unless it is given
        #[arg(default_value = "-1", hide_default_value = true, allow_negative_numbers = true)]
        index: i64,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Print all values, one on each line
    Items { name: String },
    /// Print how many values there are
    Len { name: String },
}

impl List {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let Self { texts, action } = self;
        match action {
            Action::Get { name, index } => {
                let get = async |list: Proxy| list.get(index).await;
                print_line(&texts.text(&options.with("list get", existing(&name), get).await?))
            }
            Action::Set { name, index, value, fenced } => {
                let value = texts.value(&value)?;
                let set = async |list| fenced.apply(list, Proxy::fenced).set(index, &value).await;
                options.with("list set", existing(&name), set).await
            }
            Action::Push { name, value, fenced } => {
                let value = texts.value(&value)?;
                let push = async |list| fenced.apply(list, Proxy::fenced).push(&value).await;
                options.write("list push", fenced, any(&name), push).await
            }
            Action::Pop { name, index, fenced } => {
                output::check()?;
                let pop = async |manager: &Manager, signals: &mut Signals| {
                    let pop = async {
                        let list = existing(&name)(manager).await?;
                        let list = fenced.apply(list, Proxy::fenced);
                        Ok((list.pop_at(index).await?, list))
                    };
                    let (value, list) = signals.interrupt(pop).await?;
                    let text = texts.text(&value);
                    match signals.interrupt(print_line_aside(text.clone())).await {
                        Ok(()) => Ok(()),
                        Err(error) => Err(put_back(&list, index, &value, &text, error).await),
                    }
                };
                options.session_with_signals(Deadline::never(), "list pop", pop).await
            }
            Action::Items { name } => {
                let items = async |list: Proxy| list.copy().await;
                let items = options.with("list items", existing(&name), items).await?;
                print_values(&texts, options.output, items)
            }
            Action::Len { name } => {
                let len = async |list: Proxy| list.len().await;
                print_line(&options.with("list len", existing(&name), len).await?.to_string())
            }
        }
    }
}

/// What is only looked at is not created.
fn existing(name: &str) -> impl FnOnce(&Manager) -> Open<Proxy> {
    move |manager| manager.list(name).existing()
}

fn any(name: &str) -> impl Fn(&Manager) -> Open<Proxy> {
    move |manager| manager.list(name)
}

/// Inserts a value that could not be printed where it was popped from, and returns the error to
/// report.
async fn put_back(list: &Proxy, index: i64, value: &Json, text: &str, error: Error) -> Error {
    let inserted = match index {
        -1 => list.push(value).await,
        // The list is shorter by one: what was at -2 goes before what is at -1 now.
        ..-1 => list.insert(index + 1, value).await,
        0.. => list.insert(index, value).await,
    };
    match inserted {
        Ok(()) => error,
        Err(insertion) => Error::Failed(format!(
            "{error}; {text} was popped, and cannot be put back: {insertion}"
        )),
    }
}
