//! `mp-manager man`

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, Command, CommandFactory, builder::Resettable};
use clap_mangen::{
    Man as Page,
    roff::{Roff, roman},
};

use crate::{Cli, error::Error, output};

/// Print the manual page, or write one for each command
#[derive(Debug, Args)]
#[command(after_help = "\
To read it:     mp-manager man | man -l -
To install it:  mp-manager man --dir ~/.local/share/man/man1
                man mp-manager-serve")]
pub(crate) struct Man {
    /// Write the pages of all commands into this directory, which is created if need be
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Result<(), Error> {
        let command = command();
        match self.dir {
            Some(dir) => {
                let cannot = |error| {
                    Error::io(format!("cannot write manual pages into {}", dir.display()))(error)
                };
                fs::create_dir_all(&dir).map_err(cannot)?;
                write(command, &dir).map_err(cannot)
            }
            None => {
                let page = page(command).map_err(Error::io("cannot make the manual page"))?;
                output::print(&String::from_utf8_lossy(&page))
            }
        }
    }
}

/// The program's command, with all that clap makes of it but `help`, which has no page.
fn command() -> Command {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// Writes the page of a command, and those of its subcommands.
fn write(command: Command, dir: &Path) -> io::Result<()> {
    for subcommand in command.get_subcommands().filter(|command| command.get_name() != "help") {
        write(subcommand.clone(), dir)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let path = dir.join(format!("{name}.1"));
    fs::write(path, page(command)?)
}

/// The page of a command. What stands below its options keeps its lines, which clap_mangen would fill.
fn page(mut command: Command) -> io::Result<Vec<u8>> {
    let below = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    command = command.after_help(Resettable::Reset);
    let mut page = Vec::new();
    Page::new(command).render(&mut page)?;
    let mut roff = Roff::new();
    for paragraph in below.split("\n\n") {
        let (first, rest) = paragraph.split_once('\n').unwrap_or((paragraph, ""));
        let (heading, lines) = match first.strip_suffix(':') {
            Some(heading) => (heading.to_uppercase(), rest),
            None => ("NOTES".into(), paragraph),
        };
        if lines.is_empty() {
            continue;
        }
        roff.control("SH", [heading.as_str()]).control("nf", []);
        for line in lines.lines() {
            roff.text([roman(line)]);
        }
        roff.control("fi", []);
    }
    roff.to_writer(&mut page)?;
    Ok(page)
}
