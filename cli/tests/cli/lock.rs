use std::{fs, os::unix::process::CommandExt as _, process::Stdio};

use rustix::process::Signal;

use crate::fixture::{Daemon, Running};

#[test]
fn the_exit_code_is_the_commands() {
    let daemon = Daemon::start();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 128 + 9)] {
        let finished = daemon.run(&["lock", "L", "--", "sh", "-c", script]);
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(code), ""), "{script}");
    }
    let error = daemon.run(&["lock", "L", "--", "no-such-command"]).failed(127);
    assert!(error.contains("no-such-command"), "{error}");
    daemon.run(&["lock", "L", "--", "/"]).failed(126);
}

#[test]
fn the_command_knows_its_token_and_its_manager_and_not_the_key() {
    let daemon = Daemon::start();
    let script = "echo $MP_MANAGER_FENCING_TOKEN";
    let token = || {
        let token = daemon.run(&["lock", "L", "--", "sh", "-c", script]).printed();
        token.trim_end().parse::<u64>().unwrap()
    };
    let first = token();
    assert!(token() > first);

    let environment = daemon.run(&["lock", "L", "--", "env"]).printed();
    assert!(environment.contains(&format!("MP_MANAGER_ADDRESS={}\n", daemon.address)));
    let key = fs::read_to_string(daemon.home.authkey()).unwrap();
    assert!(!environment.contains(key.trim_end()));
}

#[test]
fn twenty_at_once_take_turns() {
    let daemon = Daemon::start();
    fs::write(daemon.home.path("f"), "0\n").unwrap();
    let script = "n=$(cat f); echo $((n+1)) >f";
    let mut all: Vec<Running> =
        (0..20).map(|_| daemon.start_command(&["lock", "L", "--", "sh", "-c", script])).collect();
    assert!(all.iter_mut().all(|one| one.wait().success()));
    assert_eq!(fs::read_to_string(daemon.home.path("f")).unwrap(), "20\n");
}

#[test]
fn a_lock_that_is_not_free_in_time_is_not_had() {
    let daemon = Daemon::start();
    let mut holder = hold(&daemon, "echo held; cat");
    let error = daemon.run(&["lock", "L", "--timeout", "0", "--", "echo"]).failed(75);
    assert!(error.contains("inspect L"), "{error}");
    daemon.run(&["lock", "L", "--timeout", "0.01", "--", "echo"]).failed(75);
    holder.signal(Signal::TERM);
    holder.wait();
    daemon.run(&["lock", "L", "--timeout", "0", "--", "true"]).printed();
}

#[test]
fn signals_reach_all_of_the_command() {
    let daemon = Daemon::start();
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::USR1, "USR1")] {
        // The shell runs its trap when what it waits for has ended: that must hear the signal, too.
        let script = format!("trap 'echo cleaned up; exit 5' {name}; (echo held; exec cat)");
        let mut holder = hold(&daemon, &script);
        holder.signal(signal);
        assert_eq!(holder.line().as_deref(), Some("cleaned up"));
        assert_eq!(holder.wait().code(), Some(5));
    }
}

#[test]
fn a_command_that_loses_its_lock_is_killed() {
    let mut daemon = Daemon::start();
    let mut polite = hold(&daemon, "trap 'echo stopped; exit 0' TERM; (echo held; exec cat)");
    let options = ["lock", "M", "--grace", "0", "--"];
    let mut stubborn = hold_with(&daemon, &options, "trap '' TERM; echo held; cat");

    daemon.process.signal(Signal::KILL);
    daemon.process.wait();
    assert_eq!(polite.line().as_deref(), Some("stopped"));
    let finished = polite.finish();
    assert_eq!(finished.code, Some(76), "{finished:?}");
    assert!(finished.stderr.contains("the command was killed"), "{finished:?}");
    // Nobody is left who has its standard output.
    assert_eq!(stubborn.line(), None);
    assert_eq!(stubborn.wait().code(), Some(76));
}

#[test]
fn a_lock_that_is_deleted_is_lost() {
    let daemon = Daemon::start();
    let holder = hold(&daemon, "echo held; cat");
    daemon.run(&["rm", "L"]).printed();
    let finished = holder.finish();
    assert_eq!(finished.code, Some(76), "{finished:?}");
}

#[test]
fn a_lost_lock_is_told_before_the_command_has_ended() {
    let daemon = Daemon::start();
    // What it does about the signal takes until its input ends.
    let script = "trap 'cat; exit' TERM; (echo held; exec cat)";
    let mut holder = hold_with(&daemon, &["lock", "L", "--grace", "600", "--"], script);
    daemon.run(&["rm", "L"]).printed();
    // The shell may say first what the signal has ended.
    let is_ours = |line: &String| line.trim() != "Terminated";
    let complaint = std::iter::repeat_with(|| holder.complaint()).find(is_ours).unwrap();
    assert!(complaint.contains("lock \"L\" was lost"), "{complaint}");
    holder.end_input();
    assert_eq!(holder.wait().code(), Some(76));
}

#[test]
#[cfg(target_os = "linux")]
fn a_command_does_not_outlive_who_holds_its_lock() {
    let daemon = Daemon::start();
    let mut holder = hold(&daemon, "echo held; exec cat");
    holder.signal(Signal::KILL);
    holder.wait();
    assert_eq!(holder.line(), None);
    daemon.run(&["lock", "L", "--timeout", "60", "--", "true"]).printed();
}

#[test]
fn who_is_interrupted_in_the_line_has_left_it() {
    let daemon = Daemon::start();
    let _holder = hold(&daemon, "echo held; cat");
    let waiter = daemon.start_command(&["lock", "L", "--", "echo", "never"]);
    daemon.until_waited_for("L");
    waiter.signal(Signal::INT);
    let finished = waiter.finish();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(128 + 2), ""), "{finished:?}");
    let inspection = daemon.run(&["inspect", "L", "--output", "json"]).printed();
    assert!(inspection.contains(r#""waiters":[]"#), "{inspection}");
}

/// Holds L and runs a script, which says when it has begun. It can wait in `cat`, whose input does
/// not end.
fn hold(daemon: &Daemon, script: &str) -> Running {
    hold_with(daemon, &["lock", "L", "--"], script)
}

fn hold_with(daemon: &Daemon, arguments: &[&str], script: &str) -> Running {
    let mut command = daemon.command(&[arguments, &["sh", "-c", script]].concat());
    // Where the tests run on a terminal, its Ctrl-C would be taken for the signals that they send.
    command.process_group(0);
    let mut holder = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
    assert_eq!(holder.line().as_deref(), Some("held"));
    holder
}
