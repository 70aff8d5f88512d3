//! Standard output: data and nothing else.
//!
//! Text is written without the standard library's handle, which buffers it and takes EBADF for a
//! success. Here a command knows whether the system has taken all of it, and can give back what it
//! could not print.

use std::{io, os::fd::AsFd};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, write},
};
use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::{
    error::Error,
    json::{self, Json, Texts},
    options::Format,
    table::{Columns, table},
};

/// Fails if nothing can be printed: commands that take or change something and print it call this
/// first, as undoing is worse than not doing.
pub(crate) fn check() -> Result<(), Error> {
    let stdout = io::stdout();
    // Writes nothing, and fails like a write if the descriptor is closed or for reading only.
    write(&stdout, &[]).map_err(cannot_write)?;
    let mut polled = [PollFd::new(&stdout, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut polled, Some(&at_once)) {
        // A pipe without a reader.
        Ok(_) if polled[0].revents().contains(PollFlags::ERR) => Err(cannot_write(Errno::PIPE)),
        _ => Ok(()),
    }
}

/// Prints text as it is. Returns when the system has all of it.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    write_all(io::stdout(), text.as_bytes()).map_err(cannot_write)
}

/// Prints one line.
pub(crate) fn print_line(line: &str) -> Result<(), Error> {
    print(&format!("{line}\n"))
}

/// Prints one line on another thread: a slow reader stops this one from nothing, so that the session
/// lives on. If this is cancelled, some of the line may be printed.
pub(crate) async fn print_line_aside(line: String) -> Result<(), Error> {
    print_aside(line + "\n").await
}

/// Prints text as it is, as [`print_line_aside`] prints a line.
pub(crate) async fn print_aside(text: String) -> Result<(), Error> {
    spawn_blocking(move || print(&text))
        .await
        .unwrap_or_else(|error| Err(Error::Failed(format!("cannot print: {error}"))))
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

/// Rows that are printed as they come: as a table, or as what they are made from in one JSON array.
pub(crate) struct Rows<const N: usize> {
    format: Format,
    columns: Columns<N>,
    /// Those of the table, until there is a row.
    headings: Option<[&'static str; N]>,
    /// What stands before the next element of the array.
    separator: &'static str,
}

impl<const N: usize> Rows<N> {
    pub(crate) fn new(format: Format, headings: [&'static str; N]) -> Self {
        Self { format, columns: Columns::default(), headings: Some(headings), separator: "[" }
    }

    /// The text of the next rows.
    pub(crate) fn text<T>(
        &mut self,
        items: &[T],
        row: impl Fn(&T) -> [String; N],
        value: impl Fn(&T) -> Value,
    ) -> String {
        match self.format {
            Format::Table => {
                let headings = self.headings.take().map(|headings| headings.map(str::to_owned));
                self.columns.lay_out(headings.into_iter().chain(items.iter().map(row)))
            }
            Format::Json => items
                .iter()
                .map(|item| {
                    format!(
                        "{}{}",
                        std::mem::replace(&mut self.separator, ","),
                        json::line(&value(item))
                    )
                })
                .collect(),
        }
    }

    /// The text after the last rows.
    pub(crate) fn end(self) -> &'static str {
        match (self.format, self.separator) {
            (Format::Table, _) => "",
            (Format::Json, "[") => "[]\n",
            (Format::Json, _) => "]\n",
        }
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

/// Writes all of it. Blocks, also if the stream is non-blocking.
pub(crate) fn write_all(stream: impl AsFd, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        match write(&stream, rest) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // Another process has made the pipe or the terminal that we share non-blocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&stream, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The error of a write to standard output.
pub(crate) fn cannot_write(error: Errno) -> Error {
    match error {
        Errno::BADF => Error::Failed(
            "standard output is closed, or not open for writing (>/dev/null discards what is \
             printed)"
                .into(),
        ),
        error => Error::io("cannot write to standard output")(error.into()),
    }
}
