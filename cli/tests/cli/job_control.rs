//! Copies and commands on a terminal, in the job of a shell; and stopped without one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
};

use crate::{
    fixture::{Daemon, Home, Running, through},
    terminal::Terminal,
};

const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";
/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the process is in one of these states, as /proc has them.
#[track_caller]
fn until_state(pid: &str, states: &[&str]) {
    let begun = Instant::now();
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let state = stat.rsplit(')').next().unwrap().split_whitespace().next().unwrap().to_owned();
        if states.contains(&state.as_str()) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "process {pid} is {state}, and not {states:?}");
    }
}

/// A pipe with a name in the home. It has a writer as long as this is there, so that readers wait.
fn pipe(home: &Home, name: &str) -> File {
    let path = home.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
}

/// The number of a process, which has written it to a file before it said so.
fn pid(directory: &Path, rank: usize) -> String {
    fs::read_to_string(directory.join(format!("pid-{rank}"))).unwrap().trim_end().to_owned()
}

#[test]
fn a_job_that_reads_in_the_background_stops_until_it_is_in_the_foreground() {
    let daemon = Daemon::start();
    let reads = r#"[ "$MP_MANAGER_RANK" = 1 ] || { read line; echo "got $line"; }"#;
    let run = daemon.home.command(&["run", "-n", "2", "--", "sh", "-c", reads]);
    let lock = daemon.command(&["lock", "L", "--", "sh", "-c", reads]);
    for command in [run, lock] {
        // 128 + SIGTTIN, as the shell says that it has stopped.
        let script = r#""$@" & wait %1; echo "waited: $?"; fg >/dev/null; echo "ended: $?""#;
        let Some(mut terminal) = Terminal::start(script, &command) else { return };
        terminal.until("waited: 149\n");
        terminal.type_in("hello\n");
        terminal.until("got hello\n");
        terminal.until("ended: 0\n");
    }
}

#[test]
fn ctrl_z_stops_all_copies_and_fg_continues_them() {
    let home = Home::new();
    let waits = "echo $$ >pid-$MP_MANAGER_RANK; echo ready; read line <end; echo ended";
    let run = home.command(&["run", "-n", "2", "--", "sh", "-c", waits]);
    let mut end = pipe(&home, "end");
    let script = r#""$@"; echo "stopped: $?"; read go; fg >/dev/null; echo "over: $?""#;
    let Some(mut terminal) = Terminal::start(script, &run) else { return };
    for _ in 0..2 {
        terminal.until("ready\n");
    }
    terminal.type_in(CTRL_Z);
    // 128 + SIGTSTP
    terminal.until("stopped: 148\n");
    let pids = [0, 1].map(|rank| pid(&home.path(""), rank));
    for pid in &pids {
        until_state(pid, &["T"]);
    }
    terminal.type_in("go\n");
    for pid in &pids {
        until_state(pid, &["R", "S", "D"]);
    }
    end.write_all(b"\n\n").unwrap();
    terminal.until("over: 0\n");
}

#[test]
fn ctrl_c_reaches_copies_on_a_terminal() {
    let home = Home::new();
    let cleans_up = "trap 'echo cleaned up; exit 5' INT; (echo ready; exec sleep 1000)";
    let run = home.command(&["run", "-n", "2", "--", "sh", "-c", cleans_up]);
    let script = r#""$@"; echo "over: $?""#;
    let Some(mut terminal) = Terminal::start(script, &run) else { return };
    for _ in 0..2 {
        terminal.until("ready\n");
    }
    terminal.type_in(CTRL_C);
    let told = terminal.until("over: 5\n");
    assert_eq!(told.matches("cleaned up\n").count(), 2, "{told}");
}

#[test]
fn signals_for_a_job_in_the_background_reach_what_copies_have_started() {
    let home = Home::new();
    for name in ["INT", "TERM"] {
        // The shell runs its trap when what it waits for has ended: that must hear the signal, too.
        let cleans_up =
            format!("trap 'echo cleaned up; exit 5' {name}; (echo ready; exec sleep 1000)");
        let run = home.command(&["run", "-n", "2", "--", "sh", "-c", &cleans_up]);
        let script = format!(r#""$@" & read go; kill -{name} $!; wait $!; echo "over: $?""#);
        let Some(mut terminal) = Terminal::start(&script, &run) else { return };
        for _ in 0..2 {
            terminal.until("ready\n");
        }
        terminal.type_in("go\n");
        let told = terminal.until("over: 5\n");
        assert_eq!(told.matches("cleaned up\n").count(), 2, "{name}: {told}");
    }
}

#[test]
fn a_stop_without_a_terminal_is_for_all_copies() {
    let home = Home::new();
    let waits = "echo $$ >pid-$MP_MANAGER_RANK; echo ready; read line <end; echo ended";
    let run = home.command(&["run", "-n", "2", "--", "sh", "-c", waits]);
    let mut end = pipe(&home, "end");
    // In a session of its own, wherever the test runs.
    let mut run = Running::start(&mut through(&["setsid"], &run));
    for _ in 0..2 {
        assert!(run.line().unwrap().ends_with("ready"));
    }
    let all = [pid(&home.path(""), 0), pid(&home.path(""), 1), run.id().to_string()];
    for (signal, states) in [(Signal::TSTP, &["T"][..]), (Signal::CONT, &["R", "S", "D"])] {
        run.signal(signal);
        for pid in &all {
            until_state(pid, states);
        }
    }
    end.write_all(b"\n\n").unwrap();
    let mut lines = [run.line().unwrap(), run.line().unwrap()];
    lines.sort();
    assert_eq!(lines, ["[0] ended", "[1] ended"]);
    assert!(run.wait().success());
}

#[test]
fn a_prompt_is_shown_before_its_line_ends() {
    let home = Home::new();
    let asks =
        r#"[ "$MP_MANAGER_RANK" = 1 ] || { printf 'name? '; read name; echo "hello $name"; }"#;
    let run = home.command(&["run", "-n", "2", "--", "sh", "-c", asks]);
    let Some(mut terminal) = Terminal::start(r#""$@"; echo "over: $?""#, &run) else { return };
    terminal.until("[0]\x1b[0m name? ");
    terminal.type_in("bob\n");
    terminal.until("hello bob\n");
    terminal.until("over: 0\n");
}

#[test]
fn the_prompt_of_a_single_copy_is_shown_in_a_pipe() {
    let home = Home::new();
    let asks = r#"printf 'name? '; read name; echo "hello $name""#;
    let mut run = home.command(&["run", "-n", "1", "--", "sh", "-c", asks]);
    let mut run = run.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = [PollFd::new(run.stdout.as_ref().unwrap(), PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let is_shown = poll(&mut shown, Some(&patience)).unwrap() == 1;
    run.stdin.take().unwrap().write_all(b"bob\n").unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "[0] name? hello bob\n");
    assert!(is_shown, "it comes with its line");
}
