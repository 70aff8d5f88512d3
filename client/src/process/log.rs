//! Reports starts and ends of processes to `tracing`.

use crate::process::outcome::Outcome;

/// Events have the name of the process as a field; without the feature there are none.
pub(super) fn started(name: &str, pid: u32) {
    #[cfg(feature = "tracing")]
    tracing::debug!(process = name, pid, "started");
    #[cfg(not(feature = "tracing"))]
    let _ = (name, pid);
}

pub(super) fn rejoined(host: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(host, "is back in the pool, with new workers, after the session was lost");
    #[cfg(not(feature = "tracing"))]
    let _ = host;
}

pub(super) fn session_lost(host: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        host,
        "the session is lost: the workers are killed, and new ones come when it is back"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = host;
}

pub(super) fn waits_for_name(host: &str, error: &crate::error::Error) {
    #[cfg(feature = "tracing")]
    tracing::warn!(host, "{error}; waiting for the name");
    #[cfg(not(feature = "tracing"))]
    let _ = (host, error);
}

/// A process has ended that was to end.
pub(super) fn left(name: &str, pid: u32) {
    #[cfg(feature = "tracing")]
    tracing::debug!(process = name, pid, "left");
    #[cfg(not(feature = "tracing"))]
    let _ = (name, pid);
}

pub(super) fn cannot_start(name: &str, message: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(process = name, "cannot start: {message}");
    #[cfg(not(feature = "tracing"))]
    let _ = (name, message);
}

pub(super) fn ended(name: &str, pid: u32, how: &Outcome) {
    #[cfg(feature = "tracing")]
    match how {
        Outcome::Succeeded => tracing::debug!(process = name, pid, "ended"),
        how => tracing::warn!(process = name, pid, "{how}"),
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (name, pid, how);
}

#[cfg(feature = "tracing")]
pub use stderr::log_to_stderr;

#[cfg(feature = "tracing")]
mod stderr {
    use std::fmt;

    use tracing::{Event, Level, Subscriber};
    use tracing_subscriber::{
        filter::LevelFilter,
        fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
        registry::LookupSpan,
    };

    use crate::{
        error::{Error, Result},
        process::identity,
    };

    /// Writes the events of `tracing`, this crate's and those of everybody else in this process, to stderr, from
    /// this level on: each with its level and the name of the process, as `[DEBUG/Process-1] …`. A child that
    /// is to do so calls it as well. Needs the feature `tracing`.
    ///
    /// Where Python has a logger (`get_logger`), Rust has the macros of `tracing`.
    ///
    /// # Errors
    /// [`Error::Configuration`] if something else in this process gets the events already.
    ///
    /// ```
    /// # fn main() -> mp_manager::Result<()> {
    /// mp_manager::process::log_to_stderr(tracing::Level::DEBUG)?;
    /// tracing::info!("ready"); // [INFO/MainProcess] ready
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "get_logger")]
    pub fn log_to_stderr(level: Level) -> Result<()> {
        let name = identity::current().name().to_owned();
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::from_level(level))
            .with_writer(std::io::stderr)
            .event_format(Line { name })
            .try_init()
            .map_err(|error| Error::Configuration(format!("cannot log to stderr: {error}")))
    }

    /// A line as `multiprocessing` writes it.
    struct Line {
        name: String,
    }

    impl<S, N> FormatEvent<S, N> for Line
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
        N: for<'a> FormatFields<'a> + 'static,
    {
        fn format_event(
            &self,
            context: &FmtContext<'_, S, N>,
            mut writer: Writer<'_>,
            event: &Event<'_>,
        ) -> fmt::Result {
            write!(writer, "[{}/{}] ", event.metadata().level(), self.name)?;
            context.field_format().format_fields(writer.by_ref(), event)?;
            writeln!(writer)
        }
    }
}
