//! `mp-manager`: serves shared objects, and uses them from a shell.
//!
//! Data goes to standard output, everything else to standard error; the exit codes are in
//! [`error`]. Each command has its own file in [`commands`].

mod address;
#[cfg(feature = "jemalloc")]
mod allocator;
mod authkey;
mod child;
mod commands;
mod copies;
mod deadline;
mod descriptors;
mod environment;
mod error;
mod family;
mod fence;
#[cfg(target_os = "linux")]
mod first_process;
mod json;
mod logging;
mod notify;
mod options;
mod output;
mod parse;
mod private_directory;
mod relay;
mod reload;
mod signals;
mod stderr;
mod table;
mod tls;

use std::{
    io::{self, Write},
    panic::resume_unwind,
    process::ExitCode,
    thread,
};

use clap::Parser;

use crate::{commands::Command, error::Error, options::Options};

/// Shared dicts, locks, queues and more for processes on one machine or many
#[derive(Debug, Parser)]
#[command(name = "mp-manager", version, after_help = error::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// The stack of the thread that runs a command, as the limit of shells (`ulimit -s`) is by default.
const STACK_BYTES: usize = 8 << 20;

/// Runs the command on a thread of its own: the main thread's stack is as large as the shell's limit
/// allows, which may be too little for any command.
fn main() -> ExitCode {
    let _flush = stderr::Flush;
    stderr::print_panics();
    #[cfg(target_os = "linux")]
    if first_process::is_this() {
        return first_process::run().unwrap_or_else(|error| report(&error));
    }
    match thread::Builder::new().name("command".into()).stack_size(STACK_BYTES).spawn(run) {
        Ok(command) => command.join().unwrap_or_else(|panic| resume_unwind(panic)),
        Err(error) => report(&Error::io("cannot start a thread")(error)),
    }
}

fn run() -> ExitCode {
    #[cfg(target_os = "linux")]
    if let Some(tied) = commands::tied::Tied::from_arguments() {
        return tied.run().unwrap_or_else(|error| report(&error));
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(said)
            if said.use_stderr()
                && options::log_format_of_wrong_usage() == stderr::LogFormat::Json =>
        {
            stderr::set_format(stderr::LogFormat::Json);
            let said_text = said.render().to_string();
            stderr::complain(said_text.trim().trim_start_matches("error: "));
            return usage_code(&said);
        }
        // Help, too, is no success if it could not be printed.
        Err(said) => {
            let printed = said.print().and_then(|()| io::stdout().flush());
            return match printed {
                Err(error) if !said.use_stderr() => {
                    report(&Error::io("cannot write to standard output")(error))
                }
                _ => usage_code(&said),
            };
        }
    };
    let Cli { options, command } = cli;
    let log_format = options.log_format();
    let execute = || command.run(&options.with_environment()?);
    match log_format.and_then(logging::start).and_then(|()| execute()) {
        Ok(code) => code,
        Err(error) => report(&error),
    }
}

fn report(error: &Error) -> ExitCode {
    if !error.is_silent() {
        stderr::complain(&error.to_string());
    }
    error.exit_code()
}

/// The exit code after what clap has said: help, or that the usage is wrong.
fn usage_code(said: &clap::Error) -> ExitCode {
    ExitCode::from(u8::try_from(said.exit_code()).unwrap_or(2))
}
