//! The options every command has.

use std::{env, ffi::OsString, path::PathBuf};

use clap::{
    Args, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};
use mp_manager::{Error as ClientError, Manager, Open, Proxy};
use tokio::task::spawn_blocking;

use crate::{
    address::Given,
    authkey::{self, Keys},
    deadline::{Deadline, Passed},
    environment::{file_variable, variable},
    error::Error,
    fence::Fenced,
    signals::Signals,
    stderr::LogFormat,
    tls::TlsOptions,
};

const LOG_FORMAT: &str = "MP_MANAGER_LOG_FORMAT";
const LOG_FORMAT_OPTION: &str = "--log-format";

/// Which manager, and how to answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Options {
    /// The manager's address: tls://HOST:PORT, tcp://HOST:PORT or unix:PATH; a mere HOST:PORT means
    /// TCP on loopback, and TLS elsewhere [env: MP_MANAGER_ADDRESS] [default: tcp://127.0.0.1:7117]
    #[arg(long = "address", global = true, value_name = "ADDRESS")]
    given_address: Option<Given>,
    /// The given address, the environment's, or the default one.
    #[arg(skip)]
    pub(crate) address: Given,
    /// The address is not the default one.
    #[arg(skip)]
    pub(crate) has_address: bool,
    /// The command line says with which authkey or certificates to connect.
    #[arg(skip)]
    pub(crate) has_credentials: bool,
    /// A file with the authkey, or several, one on each line, of which the first is preferred; a line
    /// that begins with # is a comment [env: MP_MANAGER_AUTHKEY_FILE]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        // Empty is as good as not given.
        value_parser = OsStringValueParser::new().map(PathBuf::from),
    )]
    pub(crate) authkey_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) tls: TlsOptions,
    /// How to print what is more than one value
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub(crate) output: Format,
    /// How to log on standard error: text, or one JSON object on each line
    /// [env: MP_MANAGER_LOG_FORMAT] [default: text]
    #[arg(long, global = true, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    log_format: Option<LogFormat>,
}

/// How to print what is more than one value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
}

/// How to say that the command line is wrong: as far as can be told from it, and else as the environment says.
pub(crate) fn log_format_of_wrong_usage() -> LogFormat {
    let given = given_log_format(env::args_os()).or_else(|| variable(LOG_FORMAT));
    let format = given.and_then(|text| LogFormat::from_str(text.to_str()?, false).ok());
    format.unwrap_or_default()
}

fn given_log_format(arguments: impl Iterator<Item = OsString>) -> Option<OsString> {
    let mut arguments = arguments.take_while(|argument| argument != "--");
    while let Some(argument) = arguments.next() {
        match argument.to_string_lossy().strip_prefix(LOG_FORMAT_OPTION) {
            Some("") => return arguments.next(),
            Some(rest) if rest.starts_with('=') => return rest.strip_prefix('=').map(Into::into),
            _ => {}
        }
    }
    None
}

impl Options {
    /// Adds what the environment has and the command line has not. clap would do it as well, and
    /// take what is in the environment for an option that the user typed: its usage lines would
    /// show it as required, and an empty variable would be an error.
    pub(crate) fn with_environment(mut self) -> Result<Self, Error> {
        self.has_credentials = self.authkey_file.is_some() || self.tls.is_given();
        self.has_address = true;
        self.address = match (self.given_address.take(), variable(mp_manager::ADDRESS_VARIABLE)) {
            (Some(given), _) => given,
            (None, Some(text)) => text.to_string_lossy().parse().map_err(|error| {
                Error::Usage(format!("{}: {error}", mp_manager::ADDRESS_VARIABLE))
            })?,
            (None, None) => {
                self.has_address = false;
                Given::default()
            }
        };
        self.authkey_file =
            self.authkey_file.or_else(|| file_variable(mp_manager::AUTHKEY_FILE_VARIABLE));
        self.tls = self.tls.with_environment();
        Ok(self)
    }

    /// How to log: as given, or as the environment says.
    pub(crate) fn log_format(&self) -> Result<LogFormat, Error> {
        match (self.log_format, variable(LOG_FORMAT)) {
            (Some(format), _) => Ok(format),
            (None, Some(text)) => {
                LogFormat::from_str(&text.to_string_lossy(), false).map_err(|_| {
                    let text = text.display();
                    Error::Usage(format!("{LOG_FORMAT} is \"{text}\": use text or json"))
                })
            }
            (None, None) => Ok(LogFormat::default()),
        }
    }

    /// Opens an object and does something with it, in a session of its own.
    pub(crate) async fn with<P: Proxy, T>(
        &self,
        purpose: &str,
        open: impl FnOnce(&Manager) -> Open<P>,
        act: impl AsyncFnOnce(P) -> mp_manager::Result<T>,
    ) -> Result<T, Error> {
        self.session(purpose, async |manager| Ok(act(open(manager).await?).await?)).await
    }

    /// Opens an object to write to it, and does so, in a session of its own.
    pub(crate) async fn write<P: Proxy, T>(
        &self,
        purpose: &str,
        fenced: Fenced,
        open: impl Fn(&Manager) -> Open<P>,
        act: impl AsyncFnOnce(P) -> mp_manager::Result<T>,
    ) -> Result<T, Error> {
        let write = async |manager: &Manager| Ok(act(fenced.open(manager, open).await?).await?);
        self.session(purpose, write).await
    }

    /// Does something in a session, until it is done or a signal comes. `purpose` is what `inspect`
    /// says about the session.
    pub(crate) async fn session<T>(
        &self,
        purpose: &str,
        act: impl AsyncFnOnce(&Manager) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.session_by(Deadline::never(), purpose, act).await
    }

    /// As [`session`](Self::session), but a manager that does not answer is given up at the deadline.
    /// `act` has to heed it as well.
    pub(crate) async fn session_by<T>(
        &self,
        deadline: Deadline,
        purpose: &str,
        act: impl AsyncFnOnce(&Manager) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let act =
            async |manager: &Manager, signals: &mut Signals| signals.interrupt(act(manager)).await;
        self.session_with_signals(deadline, purpose, act).await
    }

    /// As [`session_by`](Self::session_by), but what signals mean is up to `act`.
    pub(crate) async fn session_with_signals<T>(
        &self,
        deadline: Deadline,
        purpose: &str,
        act: impl AsyncFnOnce(&Manager, &mut Signals) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut signals = Signals::ending()?;
        let connect = deadline.connect(&self.address, self.connect(purpose));
        let manager = signals.interrupt(connect).await?;
        let result = act(&manager, &mut signals).await;
        // Also after an error: what the session holds is released now, not when it is missed.
        let goodbye = async {
            match deadline.goodbye(manager.close()).await {
                Ok(closed) => Ok(closed?),
                // The manager hears it later, or misses us.
                Err(Passed) => Ok(()),
            }
        };
        let closed = signals.interrupt(goodbye).await;
        // What went wrong first is what there is to say.
        let output = result?;
        closed.map(|()| output)
    }

    pub(crate) async fn connect(&self, purpose: &str) -> Result<Manager, Error> {
        self.connect_with(&self.keys().await?, purpose).await
    }

    /// The authkeys to connect with.
    pub(crate) async fn keys(&self) -> Result<Keys, Error> {
        let (address, file) = (self.address.clone(), self.authkey_file.clone());
        // A pipe that nobody writes to keeps neither a signal nor a timeout from ending the command.
        let read = spawn_blocking(move || authkey::for_client(&address, file.as_deref()));
        read.await.map_err(|error| Error::io("cannot read the authkey")(error.into()))?
    }

    /// Connects with these authkeys. `purpose` is what `inspect` says about the session.
    pub(crate) async fn connect_with(&self, keys: &Keys, purpose: &str) -> Result<Manager, Error> {
        let builder = Manager::builder().process_name(format!("mp-manager {purpose}"));
        let builder = match &keys.file {
            Some(file) => builder.authkey_file(file),
            None => builder.authkeys(keys.authkeys.clone()),
        };
        self.tls.apply(builder)?.connect(&self.address.to_string()).await.map_err(|error| {
            match error {
                ClientError::AuthenticationFailed(_) => {
                    Error::Authentication { error, origin: keys.origin.clone() }
                }
                ClientError::LimitExceeded(_) | ClientError::OutOfMemory(_) => Error::NoRoom(error),
                error => error.into(),
            }
        })
    }
}
