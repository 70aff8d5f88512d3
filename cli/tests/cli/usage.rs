//! Commands name wrong arguments and variables, and the way out.

use std::process::Command;

use crate::fixture::{Daemon, Home, Running, finish};

/// All variables that name something.
const VARIABLES: [&str; 5] = [
    "MP_MANAGER_ADDRESS",
    "MP_MANAGER_AUTHKEY_FILE",
    "MP_MANAGER_TLS_CA",
    "MP_MANAGER_TLS_CERT",
    "MP_MANAGER_TLS_KEY",
];

#[test]
fn a_negative_number_is_a_wrong_value_and_not_an_unknown_option() {
    let home = Home::new();
    for arguments in [
        &["queue", "get", "q", "--timeout", "-1"][..],
        &["queue", "put", "q", "1", "--timeout", "-0.5"],
        &["event", "wait", "e", "--timeout", "-1"],
        &["lock", "L", "--timeout", "-1", "--", "true"],
        &["lock", "L", "--grace", "-1", "--", "true"],
        &["run", "-n", "-1", "--", "true"],
        &["run", "--grace", "-1", "--", "true"],
        &["serve", "--handshake-timeout", "-1"],
        &["serve", "--shutdown-grace", "-1"],
        &["serve", "--max-objects", "-1"],
        &["serve", "--max-value-bytes", "-1"],
    ] {
        let finished = home.run(arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(finished.stderr.contains("invalid value '-"), "{arguments:?}: {finished:?}");
        assert!(!finished.stderr.contains("tip"), "{arguments:?}: {finished:?}");
    }
}

#[test]
fn a_typo_suggests_only_commands_that_help_lists() {
    let home = Home::new();
    for (typo, suggested) in [("sevre", "'serve'"), ("run-tied-to-parents", "'run'")] {
        let finished = home.run(&[typo]);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        let tips: Vec<&str> =
            finished.stderr.lines().filter(|line| line.contains("tip:")).collect();
        assert!(matches!(tips[..], [tip] if tip.ends_with(suggested)), "{finished:?}");
    }
}

#[test]
fn usage_shows_no_option_that_only_the_environment_has() {
    let home = Home::new();
    for arguments in [&["dict", "get", "d"][..], &["lock", "L"], &["queue", "put", "q"]] {
        let mut command = home.command(arguments);
        for variable in VARIABLES {
            command.env(variable, "host:1");
        }
        let finished = finish(&mut command);
        let usage = finished.stderr.lines().find(|line| line.starts_with("Usage:"));
        let usage = usage.expect("it shows how it is used");
        assert!(!usage.contains("--address") && !usage.contains("FILE"), "{usage}");
    }
}

#[test]
fn a_variable_that_is_empty_counts_as_unset() {
    let home = Home::new();
    let error = finish(home.command(&["ping"]).env("MP_MANAGER_ADDRESS", "")).failed(2);
    assert!(error.contains("no authkey for tcp://127.0.0.1:7117"), "{error}");

    let daemon = Daemon::start();
    for variable in &VARIABLES[1..] {
        finish(daemon.command(&["ping"]).env(variable, "")).printed();
    }
}

#[test]
fn an_address_in_the_environment_that_is_none_is_named_with_its_variable() {
    let error = finish(Home::new().command(&["ping"]).env("MP_MANAGER_ADDRESS", "::")).failed(2);
    assert!(error.contains("MP_MANAGER_ADDRESS"), "{error}");
}

#[test]
fn an_option_comes_before_the_environment() {
    let daemon = Daemon::start();
    let mut ping = daemon.command(&["ping", "--address", &daemon.address]);
    finish(ping.env("MP_MANAGER_ADDRESS", "manager.invalid:1")).printed();
}

#[test]
fn a_small_stack_is_enough_for_every_command() {
    let daemon = Daemon::start();
    for (arguments, printed) in [
        ("--help", "Usage: "),
        ("help serve", "Usage: "),
        ("keygen", ""),
        ("completions zsh", "compdef"),
        ("dict add d k 1", "1\n"),
        ("lock L -- echo locked", "locked\n"),
        ("run -n 1 -- echo ran", "[0] ran\n"),
        ("inspect", "dict"),
    ] {
        let script = format!("ulimit -s 128; exec $MP {arguments}");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script])
            .env("MP", env!("CARGO_BIN_EXE_mp-manager"))
            .env("MP_MANAGER_ADDRESS", &daemon.address)
            .env("XDG_CONFIG_HOME", daemon.home.path(""));
        let output = finish(&mut command).printed();
        assert!(output.contains(printed), "{arguments}: {output}");
    }
    let serve = "ulimit -s 128; exec $MP serve --address 127.0.0.1:0";
    let mut command = Command::new("sh");
    command.args(["-c", serve]).env("MP", env!("CARGO_BIN_EXE_mp-manager"));
    let mut daemon = Running::start(command.env("XDG_CONFIG_HOME", daemon.home.path("")));
    assert!(daemon.line().is_some(), "it listens");
}

#[test]
fn help_says_what_each_signal_does() {
    for command in ["run", "lock", "worker", "serve"] {
        let help = Home::new().run(&["help", command]).printed();
        for signal in ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"] {
            assert!(help.contains(&format!("SIG{signal}")), "{command}: no SIG{signal}");
        }
    }
}
