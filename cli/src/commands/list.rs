//! `mp-manager list`

use clap::{Args, Subcommand};
use mp_manager::{Manager, Open};

use crate::{
    error::Error,
    fence::Fenced,
    json::{Json, Texts},
    options::Options,
    output::{print_line, print_values},
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
    /// Remove a value and print it
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
                let pop = async |list| fenced.apply(list, Proxy::fenced).pop_at(index).await;
                print_line(&texts.text(&options.with("list pop", existing(&name), pop).await?))
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
