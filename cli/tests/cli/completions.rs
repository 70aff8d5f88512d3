//! The completion scripts, executed by the shells they are for.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
};

use crate::fixture::{Home, finish};

/// What is completed, what has to be among the candidates, and what must not be.
const CASES: [(&[&str], &[&str], &[&str]); 15] = [
    (&["dict", ""], &["get", "set", "add", "del", "items", "len"], &["serve", "push"]),
    (&["dict", "g"], &["get"], &["set"]),
    (&["list", ""], &["get", "set", "push", "pop"], &["put"]),
    (&["queue", "get", "--"], &["--timeout", "--fence", "--raw", "--address"], &["--maxsize"]),
    (&["serve", "--max-v"], &["--max-value-bytes"], &["--max-objects"]),
    (&["man", "--d"], &["--dir"], &["--output"]),
    (&["lock", "L", "--g"], &["--grace"], &["--fence"]),
    (&["run", "--"], &["--copies", "--kill-others", "--grace", "--no-prefix"], &["--timeout"]),
    (&["rm", "a", "--ou"], &["--output"], &[]),
    (&["dict", "help", ""], &["get", "set"], &["serve"]),
    (&["ls", "--output", ""], &["table", "json"], &["serve"]),
    (&["completions", ""], &["bash", "zsh", "fish"], &["serve"]),
    (&["help", ""], &["serve", "dict"], &["run-tied-to-parent"]),
    (&[""], &["serve", "dict", "queue", "completions"], &["run-tied-to-parent"]),
    (&["run"], &[], &["run-tied-to-parent"]),
];

#[test]
fn bash_completes_commands_options_and_values() {
    // Calls the function that the script has registered as bash calls it.
    let program = r#"
        source "$1"; shift
        registered=$(complete -p mp-manager)
        function=${registered##*-F }
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        "${function%% *}" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let options = ["--norc", "--noprofile", "-c", program, "bash"];
    complete_all("bash", |script| {
        let mut command = Command::new("bash");
        command.args(options).arg(script);
        command
    });
}

#[test]
fn fish_completes_commands_options_and_values() {
    // `complete -C` takes the line as it would be typed.
    let program = r#"
        source $argv[1]
        set words (string escape -- $argv[2..-2]) $argv[-1]
        complete -C (string join ' ' -- $words)
    "#;
    complete_all("fish", |script| {
        let mut command = Command::new("fish");
        command.args(["--no-config", "-c", program]).arg(script);
        command
    });
}

#[test]
fn zsh_completes_commands_options_and_values() {
    // An interactive shell in a terminal of its own, whose `compadd` writes what it is given.
    let program = r#"
        zmodload zsh/zpty
        script=$1; shift
        zpty shell zsh -f -i
        zpty -w shell "source $script.setup"
        zpty -r shell ignored '*READY*'
        zpty -w -n shell "${(j: :)@}"$'\t'
        zpty -r shell ignored '*COMPLETED*'
        zpty -d shell
        [[ ! -e $script.hits ]] || cat $script.hits
    "#;
    complete_all("zsh", |script| {
        let setup = format!(
            r#"
            unsetopt beep
            autoload -U compinit
            compinit -u -d {script}.dump
            source {script}
            compadd () {{
                [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\ * ]] || {{
                    local -a hits
                    builtin compadd -A hits "$@"
                    print -rl -- $hits >>{script}.hits
                }}
                builtin compadd "$@"
            }}
            complete-and-tell () {{ zle complete-word; print COMPLETED }}
            zle -N complete-and-tell
            bindkey '\t' complete-and-tell
            print READ''Y
            "#
        );
        fs::write(format!("{script}.setup"), setup).unwrap();
        let _ = fs::remove_file(format!("{script}.hits"));
        let mut command = Command::new("zsh");
        command.args(["-f", "-c", program, "zsh"]).arg(script);
        command
    });
}

/// Completes each of the cases in a shell; `start` makes a command to which the words are added.
fn complete_all(shell: &str, start: impl Fn(&str) -> Command) {
    if Command::new(shell).arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: there is no {shell}");
        return;
    }
    let home = Home::new();
    let script = home.path("script");
    fs::write(&script, home.run(&["completions", shell]).printed()).unwrap();
    for (words, expected, unexpected) in CASES {
        let mut command = start(script.to_str().unwrap());
        command.arg("mp-manager").args(words).env("HOME", home.path("")).stdin(Stdio::null());
        let finished = finish(&mut command);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""), "{words:?}");
        // fish adds a description after a tab, zsh after a colon.
        let candidates: BTreeSet<&str> = finished
            .stdout
            .lines()
            .filter_map(|line| line.split(['\t', ':']).next())
            .map(str::trim)
            .collect();
        for candidate in expected {
            assert!(candidates.contains(candidate), "{words:?} {candidate}: {candidates:?}");
        }
        for candidate in unexpected {
            assert!(!candidates.contains(candidate), "{words:?} {candidate}: {candidates:?}");
        }
    }
}
