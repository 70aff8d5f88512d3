//! A command loses no item or value that standard output does not take.

use std::{
    io::{self, Read},
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::fixture::{Daemon, Finished, Home, finish};

/// Redirections that leave nothing to write to, and one that takes nothing.
const UNWRITABLE: [&str; 3] = [">&-", "1</dev/null", ">/dev/full"];

#[test]
fn an_item_that_standard_output_does_not_take_goes_back() {
    let daemon = Daemon::start();
    for value in ["1", "2"] {
        daemon.run(&["queue", "put", "q", value]).printed();
    }
    for redirection in UNWRITABLE {
        shell(&daemon, &format!("$MP queue get q {redirection}")).failed(1);
        assert_eq!(daemon.run(&["queue", "len", "q"]).printed(), "2\n", "{redirection}");
        assert_eq!(daemon.run(&["queue", "peek", "q"]).printed(), "1\n", "{redirection}");
    }
}

#[test]
fn help_that_cannot_be_printed_is_no_success() {
    let daemon = Daemon::start();
    for asked in ["help", "--help", "--version", "help queue get"] {
        shell(&daemon, &format!("$MP {asked} >/dev/full")).failed(1);
        let printed = shell(&daemon, &format!("$MP {asked}"));
        assert_eq!(printed.code, Some(0), "{asked}");
    }
}

#[test]
fn a_popped_value_that_standard_output_does_not_take_is_back_in_its_place() {
    let daemon = Daemon::start();
    for value in ["0", "1", "2", "3"] {
        daemon.run(&["list", "push", "l", value]).printed();
    }
    for redirection in UNWRITABLE {
        for index in ["", "0", "1", "3", "-1", "-2", "-4"] {
            shell(&daemon, &format!("$MP list pop l {index} {redirection}")).failed(1);
            let items = daemon.run(&["list", "items", "l"]).printed();
            assert_eq!(items, "0\n1\n2\n3\n", "pop {index} {redirection}");
        }
    }
}

#[test]
fn a_value_that_is_printed_in_part_goes_back() {
    let daemon = Daemon::start();
    // More than a pipe holds, and less than an argument.
    let value = format!("[{}0]", "0,".repeat(50_000));
    for (put, take, len) in [
        (["queue", "put", "q", &value], ["queue", "get", "q"], ["queue", "len", "q"]),
        (["list", "push", "l", &value], ["list", "pop", "l"], ["list", "len", "l"]),
    ] {
        daemon.run(&put).printed();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = daemon.command(&take);
        let mut child = command.stdout(writer).stderr(Stdio::null()).spawn().unwrap();
        // Its writing end is ours as well.
        drop(command);
        reader.read_exact(&mut [0; 100]).unwrap();
        drop(reader);
        assert_eq!(child.wait().unwrap().code(), Some(141), "{take:?}");
        assert_eq!(daemon.run(&len).printed(), "1\n", "{take:?}");
    }
}

#[test]
fn a_command_whose_reader_is_slow_can_be_interrupted() {
    let daemon = Daemon::start();
    let value = format!("[{}0]", "0,".repeat(50_000));
    for (put, take, len) in [
        (["queue", "put", "q", &value], ["queue", "get", "q"], ["queue", "len", "q"]),
        (["list", "push", "l", &value], ["list", "pop", "l"], ["list", "len", "l"]),
    ] {
        daemon.run(&put).printed();
        let (mut reader, writer) = io::pipe().unwrap();
        let mut command = daemon.command(&take);
        let mut child = command.stdout(writer).spawn().unwrap();
        drop(command);
        reader.read_exact(&mut [0; 100]).unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(128 + 15), "{take:?}");
        assert_eq!(daemon.run(&len).printed(), "1\n", "{take:?}");
    }
}

#[test]
fn an_item_that_is_discarded_on_purpose_is_taken() {
    let daemon = Daemon::start();
    let put = || daemon.run(&["queue", "put", "q", "1"]).printed();
    let is_taken = || assert_eq!(daemon.run(&["queue", "len", "q"]).printed(), "0\n");
    for redirection in [">/dev/null", "1<>/dev/null", "<&- >/dev/null", "2>&- >/dev/null"] {
        put();
        shell(&daemon, &format!("$MP queue get q {redirection}")).printed();
        is_taken();
    }
    // Both open it as Rust's runtime opens what replaces a closed descriptor.
    let python = "import os, subprocess, sys; \
                  sys.exit(subprocess.call([os.environ['MP'], 'queue', 'get', 'q'], \
                  stdout=subprocess.DEVNULL))";
    let node = "process.exit(require('child_process').spawnSync(process.env.MP, \
                ['queue', 'get', 'q'], {stdio: 'ignore'}).status)";
    for (program, option, script) in [("python3", "-c", python), ("node", "-e", node)] {
        if Command::new(program).arg("--version").stdout(Stdio::null()).status().is_err() {
            println!("skipped: there is no {program}");
            continue;
        }
        put();
        let mut command = Command::new(program);
        finish(environment(&daemon, command.args([option, script]))).printed();
        is_taken();
    }
}

#[test]
fn a_command_under_a_lock_has_the_streams_that_the_lock_was_given() {
    let daemon = Daemon::start();
    daemon.run(&["queue", "put", "q", "1"]).printed();
    let finished = shell(&daemon, "$MP lock L -- $MP queue get q >&-");
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(daemon.run(&["queue", "len", "q"]).printed(), "1\n");
}

#[test]
fn nothing_is_added_if_the_sum_cannot_be_printed() {
    let daemon = Daemon::start();
    daemon.run(&["dict", "set", "d", "k", "1"]).printed();
    daemon.run(&["value", "set", "v", "1"]).printed();
    for redirection in [">&-", "1</dev/null"] {
        shell(&daemon, &format!("$MP dict add d k 1 {redirection}")).failed(1);
        shell(&daemon, &format!("$MP value add v 1 {redirection}")).failed(1);
    }
    assert_eq!(daemon.run(&["dict", "get", "d", "k"]).printed(), "1\n");
    assert_eq!(daemon.run(&["value", "get", "v"]).printed(), "1\n");
}

#[test]
fn a_command_that_cannot_print_does_not_succeed() {
    let daemon = Daemon::start();
    daemon.run(&["dict", "set", "d", "k", "1"]).printed();
    for command in ["dict get d k", "ls", "inspect", "ping", "keygen", "completions bash"] {
        for redirection in UNWRITABLE {
            shell(&daemon, &format!("$MP {command} {redirection}")).failed(1);
        }
    }
}

#[test]
fn a_value_does_not_come_from_an_input_that_is_closed() {
    let daemon = Daemon::start();
    for redirection in ["<&-", "0>/dev/null"] {
        let script = format!("$MP value set v - --raw {redirection}");
        let error = shell(&daemon, &script).failed(1);
        assert!(error.contains("standard input"), "{error}");
        daemon.run(&["value", "get", "v"]).failed(3);
    }
}

#[test]
fn a_daemon_needs_no_standard_streams() {
    let home = Home::new();
    let mut serve = Command::new("sh");
    serve.args(["-c", r#"exec "$MP" serve --address unix:socket <&- >&- 2>&-"#]);
    serve.env("MP", env!("CARGO_BIN_EXE_mp-manager")).env("XDG_CONFIG_HOME", home.path(""));
    let mut serve = serve.current_dir(home.path("")).spawn().unwrap();
    let ping = || home.run(&["ping", "--address", "unix:socket"]).code;
    while ping() != Some(0) {
        assert_eq!(serve.try_wait().unwrap(), None, "it runs");
    }
    serve.kill().unwrap();
    serve.wait().unwrap();
}

fn shell(daemon: &Daemon, script: &str) -> Finished {
    finish(environment(daemon, Command::new("sh").args(["-c", script])))
}

fn environment<'a>(daemon: &Daemon, command: &'a mut Command) -> &'a mut Command {
    command
        .env("MP", env!("CARGO_BIN_EXE_mp-manager"))
        .env("MP_MANAGER_ADDRESS", &daemon.address)
        .env("XDG_CONFIG_HOME", daemon.home.path(""))
        .current_dir(daemon.home.path(""))
        .stdin(Stdio::null())
}
