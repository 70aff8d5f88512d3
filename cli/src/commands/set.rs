//! `mp-manager set`

use clap::{Args, Subcommand};
use mp_manager::{Manager, Open};

use crate::{
    error::Error,
    fence::Fenced,
    json::{Json, Texts},
    options::Options,
    output::{print_line, print_values},
};

type Proxy = mp_manager::Set<Json>;

/// Use a shared set
///
/// An ELEMENT is JSON; - reads it from standard input.
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    texts: Texts,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add an element; the set is created if need be
    Add {
        name: String,
        #[arg(allow_negative_numbers = true)]
        element: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Remove an element
    Del {
        name: String,
        #[arg(allow_negative_numbers = true)]
        element: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Succeed if the element is there, and fail with exit code 3 if not
    Contains {
        name: String,
        #[arg(allow_negative_numbers = true)]
        element: String,
    },
    /// Print all elements, one on each line
    Items { name: String },
    /// Print how many elements there are
    Len { name: String },
}

impl Set {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let Self { texts, action } = self;
        match action {
            Action::Add { name, element, fenced } => {
                let element = texts.value(&element)?;
                let add = async |set| fenced.apply(set, Proxy::fenced).add(&element).await;
                options.write("set add", fenced, any(&name), add).await.map(drop)
            }
            Action::Del { name, element, fenced } => {
                let element = texts.value(&element)?;
                let discard = async |set| fenced.apply(set, Proxy::fenced).discard(&element).await;
                let was_there = options.with("set del", existing(&name), discard).await?;
                require(was_there, &name, &element)
            }
            Action::Contains { name, element } => {
                let element = texts.value(&element)?;
                let contains = async |set: Proxy| set.contains(&element).await;
                let is_there = options.with("set contains", existing(&name), contains).await?;
                require(is_there, &name, &element)
            }
            Action::Items { name } => {
                let items = async |set: Proxy| set.iter().collect().await;
                let items = options.with("set items", existing(&name), items).await?;
                print_values(&texts, options.output, items)
            }
            Action::Len { name } => {
                let len = async |set: Proxy| set.len().await;
                print_line(&options.with("set len", existing(&name), len).await?.to_string())
            }
        }
    }
}

/// What is only looked at is not created.
fn existing(name: &str) -> impl FnOnce(&Manager) -> Open<Proxy> {
    move |manager| manager.set(name).existing()
}

fn any(name: &str) -> impl Fn(&Manager) -> Open<Proxy> {
    move |manager| manager.set(name)
}

fn require(is_there: bool, name: &str, element: &Json) -> Result<(), Error> {
    if is_there {
        return Ok(());
    }
    Err(Error::Absent(format!("set \"{name}\" has no element {}", element.0)))
}
