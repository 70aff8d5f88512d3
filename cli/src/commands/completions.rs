//! `mp-manager completions`

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, error::Error, output};

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
For bash, in ~/.bashrc:  source <(mp-manager completions bash)
For zsh, in ~/.zshrc:    source <(mp-manager completions zsh)
For fish:                mp-manager completions fish > ~/.config/fish/completions/mp-manager.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Error> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "mp-manager", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
