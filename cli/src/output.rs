//! Standard output: data and nothing else.

use std::io::{self, Write};

use serde_json::Value;

use crate::{
    error::Error,
    json::{self, Json, Texts},
    options::Format,
    table::table,
};

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(Error::io("cannot write to standard output"))
}

/// Prints one line.
pub(crate) fn print_line(line: &str) -> Result<(), Error> {
    print(&format!("{line}\n"))
}

/// Prints rows as a table, or else what they are made from as JSON.
pub(crate) fn print_rows<T, const N: usize>(
    format: Format,
    headings: [&str; N],
    items: &[T],
    row: impl Fn(&T) -> [String; N],
    value: impl Fn(&T) -> Value,
) -> Result<(), Error> {
    match format {
        Format::Table => print(&table(headings, items.iter().map(row).collect())),
        Format::Json => print_line(&json::line(&Value::from_iter(items.iter().map(value)))),
    }
}

/// Prints values, one on each line or as one JSON array.
pub(crate) fn print_values(texts: &Texts, format: Format, values: Vec<Json>) -> Result<(), Error> {
    match format {
        Format::Table => {
            print(&values.iter().map(|value| texts.text(value) + "\n").collect::<String>())
        }
        Format::Json => {
            print_line(&json::line(&values.into_iter().map(|Json(value)| value).collect()))
        }
    }
}
