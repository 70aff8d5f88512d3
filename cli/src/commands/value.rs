//! `mp-manager value`

use clap::{Args, Subcommand};
use mp_manager::Manager;

use crate::{
    error::Error,
    json::{Json, Texts},
    options::Options,
    output::print_line,
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
    /// Replace it; it is created if need be
    Set {
        name: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
    },
    /// Add to it and print the sum; it begins as 0
    Add {
        name: String,
        #[arg(allow_negative_numbers = true)]
        number: String,
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
            Action::Set { name, value: new } => {
                let new = texts.value(&new)?;
                let any = |manager: &Manager| manager.value(&name, &new);
                let set = async |value: Proxy| value.set(&new).await;
                options.with("value set", any, set).await
            }
            Action::Add { name, number } => {
                let number = texts.value(&number)?;
                let any = |manager: &Manager| manager.value(&name, &Json(0.into()));
                let add = async |value: Proxy| value.add(&number).await;
                print_line(&texts.text(&options.with("value add", any, add).await?))
            }
        }
    }
}
