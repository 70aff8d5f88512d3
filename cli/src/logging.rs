//! Logs, on standard error.

use std::fmt;

use tracing_subscriber::{
    EnvFilter,
    field::MakeExt,
    fmt::{
        FormatFields,
        format::{Writer, debug_fn},
    },
};

use crate::{
    environment::has_colors,
    error::Error,
    stderr::{self, LogFormat, Stderr},
    table::printable,
};

const VARIABLE: &str = "MP_MANAGER_LOG";
const DEFAULT: &str = "info";
/// The HTTP/2 library warns of every odd frame, and any client can send these without end. Whoever
/// wants to see them names the library.
const QUIET: &str = "h2=error";

/// Starts logging, as far as `MP_MANAGER_LOG` says. From now on whatever this process says on standard error has
/// this format.
pub(crate) fn start(format: LogFormat) -> Result<(), Error> {
    stderr::set_format(format);
    let directives = match std::env::var(VARIABLE) {
        Ok(directives) if !directives.is_empty() => directives,
        _ => DEFAULT.into(),
    };
    let filter = EnvFilter::try_new(format!("{QUIET},{directives}")).map_err(|error| {
        let example = "use error, warn, info, debug or trace, or directives of tracing's";
        Error::Usage(format!("{VARIABLE} is \"{directives}\": {error} ({example})"))
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        // It would print them itself, and panic when it cannot.
        .log_internal_errors(false)
        .with_ansi(has_colors(&std::io::stderr()));
    match format {
        LogFormat::Text => log.fmt_fields(fields()).init(),
        // Fields stand beside the message, where collectors look for them.
        LogFormat::Json => {
            log.json().flatten_event(true).with_current_span(false).with_span_list(false).init();
        }
    }
    Ok(())
}

/// The fields of an event, on the one line that it has: names come from others, and must neither end the line nor
/// command the terminal.
fn fields() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    let field = |writer: &mut Writer<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug| {
        let value = printable(format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name if writer.has_ansi_escapes() => write!(writer, "\x1b[3m{name}\x1b[0m={value}"),
            name => write!(writer, "{name}={value}"),
        }
    };
    debug_fn(field).delimited(" ")
}
