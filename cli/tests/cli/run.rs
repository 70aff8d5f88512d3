#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    env, fs,
    io::{Read, Write},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio, exit},
    time::Duration,
};

use mp_manager::blocking::Manager;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::fixture::{Daemon, Finished, Home, Running, finish, through};

/// A home whose temporary files are its own.
struct Place(Home);

impl Place {
    fn new() -> Self {
        let home = Home::new();
        fs::create_dir(home.path("tmp")).unwrap();
        Self(home)
    }

    fn command(&self, options: &[&str], program: &[&str]) -> Command {
        let mut command = self.0.command(&[&["run"], options, &["--"], program].concat());
        command.env("TMPDIR", self.temporary_files());
        command
    }

    /// Runs a program, which leaves nothing behind.
    #[track_caller]
    fn run(&self, options: &[&str], program: &[&str]) -> Finished {
        let finished = finish(&mut self.command(options, program));
        self.assert_tidy();
        finished
    }

    #[track_caller]
    fn run_script(&self, options: &[&str], script: &str) -> Finished {
        self.run(options, &["sh", "-c", script, PROGRAM])
    }

    /// Starts copies of a script, and returns once each has printed `ready`.
    fn start(&self, options: &[&str], script: &str, count: usize) -> Running {
        let mut command = self.command(options, &["sh", "-c", script]);
        // Where the tests run on a terminal, its Ctrl-C would be taken for the signals that they send.
        command.process_group(0);
        let mut running = Running::start(command.stdin(Stdio::piped()).stderr(Stdio::piped()));
        for _ in 0..count {
            assert!(running.line().unwrap().ends_with("ready"));
        }
        running
    }

    fn temporary_files(&self) -> PathBuf {
        self.0.path("tmp")
    }

    fn count_temporary_files(&self) -> usize {
        fs::read_dir(self.temporary_files()).unwrap().count()
    }

    #[track_caller]
    fn assert_tidy(&self) {
        assert_eq!(self.count_temporary_files(), 0);
    }
}

/// What a script finds as `$0`.
const PROGRAM: &str = env!("CARGO_BIN_EXE_mp-manager");

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn copies_have_a_rank_a_size_and_one_manager() {
    let script = r#"
        echo "$MP_MANAGER_RANK of $MP_MANAGER_SIZE"
        "$0" queue put ranks "$MP_MANAGER_RANK" || exit
        [ "$MP_MANAGER_RANK" != 0 ] || for i in 0 1 2; do "$0" queue get ranks; done | sort | xargs
    "#;
    let printed = Place::new().run_script(&["-n", "3"], script).printed();
    assert_eq!(sorted(&printed), ["[0] 0 1 2", "[0] 0 of 3", "[1] 1 of 3", "[2] 2 of 3"]);
}

#[test]
fn there_are_as_many_copies_as_processors() {
    let count = std::thread::available_parallelism().unwrap().to_string();
    let printed = Place::new().run(&[], &["printenv", "MP_MANAGER_SIZE"]).printed();
    assert_eq!(printed.lines().count().to_string(), count);
    assert!(printed.lines().all(|line| line.ends_with(&format!("] {count}"))), "{printed}");
}

#[test]
fn each_line_is_whole_and_comes_after_the_rank_of_its_copy() {
    let script = r#"
        i=0
        while [ $i -lt 500 ]; do
            printf '%s out %s ' "$MP_MANAGER_RANK" $i; echo end
            echo "$MP_MANAGER_RANK error" >&2
            i=$((i+1))
        done
        printf 'no end'
    "#;
    let finished = Place::new().run_script(&["-n", "4"], script);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    for rank in 0..4 {
        let prefix = format!("[{rank}] ");
        let lines_of = |text: &str| -> Vec<String> {
            text.lines().filter_map(|line| Some(line.strip_prefix(&prefix)?.to_owned())).collect()
        };
        let mut expected: Vec<String> = (0..500).map(|i| format!("{rank} out {i} end")).collect();
        expected.push("no end".into());
        assert_eq!(lines_of(&finished.stdout), expected);
        assert_eq!(lines_of(&finished.stderr), vec![format!("{rank} error"); 500]);
    }
    assert_eq!(finished.stdout.lines().count(), 4 * 501);
    assert_eq!(finished.stderr.lines().count(), 4 * 500);
}

#[test]
fn what_is_no_text_or_very_long_comes_through() {
    let place = Place::new();
    let script = r"printf '\377\000\n'; head -c 200000 /dev/zero | tr '\000' x";
    let output = place.command(&["-n", "1"], &["sh", "-c", script]).output().unwrap();
    let (first, rest) = output.stdout.split_at(7);
    assert_eq!(first, b"[0] \xff\0\n");
    assert_eq!(rest.iter().filter(|byte| **byte == b'x').count(), 200_000);
    assert!(rest.split(|byte| *byte == b'\n').all(|line| line.len() <= (64 << 10) + 4));
}

#[test]
fn without_prefixes_output_is_untouched() {
    let printed = Place::new().run(&["-n", "2", "--no-prefix"], &["printf", "a"]).printed();
    assert_eq!(printed, "aa");
}

#[test]
fn the_first_copy_has_the_input_and_the_others_an_empty_one() {
    let place = Place::new();
    let mut command = place.command(&["-n", "3"], &["cat"]);
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"[0] hello\n");
    assert!(output.status.success());
}

#[test]
fn the_exit_code_is_the_highest_and_each_failure_is_told() {
    let place = Place::new();
    let finished = place.run_script(&["-n", "3"], "exit $MP_MANAGER_RANK");
    assert_eq!(finished.code, Some(2), "{finished:?}");
    let told = ["mp-manager: copy 1 exited with code 1", "mp-manager: copy 2 exited with code 2"];
    assert_eq!(sorted(&finished.stderr), told);

    let script = "[ $MP_MANAGER_RANK = 0 ] && kill -KILL $$; exit 3";
    let finished = place.run_script(&["-n", "2"], script);
    assert_eq!(finished.code, Some(128 + 9), "{finished:?}");
    assert!(
        finished.stderr.contains("mp-manager: copy 0 was killed by signal 9 (SIGKILL)\n"),
        "{finished:?}"
    );
}

#[test]
fn a_failure_is_told_after_the_last_words_of_its_copy() {
    let place = Place::new();
    for _ in 0..10 {
        // Both streams are one, as on a terminal.
        let output = fs::File::create(place.0.path("output")).unwrap();
        let program = ["sh", "-c", "echo last words; echo and more >&2; exit 1"];
        let mut command = place.command(&["-n", "1"], &program);
        command.stdout(output.try_clone().unwrap()).stderr(output).status().unwrap();
        let output = fs::read_to_string(place.0.path("output")).unwrap();
        assert_eq!(output.lines().count(), 3);
        assert!(output.ends_with("\nmp-manager: copy 0 exited with code 1\n"), "{output}");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_named_once() {
    let place = Place::new();
    for options in [&["-n", "3"][..], &["-n", "3", "--no-prefix"]] {
        let error = place.run(options, &["no-such-program"]).failed(127);
        assert!(error.contains("cannot run no-such-program"), "{error}");
        let error = place.run(options, &["/"]).failed(126);
        assert!(error.contains("cannot run /"), "{error}");
    }
    // It is the program that says so.
    let finished = place.run_script(&["-n", "1"], "exit 127");
    assert!(finished.stderr.contains("copy 0 exited with code 127"), "{finished:?}");
}

#[test]
fn the_others_go_on_when_a_copy_has_failed() {
    let place = Place::new();
    let script = "[ $MP_MANAGER_RANK = 1 ] && exit 3; cat; echo still here";
    let mut running = place.start(&["-n", "2"], script, 0);
    assert_eq!(running.complaint(), "mp-manager: copy 1 exited with code 3\n");
    running.end_input();
    assert_eq!(running.line().as_deref(), Some("[0] still here"));
    assert_eq!(running.wait().code(), Some(3));
}

#[test]
fn the_others_are_ended_when_a_copy_has_failed() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.0.path("ready")).status().unwrap().success());
    let fails = "if [ $MP_MANAGER_RANK = 1 ]; then read line <ready; exit 3; fi";
    let polite = format!("trap 'exit 4' TERM; {fails}; (echo >ready; exec sleep 1000)");
    let finished = place.run_script(&["-n", "2", "--kill-others", "--grace", "600"], &polite);
    // Of the one that failed by itself.
    assert_eq!(finished.code, Some(3), "{finished:?}");
    for told in ["mp-manager: copy 0 exited with code 4", "mp-manager: copy 1 exited with code 3"] {
        assert!(finished.stderr.lines().any(|line| line == told), "{finished:?}");
    }

    let stubborn = format!("trap '' TERM; {fails}; echo >ready; sleep 1000");
    let finished = place.run_script(&["-n", "2", "--kill-others", "--grace", "0"], &stubborn);
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert!(finished.stderr.contains("copy 0 was killed by signal 9 (SIGKILL)"), "{finished:?}");

    // Who has done its work is not missed.
    let script = "[ $MP_MANAGER_RANK = 1 ] && exit; read line; echo done";
    let mut running = place.start(&["-n", "2", "--kill-others"], script, 0);
    running.end_input();
    assert_eq!(running.line().as_deref(), Some("[0] done"));
    assert!(running.wait().success());
}

#[test]
fn a_signal_reaches_all_copies() {
    let place = Place::new();
    for (signal, name) in [
        (Signal::INT, "INT"),
        (Signal::TERM, "TERM"),
        (Signal::HUP, "HUP"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
    ] {
        // The shell runs its trap when what it waits for has ended: that must hear the signal, too.
        let script =
            format!("trap 'echo cleaned up; exit 5' {name}; (echo ready; exec sleep 1000)");
        let mut running = place.start(&["-n", "3"], &script, 3);
        running.signal(signal);
        let lines: BTreeSet<String> = std::iter::from_fn(|| running.line()).collect();
        let expected = (0..3).map(|rank| format!("[{rank}] cleaned up")).collect();
        assert_eq!(lines, expected, "{name}");
        assert_eq!(running.wait().code(), Some(5), "{name}");
        place.assert_tidy();
    }
}

#[test]
fn a_second_signal_kills() {
    let place = Place::new();
    let script = "trap '' INT TERM; echo ready; sleep 1000";
    let running = place.start(&["-n", "2"], script, 2);
    running.signal(Signal::INT);
    running.signal(Signal::TERM);
    let finished = running.finish();
    assert_eq!(finished.code, Some(128 + 9), "{finished:?}");
    place.assert_tidy();
}

#[test]
#[cfg(target_os = "linux")]
fn copies_do_not_outlive_who_has_started_them() {
    let place = Place::new();
    let options = ["-n", "3", "--no-prefix"];
    let mut running = place.start(&options, "echo ready; exec sleep 1000", 3);
    running.signal(Signal::KILL);
    running.wait();
    // Nobody is left who has its standard output.
    assert_eq!(running.line(), None);
    // What it could not remove the next one does.
    assert_eq!(place.count_temporary_files(), 1);
    place.run(&["-n", "1"], &["true"]).printed();
}

#[test]
fn a_copy_whose_reader_has_gone_ends_by_the_broken_pipe() {
    let place = Place::new();
    let mut command = place.command(&["-n", "2"], &["yes"]);
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 13), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("was killed by signal 13 (SIGPIPE)").count(), 2, "{told}");
}

/// A talker that a test below runs copies of. As any program in Rust, it ignores SIGPIPE.
#[test]
#[ignore = "a program for another test"]
fn a_talker() {
    if env::var("MP_MANAGER_RANK").is_ok() {
        while writeln!(std::io::stdout(), "talk").is_ok() {}
        exit(101);
    }
}

#[test]
fn a_copy_that_ignores_the_broken_pipe_has_an_error_and_the_exit_code_is_the_signals() {
    let place = Place::new();
    let talker = env::current_exe().unwrap().display().to_string();
    let arguments = ["run::a_talker", "--exact", "--ignored", "--nocapture"];
    let mut command = place.command(&["-n", "2"], &[&[&*talker], &arguments[..]].concat());
    let mut running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    running.stdout.take().unwrap().read_exact(&mut [0; 6]).unwrap();
    let output = running.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128 + 13), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told.matches("exited with code 101").count(), 2, "{told}");
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let place = Place::new();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = place.command(&["-n", "1"], &["echo"]).stdout(full()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("cannot write to standard output"), "{told}");
    // Nobody minds what is lost on standard error.
    let status = place.command(&["-n", "1"], &["sh", "-c", "echo >&2"]).stderr(full()).status();
    assert!(status.unwrap().success());
}

#[test]
#[cfg(target_os = "linux")]
fn the_authkey_is_for_this_user_alone_and_in_no_environment() {
    let place = Place::new();
    let script = r#"
        tr '\000' '\n' </proc/$$/environ
        echo "key $(cat "$MP_MANAGER_AUTHKEY_FILE")"
        stat -c 'mode %a' "$MP_MANAGER_AUTHKEY_FILE" "$(dirname "$MP_MANAGER_AUTHKEY_FILE")"
    "#;
    let mut command = place.command(&["-n", "1"], &["sh", "-c", script]);
    command.env("MP_MANAGER_AUTHKEY", "of another manager");
    let printed = finish(&mut command).printed();
    let lines: Vec<&str> = printed.lines().map(|line| line.strip_prefix("[0] ").unwrap()).collect();
    let key = lines.iter().find_map(|line| line.strip_prefix("key ")).unwrap();
    assert_eq!(key.len(), 64);
    assert_eq!(printed.matches(key).count(), 1, "{printed}");
    assert!(!printed.contains("MP_MANAGER_AUTHKEY="), "{printed}");
    let modes: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("mode ")).collect();
    assert_eq!(modes, ["600", "700"]);
}

#[test]
fn copies_join_a_manager_that_is_there() {
    let daemon = Daemon::start();
    let copies = ["run", "-n", "2", "--", PROGRAM, "dict", "add", "d", "n", "1"];
    let mut by_variable = daemon.command(&copies);
    let mut by_option =
        daemon.home.command(&[&["--address", &daemon.address], &copies[..]].concat());
    // Copies have the key from a file though we have it from a variable.
    let key = fs::read_to_string(daemon.home.authkey()).unwrap();
    let script = r#"printenv MP_MANAGER_AUTHKEY || exec "$0" dict add d n 1"#;
    let mut by_key = daemon.command(&["run", "-n", "2", "--", "sh", "-c", script, PROGRAM]);
    by_key.env("MP_MANAGER_AUTHKEY", key.trim_end()).env("XDG_CONFIG_HOME", "/nonexistent");
    for (command, count) in [(&mut by_variable, "2"), (&mut by_option, "4"), (&mut by_key, "6")] {
        finish(command).printed();
        assert_eq!(daemon.run(&["dict", "get", "d", "n"]).printed().trim_end(), count);
    }
}

#[test]
fn a_run_has_a_name_that_no_other_run_has() {
    let place = Place::new();
    let mut names = BTreeSet::new();
    for _ in 0..2 {
        let printed = place.run(&["-n", "3"], &["printenv", "MP_MANAGER_RUN"]).printed();
        let of_copies: BTreeSet<&str> = printed.lines().map(|line| &line[4..]).collect();
        assert_eq!((printed.lines().count(), of_copies.len()), (3, 1), "{printed}");
        names.extend(of_copies.into_iter().map(str::to_owned));
    }
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.iter().all(|name| name.len() == 16), "{names:?}");
}

#[test]
fn the_example_runs_again_with_a_manager_that_is_there() {
    let example = PathBuf::from(PROGRAM).with_file_name("examples/ranks");
    if !example.exists() {
        println!(
            "skipped: there is no {} (cargo build -p mp-manager --examples)",
            example.display()
        );
        return;
    }
    let daemon = Daemon::start();
    let example = example.display().to_string();
    for (size, sum) in [(2, 1), (3, 3), (2, 1)] {
        let run = daemon.run(&["run", "-n", &size.to_string(), "--", &example]);
        let expected: Vec<String> = (0..size)
            .map(|rank| format!("[{rank}] rank {rank} of {size}: the sum of all ranks is {sum}"))
            .collect();
        assert_eq!(sorted(&run.printed()), expected);
    }
    // It leaves nothing behind.
    assert_eq!(daemon.run(&["ls", "--output", "json"]).printed(), "[]\n");
}

#[test]
fn nothing_starts_without_the_manager_that_is_to_be_joined() {
    let daemon = Daemon::start();
    let run = ["run", "-n", "2", "--", "touch", "started"];
    finish(daemon.command(&run).env("MP_MANAGER_ADDRESS", "unix:nobody-listens")).failed(69);
    finish(daemon.command(&run).env("MP_MANAGER_AUTHKEY", "another authkey")).failed(77);
    let key = daemon.home.authkey().display().to_string();
    let error = daemon.home.run(&[&["--authkey-file", &key], &run[..]].concat()).failed(2);
    assert!(error.contains("--address"), "{error}");
    assert!(!daemon.home.path("started").exists());
}

/// A party that a test below runs copies of.
#[test]
#[ignore = "a program for another test"]
fn a_party() {
    let Ok(directory) = env::var("MEETING") else { return };
    let manager = Manager::from_env().unwrap();
    // There is one more than there are copies.
    let meeting = manager.barrier("meeting", 4).open().unwrap();
    let variable = |name| env::var(name).unwrap();
    let found = [variable("MP_MANAGER_ADDRESS"), variable("MP_MANAGER_AUTHKEY_FILE")].join("\n");
    let rank = variable("MP_MANAGER_RANK");
    fs::write(format!("{directory}/pid-{rank}"), std::process::id().to_string()).unwrap();
    fs::write(format!("{directory}/manager"), found).unwrap();
    println!("\nready");
    let error = meeting.wait().unwrap_err();
    println!("\ntold: {error}");
    exit(7);
}

#[test]
fn those_who_wait_with_a_copy_that_is_killed_are_told() {
    let place = Place::new();
    let party = env::current_exe().unwrap().display().to_string();
    let arguments = ["run::a_party", "--exact", "--ignored", "--nocapture"];
    let mut command = place.command(&["-n", "3"], &[&[&*party], &arguments[..]].concat());
    command.env("MEETING", place.0.path("")).stderr(Stdio::piped());
    let mut running = Running::start(&mut command);
    let lines = |running: &mut Running, end: &str, count: usize| -> Vec<String> {
        let lines = std::iter::from_fn(|| running.line()).filter(|line| line.contains(end));
        lines.take(count).collect()
    };
    assert_eq!(lines(&mut running, "] ready", 3).len(), 3);

    let manager = fs::read_to_string(place.0.path("manager")).unwrap();
    let (address, authkey_file) = manager.split_once('\n').unwrap();
    let waiting = || {
        let mut inspect = place.0.command(&["inspect", "meeting", "--output", "json"]);
        inspect.env("MP_MANAGER_ADDRESS", address).env("MP_MANAGER_AUTHKEY_FILE", authkey_file);
        let inspection: Value = serde_json::from_str(&finish(&mut inspect).printed()).unwrap();
        inspection["objects"][0]["waiters"].as_array().unwrap().len()
    };
    while waiting() < 3 {}
    let pid: i32 = fs::read_to_string(place.0.path("pid-1")).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();

    let told = lines(&mut running, "] told: ", 2);
    assert!(told.iter().all(|line| line.contains("ended while it waited")), "{told:?}");
    let finished = running.finish();
    assert_eq!(finished.code, Some(128 + 9), "{finished:?}");
    let death = "mp-manager: copy 1 was killed by signal 9 (SIGKILL)\n";
    assert!(finished.stderr.contains(death), "{finished:?}");
    place.assert_tidy();
}

#[test]
fn what_a_copy_that_failed_leaves_running_holds_nobody_up() {
    let place = Place::new();
    // Which of two waits is over first is chance.
    for _ in 0..3 {
        let mut run = place.start(&["-n", "1"], "echo ready; sleep 1000 & echo $!; exit 4", 1);
        let line = run.line().unwrap();
        assert_eq!(run.wait_at_most(Duration::from_secs(60)).code(), Some(4));
        let left: i32 = line.strip_prefix("[0] ").unwrap().parse().unwrap();
        kill_process(Pid::from_raw(left).unwrap(), Signal::KILL).unwrap();
    }
}

#[test]
fn a_terminal_that_closes_may_say_so_twice() {
    let place = Place::new();
    let script = "trap 'echo told' HUP; trap 'echo last; exit 0' USR1; echo ready; \
        while :; do sleep 0.01; done";
    let mut run = place.start(&["-n", "1"], script, 1);
    run.signal(Signal::HUP);
    assert_eq!(run.line().as_deref(), Some("[0] told"));
    run.signal(Signal::HUP);
    run.signal(Signal::USR1);
    assert_eq!(run.line().as_deref(), Some("[0] last"));
    assert!(run.wait().success());
}

#[test]
fn an_interrupt_that_is_to_be_ignored_is_not_for_the_copies() {
    let place = Place::new();
    let script = "trap 'echo terminated; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let command = place.command(&["-n", "1"], &["sh", "-c", script]);
    let ignoring = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"];
    let mut run = Running::start(through(&ignoring, &command).stderr(Stdio::piped()));
    assert_eq!(run.line().as_deref(), Some("[0] ready"));
    run.signal(Signal::INT);
    run.signal(Signal::TERM);
    assert_eq!(run.line().as_deref(), Some("[0] terminated"));
    assert_eq!(run.wait().code(), Some(7));
}
