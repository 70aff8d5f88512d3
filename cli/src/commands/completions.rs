//! `mp-manager completions`

use clap::{Arg, Args, Command, CommandFactory};
use clap_complete::Shell;

use crate::{Cli, error::Error, output};

const NAME: &str = "mp-manager";

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "\
For bash, in ~/.bashrc:  source <(mp-manager completions bash)
For zsh, in ~/.zshrc:    source <(mp-manager completions zsh)
For fish:                mp-manager completions fish > ~/.config/fish/completions/mp-manager.fish

zsh needs its completion system before that: autoload -U compinit; compinit")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<(), Error> {
        output::print(&match self.shell {
            Shell::Bash => bash(),
            Shell::Zsh => zsh(),
            Shell::Fish => fish(),
            shell => generated(shell, NAME),
        })
    }
}

/// The script for bash, generated for a name without a hyphen: clap_complete writes a hyphen in the
/// name of the program in one way where the script sets its state, and in another where it looks at
/// it. The lines that register the script end with the name.
fn bash() -> String {
    let name = NAME.replace('-', "_");
    generated(Shell::Bash, &name).replace(&format!(" {name}\n"), &format!(" {NAME}\n"))
}

/// The script for zsh, in which the last arguments of a command take options between them: after
/// `*::` zsh completes none.
fn zsh() -> String {
    generated(Shell::Zsh, NAME).replace("'*::", "'*:")
}

/// The script for fish, in which `help` does not count as the command that it explains, and arguments
/// that are one of several words are completed.
fn fish() -> String {
    let script = generated(Shell::Fish, NAME);
    let is_of_help = |line: &&str| line.contains("using_subcommand help; and not");
    let mend = |line: &str| match Some(line).filter(is_of_help) {
        Some(line) => line.replacen(" help\" -f", "\" -f", 1) + "\n",
        None => format!("{line}\n"),
    };
    script.lines().map(mend).chain(Cli::command().get_subcommands().map(fish_words)).collect()
}

/// Completes the arguments of a command that are one of several words.
fn fish_words(command: &Command) -> String {
    let values = command.get_positionals().flat_map(Arg::get_possible_values);
    let words: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
    if words.is_empty() {
        return String::new();
    }
    format!(
        "complete -c {NAME} -n \"__fish_{}_using_subcommand {}\" -f -a \"{}\"\n",
        NAME.replace('-', "_"),
        command.get_name(),
        words.join(" "),
    )
}

fn generated(shell: Shell, name: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
