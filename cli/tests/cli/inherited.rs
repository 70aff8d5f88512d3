//! Signal dispositions and limits: which ones a command inherits from its caller, and which ones it passes on.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;

use crate::fixture::{Daemon, Finished, Home, Running, finish, through};

/// Whether `env` is one that has this option.
fn can(option: &str) -> bool {
    let tried = Command::new("env").args([option, "true"]).stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        println!("skipped: `env` has no {option} here");
    }
    can
}

#[test]
fn exit_codes_are_known_though_the_caller_ignores_its_children() {
    let ignored = "--ignore-signal=CHLD";
    if !can(ignored) {
        return;
    }
    let daemon = Daemon::start();
    let exits = ["--", "sh", "-c", "exit 7"];
    let run = daemon.home.command(&[&["run", "-n", "2"], &exits[..]].concat());
    let lock = daemon.command(&[&["lock", "L"], &exits[..]].concat());
    for command in [run, lock] {
        let finished = finish(&mut through(&["env", ignored], &command));
        assert_eq!(finished.code, Some(7), "{finished:?}");
    }
}

#[test]
fn signals_are_heard_though_the_caller_has_blocked_them() {
    let blocked = "--block-signal";
    if !can(blocked) {
        return;
    }
    let home = Home::new();
    let serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
    let mut serve = through(&["env", blocked], &serve);
    let mut daemon = Daemon::of(home, Running::start(serve.stderr(Stdio::null())));
    let script = "trap 'exit 5' TERM; echo ready; read line";
    let lock = daemon.command(&["lock", "L", "--", "sh", "-c", script]);
    let mut lock = Running::start(through(&["env", blocked], &lock).stdin(Stdio::piped()));
    assert_eq!(lock.line().as_deref(), Some("ready"));
    lock.signal(Signal::TERM);
    // It has the signal if the command has.
    assert_eq!(lock.wait_at_most(Duration::from_secs(60)).code(), Some(5));
    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.wait_at_most(Duration::from_secs(60)).code(), Some(0));
}

#[test]
fn commands_have_the_limit_of_open_files_that_there_was() {
    let limited = ["sh", "-c", r#"ulimit -Sn 200; exec "$@""#, "sh"];
    let home = Home::new();
    let run = home.command(&["run", "-n", "1", "--", "sh", "-c", "ulimit -Sn"]);
    assert_eq!(finish(&mut through(&limited, &run)).printed(), "[0] 200\n");
    let daemon = Daemon::start();
    let lock = daemon.command(&["lock", "L", "--", "sh", "-c", "ulimit -Sn"]);
    assert_eq!(finish(&mut through(&limited, &lock)).printed(), "200\n");
}

#[test]
fn a_limit_of_open_files_that_is_too_low_for_the_copies_is_told_with_the_remedy() {
    let home = Home::new();
    let run = |limit: &str| -> Finished {
        let script = format!(r#"ulimit -n {limit}; exec "$@""#);
        let run = home.command(&["run", "-n", "8", "--", "true"]);
        finish(&mut through(&["sh", "-c", &script, "sh"], &run))
    };
    let told = run("100");
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("100 open files") && told.stderr.contains("(-n)"), "{told:?}");
    assert!(!told.stderr.contains("--max-connections"), "{told:?}");
    run("200").printed();
}
