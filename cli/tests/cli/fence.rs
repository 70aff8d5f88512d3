use std::process::Stdio;

use crate::fixture::{Daemon, Finished, Running, finish};

const WRITES: [&[&str]; 12] = [
    &["dict", "set", "dict", "k", "1"],
    &["dict", "add", "dict", "k", "1"],
    &["dict", "del", "dict", "k"],
    &["list", "push", "list", "1"],
    &["list", "set", "list", "0", "2"],
    &["list", "pop", "list"],
    &["set", "add", "set", "1"],
    &["set", "del", "set", "1"],
    &["value", "add", "value", "1"],
    &["value", "set", "value", "2"],
    &["queue", "put", "queue", "1"],
    &["queue", "get", "queue"],
];

#[test]
fn every_write_can_be_fenced() {
    let daemon = Daemon::start();
    let released = released_fence(&daemon);
    for create in [
        &["dict", "set", "dict", "k", "0"][..],
        &["list", "push", "list", "0"],
        &["set", "add", "set", "0"],
        &["value", "set", "value", "0"],
        &["queue", "put", "queue", "0"],
    ] {
        daemon.run(create).printed();
    }
    for write in WRITES {
        let error = fenced(&daemon, write, &released).failed(73);
        assert!(error.contains("does not stand"), "{error}");
    }
    for kind in ["dict", "list", "set", "queue"] {
        assert_eq!(daemon.run(&[kind, "len", kind]).printed(), "1\n");
    }
    assert_eq!(daemon.run(&["value", "get", "value"]).printed(), "0\n");

    let (_holder, fence) = hold(&daemon);
    for write in WRITES {
        fenced(&daemon, write, &fence).printed();
    }
    assert_eq!(daemon.run(&["value", "get", "value"]).printed(), "2\n");
}

#[test]
fn a_command_writes_while_its_lock_is_held() {
    let daemon = Daemon::start();
    let script = r#""$0" dict set d k 1 --fence "$MP_MANAGER_FENCE""#;
    let program = env!("CARGO_BIN_EXE_mp-manager");
    daemon.run(&["lock", "L", "--", "sh", "-c", script, program]).printed();
    assert_eq!(daemon.run(&["dict", "get", "d", "k"]).printed(), "1\n");
}

#[test]
fn nothing_is_fenced_unless_it_is_asked_for() {
    let daemon = Daemon::start();
    let mut set = daemon.command(&["dict", "set", "d", "k", "1"]);
    finish(set.env("MP_MANAGER_FENCE", released_fence(&daemon))).printed();
}

#[test]
fn without_a_lock_there_is_no_fence() {
    let daemon = Daemon::start();
    // As `--fence "$MP_MANAGER_FENCE"` is outside of a lock.
    for fence in ["", "1-2"] {
        let finished = fenced(&daemon, &["dict", "set", "d", "k", "1"], fence);
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains("mp-manager lock"), "{finished:?}");
    }
    daemon.run(&["dict", "len", "d"]).failed(3);
}

#[test]
fn nothing_is_created_past_a_fence() {
    let daemon = Daemon::start();
    let released = released_fence(&daemon);
    let creates = WRITES.into_iter().filter(|write| !["del", "pop"].contains(&write[1]));
    let creates: Vec<_> = creates.filter(|write| write[1] != "set" || write[0] == "dict").collect();
    for create in &creates {
        fenced(&daemon, create, &released).failed(73);
    }
    let there = daemon.run(&["ls"]).printed();
    assert_eq!(there.lines().count(), 2, "only the lock, below the heading: {there}");

    let (_holder, fence) = hold(&daemon);
    for create in creates {
        fenced(&daemon, create, &fence).printed();
    }
}

#[test]
fn a_value_is_not_set_as_it_is_created_past_its_fence() {
    let daemon = Daemon::start();
    fenced(&daemon, &["value", "set", "v", "1"], &released_fence(&daemon)).failed(3);
    daemon.run(&["value", "get", "v"]).failed(3);
}

#[test]
fn what_is_fenced_does_not_wait() {
    let daemon = Daemon::start();
    let (_holder, fence) = hold(&daemon);
    fenced(&daemon, &["queue", "get", "q"], &fence).failed(75);
    let finished = fenced(&daemon, &["queue", "get", "q", "--timeout", "1"], &fence);
    assert_eq!(finished.code, Some(2), "{finished:?}");
}

fn fenced(daemon: &Daemon, command: &[&str], fence: &str) -> Finished {
    daemon.run(&[command, &["--fence", fence]].concat())
}

/// Holds L for as long as its process lives, and says with which fence.
fn hold(daemon: &Daemon) -> (Running, String) {
    let script = "echo $MP_MANAGER_FENCE; cat";
    let mut command = daemon.command(&["lock", "L", "--", "sh", "-c", script]);
    let mut holder = Running::start(command.stdin(Stdio::piped()));
    let fence = holder.line().expect("it tells its fence");
    (holder, fence)
}

fn released_fence(daemon: &Daemon) -> String {
    let script = "echo $MP_MANAGER_FENCE";
    daemon.run(&["lock", "L", "--", "sh", "-c", script]).printed().trim_end().to_owned()
}
