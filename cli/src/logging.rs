//! Logs, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::{error::Error, stderr::Stderr};

const VARIABLE: &str = "MP_MANAGER_LOG";
const DEFAULT: &str = "info";
/// The HTTP/2 library warns of every odd frame, and any client can send these without end. Whoever
/// wants to see them names the library.
const QUIET: &str = "h2=error";

/// Starts logging, as far as `MP_MANAGER_LOG` says.
pub(crate) fn start() -> Result<(), Error> {
    let directives = match std::env::var(VARIABLE) {
        Ok(directives) if !directives.is_empty() => directives,
        _ => DEFAULT.into(),
    };
    let filter = EnvFilter::try_new(format!("{QUIET},{directives}")).map_err(|error| {
        let example = "use error, warn, info, debug or trace, or directives of tracing's";
        Error::Usage(format!("{VARIABLE} is \"{directives}\": {error} ({example})"))
    })?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Stderr)
        // It would print them itself, and panic when it cannot.
        .log_internal_errors(false)
        .with_ansi(!no_color && std::io::stderr().is_terminal())
        .init();
    Ok(())
}
