//! `mp-manager dict`

use clap::{Args, Subcommand};
use mp_manager::{Manager, Open};
use serde_json::json;

use crate::{
    error::Error,
    fence::Fenced,
    json::{Json, Texts},
    options::{Format, Options},
    output::{self, print_line, print_rows},
};

type Proxy = mp_manager::Dict<Json, Json>;

/// Use a shared dict
///
/// A KEY is JSON if it is JSON, and a string otherwise: alice is "alice", but 1 is a number. A number
/// has to be written as JSON prints it: 1443e5 and 1.10 are strings, 144300000.0 and 1.1 numbers.
/// Quotes make any KEY a string, '"1"', and so does --raw. A VALUE is JSON; - reads it from standard
/// input.
#[derive(Debug, Args)]
pub(crate) struct Dict {
    #[command(flatten)]
    texts: Texts,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the value of a key
    Get {
        name: String,
        #[arg(allow_negative_numbers = true)]
        key: String,
    },
    /// Give a key a value; the dict is created if need be
    Set {
        name: String,
        #[arg(allow_negative_numbers = true)]
        key: String,
        #[arg(allow_negative_numbers = true)]
        value: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Add to the number a key has, which is 0 if it has none, and print the sum
    Add {
        name: String,
        #[arg(allow_negative_numbers = true)]
        key: String,
        #[arg(allow_negative_numbers = true)]
        number: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Remove a key
    Del {
        name: String,
        #[arg(allow_negative_numbers = true)]
        key: String,
        #[command(flatten)]
        fenced: Fenced,
    },
    /// Print all keys and values, in the order of their insertion
    Items { name: String },
    /// Print how many keys there are
    Len { name: String },
}

impl Dict {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let Self { texts, action } = self;
        match action {
            Action::Get { name, key } => {
                let encoded = texts.key(&key)?;
                let get = async |dict: Proxy| dict.get(&encoded).await;
                let value = options.with("dict get", existing(&name), get).await?;
                print_line(&texts.text(&value.ok_or_else(|| absent(&name, &key))?))
            }
            Action::Set { name, key, value, fenced } => {
                let (key, value) = (texts.key(&key)?, texts.value(&value)?);
                let insert =
                    async |dict| fenced.apply(dict, Proxy::fenced).insert(&key, &value).await;
                options.write("dict set", fenced, any(&name), insert).await.map(drop)
            }
            Action::Add { name, key, number, fenced } => {
                output::check()?;
                let (key, number) = (texts.key(&key)?, texts.value(&number)?);
                let add = async |dict| fenced.apply(dict, Proxy::fenced).add(&key, &number).await;
                print_line(&texts.text(&options.write("dict add", fenced, any(&name), add).await?))
            }
            Action::Del { name, key, fenced } => {
                let encoded = texts.key(&key)?;
                let remove = async |dict| fenced.apply(dict, Proxy::fenced).remove(&encoded).await;
                let removed = options.with("dict del", existing(&name), remove).await?;
                removed.map(drop).ok_or_else(|| absent(&name, &key))
            }
            Action::Items { name } => {
                let items = async |dict: Proxy| dict.items().await;
                let items = options.with("dict items", existing(&name), items).await?;
                print_items(&texts, options.output, &items)
            }
            Action::Len { name } => {
                let len = async |dict: Proxy| dict.len().await;
                print_line(&options.with("dict len", existing(&name), len).await?.to_string())
            }
        }
    }
}

/// What is only looked at is not created.
fn existing(name: &str) -> impl FnOnce(&Manager) -> Open<Proxy> {
    move |manager| manager.dict(name).existing()
}

fn any(name: &str) -> impl Fn(&Manager) -> Open<Proxy> {
    move |manager| manager.dict(name)
}

fn print_items(texts: &Texts, format: Format, items: &[(Json, Json)]) -> Result<(), Error> {
    let row = |(key, value): &(Json, Json)| [texts.text(key), texts.text(value)];
    let json = |(key, value): &(Json, Json)| json!({"key": key, "value": value});
    print_rows(format, ["KEY", "VALUE"], items, row, json)
}

fn absent(name: &str, key: &str) -> Error {
    let hint = format!("`mp-manager dict items {name}` shows what there is");
    Error::Absent(format!("dict \"{name}\" has no key {key} ({hint})"))
}
