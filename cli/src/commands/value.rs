//! `mp-manager value`

use clap::{Args, Subcommand};
use mp_manager::Manager;

use crate::{
    error::Error,
    fence::Fenced,
    json::{Json, Texts},
    options::Options,
    output::{self, print_line},
};

type Proxy = mp_manager::Value<Json>;

/// Use a shared value
///
/// A VALUE is JSON; - reads it from standard input.
#[derive(Debug, Args)]
pub(crate) struct Value {
    #[command(flatten)]
    texts: Texts,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print it
    Get { name: String },
    /// Replace it; it is created if need be, but not with --fence
    Set {
        name: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Add to it and print the sum; it begins as 0
    Add {
        name: String,
        #[arg(allow_negative_numbers = true)]
        number: String,
        #[command(flatten)]
        fenced: Fenced,
    },
}

impl Value {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let Self { texts, action } = self;
        match action {
            Action::Get { name } => {
                let existing = |manager: &Manager| manager.value(&name, &Json(0.into())).existing();
                let get = async |value: Proxy| value.get().await;
                print_line(&texts.text(&options.with("value get", existing, get).await?))
            }
            Action::Set { name, value: new, fenced } => {
                let new = texts.value(&new)?;
                let open = |manager: &Manager| {
                    let any = manager.value(&name, &new);
                    // Creating it would set it, whether the grant stands or not.
                    if fenced.is_given() { any.existing() } else { any }
                };
                let set = async |value| fenced.apply(value, Proxy::fenced).set(&new).await;
                options.with("value set", open, set).await
            }
            Action::Add { name, number, fenced } => {
                output::check()?;
                let number = texts.value(&number)?;
                let any = |manager: &Manager| manager.value(&name, &Json(0.into()));
                let add = async |value| fenced.apply(value, Proxy::fenced).add(&number).await;
                print_line(&texts.text(&options.write("value add", fenced, any, add).await?))
            }
        }
    }
}
