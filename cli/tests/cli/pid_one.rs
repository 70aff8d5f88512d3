//! The first process of a container: the kernel drops signals to that which it does not handle, and gives it every
//! orphan.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{Daemon, Home, Running, through};

/// In a session of its own: the terminal is not the container's.
const UNSHARE: [&str; 5] = ["setsid", "unshare", "--pid", "--fork", "--kill-child"];
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether this process may make namespaces.
fn can_unshare() -> bool {
    let [program, arguments @ ..] = UNSHARE;
    let tried = Command::new(program).args(arguments).arg("true").stderr(Stdio::null()).status();
    let can = tried.is_ok_and(|status| status.success());
    if !can {
        println!("skipped: no process namespace can be made here (root and unshare are needed)");
    }
    can
}

/// The command as the first process.
fn first(command: &Command) -> Command {
    through(&UNSHARE, command)
}

#[test]
fn sigterm_ends_the_first_process_of_a_container() {
    if !can_unshare() {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let mut serve = first(&home.command(&["serve", "--address", "127.0.0.1:0"]));
        serve.stderr(File::create(home.path("log")).unwrap());
        let mut daemon = Daemon::of(home, Running::start(&mut serve));
        // As soon as it says that it listens.
        kill_process(only_child(daemon.process.id()), signal).unwrap();
        let status = daemon.process.wait_at_most(PATIENCE);
        assert_eq!(status.code(), Some(0), "{}", daemon.log());
        assert!(daemon.log().contains("shut down"), "{}", daemon.log());
    }
}

#[test]
fn the_first_process_of_a_container_has_the_exit_code_of_its_program() {
    if !can_unshare() {
        return;
    }
    let home = Home::new();
    for (script, code) in [("exit 7", 7), ("kill -KILL $$", 128 + 9)] {
        let run = home.command(&["run", "-n", "2", "--", "sh", "-c", script]);
        let mut run = Running::start(first(&run).stderr(Stdio::null()));
        assert_eq!(run.wait_at_most(PATIENCE).code(), Some(code), "{script}");
    }
    // The program itself is killed.
    let run = home.command(&["run", "-n", "1", "--", "sh", "-c", "kill -KILL $PPID; read line"]);
    let mut run = Running::start(first(&run).stderr(Stdio::null()));
    assert_eq!(run.wait_at_most(PATIENCE).code(), Some(128 + 9));
}

#[test]
fn orphans_do_not_remain_as_zombies_in_a_container() {
    if !can_unshare() {
        return;
    }
    let daemon = Daemon::start();
    // The parent of what it starts ends first. A zombie can still be sent signals.
    let leaves_an_orphan = r#"
        orphan=$(sh -c '(exec >/dev/null; read line <go) & echo $!')
        echo "left $orphan"
        echo >go
        while kill -0 "$orphan"; do :; done 2>&-
        echo gone
        exit 7
    "#;
    let made = Command::new("mkfifo").arg(daemon.home.path("go")).status().unwrap();
    assert!(made.success());
    let script = ["--", "sh", "-c", leaves_an_orphan];
    let run = daemon.home.command(&[&["run", "-n", "1", "--no-prefix"], &script[..]].concat());
    let lock = daemon.command(&[&["lock", "L"], &script[..]].concat());
    for command in [run, lock] {
        let mut first = Running::start(first(&command).stderr(Stdio::null()));
        assert!(first.line().unwrap().starts_with("left "));
        // Only when it is waited for.
        assert_eq!(first.wait_at_most(PATIENCE).code(), Some(7));
        assert_eq!(first.line().as_deref(), Some("gone"));
    }
}

fn only_child(parent: u32) -> Pid {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap();
    let child = children.split_whitespace().next().unwrap();
    // In the namespace it is the first.
    let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    assert_eq!(ids.split_whitespace().last(), Some("1"), "{ids}");
    Pid::from_raw(child.parse().unwrap()).unwrap()
}
