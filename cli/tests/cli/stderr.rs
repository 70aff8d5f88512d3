//! Standard error that cannot be written, or that nobody reads: lines are lost, and nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write},
    os::{
        fd::AsRawFd,
        unix::{fs::OpenOptionsExt, process::ExitStatusExt},
    },
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mp_manager::blocking::Manager;
use rustix::{fs::OFlags, pipe::fcntl_setpipe_size, process::Signal};

use crate::fixture::{Daemon, Home, Running, finish, through};

/// Why a line cannot be written.
#[derive(Debug, Clone, Copy)]
enum Broken {
    /// `2>/dev/full`
    Full,
    /// Its reader has ended.
    Unread,
    /// `2>&-`
    Closed,
}

const BROKEN: [Broken; 3] = [Broken::Full, Broken::Unread, Broken::Closed];

impl Broken {
    /// The command, with such a standard error.
    fn command(self, command: &Command) -> Command {
        let script =
            if matches!(self, Self::Closed) { r#"exec "$@" 2>&-"# } else { r#"exec "$@""# };
        let mut broken = through(&["sh", "-c", script, "sh"], command);
        match self {
            Self::Full => broken.stderr(OpenOptions::new().write(true).open("/dev/full").unwrap()),
            Self::Unread => broken.stderr(io::pipe().unwrap().1),
            Self::Closed => &mut broken,
        };
        broken
    }
}

#[test]
fn a_daemon_whose_log_cannot_be_written_serves_on() {
    for broken in BROKEN {
        let home = Home::new();
        let serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
        let mut daemon = Daemon::of(home, Running::start(&mut broken.command(&serve)));

        let stranger = |key| finish(daemon.command(&["ping"]).env("MP_MANAGER_AUTHKEY", key));
        let error = stranger("wrong secret").failed(77);
        assert!(
            error.contains("check that both sides use the same authkey"),
            "{broken:?}: {error}"
        );

        // SIGHUP has it read its authkeys again, and log that.
        let keys = fs::read_to_string(daemon.home.authkey()).unwrap();
        fs::write(daemon.home.authkey(), format!("another secret\n{keys}")).unwrap();
        daemon.process.signal(Signal::HUP);
        loop {
            let ping = stranger("another secret");
            if ping.code != Some(77) {
                assert_eq!(ping.code, Some(0), "{broken:?}: {ping:?}");
                break;
            }
        }

        daemon.process.signal(Signal::TERM);
        assert_eq!(daemon.process.wait().code(), Some(0), "{broken:?}");
    }
}

#[test]
fn serve_fails_with_its_exit_code_though_the_error_cannot_be_written() {
    let daemon = Daemon::start();
    let nowhere = daemon.home.path("no/socket").display().to_string();
    for broken in BROKEN {
        for (options, code) in [
            (&["serve", "--address", &daemon.address][..], 1),
            (&["serve", "--address", &format!("unix:{nowhere}")], 1),
            (&["serve", "--address", "0.0.0.0:0"], 2),
            (&["serve", "--shutdown-grace", "-1"], 2),
        ] {
            let ended = finish(&mut broken.command(&daemon.home.command(options)));
            assert_eq!(ended.code, Some(code), "{broken:?}: {options:?}: {ended:?}");
        }
    }
}

#[test]
fn exit_codes_are_as_documented_though_the_error_cannot_be_written() {
    let daemon = Daemon::start();
    for broken in BROKEN {
        for (arguments, code) in [
            (&["queue", "get", "nosuch", "--timeout", "0"][..], 75),
            (&["dict", "get", "no-such-dict", "key"], 3),
            (&["dict", "get"], 2),
            (&["dict", "set", "d", "k", "1", "--fence", "nonsense"], 2),
            (&["ping", "--address", "unix:nobody-listens"], 69),
            (&["lock", "L", "--", "no-such-command"], 127),
            (&["lock", "L", "--", "/"], 126),
            (&["run", "--", "no-such-command"], 127),
            (&["run", "--", "/"], 126),
        ] {
            let ended = finish(&mut broken.command(&daemon.command(arguments)));
            assert_eq!(ended.code, Some(code), "{broken:?}: {arguments:?}");
        }
        let mut ping = daemon.command(&["ping"]);
        ping.env("MP_MANAGER_AUTHKEY", "wrong secret");
        assert_eq!(finish(&mut broken.command(&ping)).code, Some(77), "{broken:?}");
    }
}

#[test]
fn a_lost_lock_has_its_exit_code_though_the_loss_cannot_be_written() {
    for broken in BROKEN {
        let daemon = Daemon::start();
        let command = ["lock", "L", "--", "sh", "-c", "echo held; exec sleep 1000"];
        let mut holder = Running::start(&mut broken.command(&daemon.command(&command)));
        assert_eq!(holder.line().as_deref(), Some("held"));
        daemon.run(&["rm", "L"]).printed();
        assert_eq!(holder.wait().code(), Some(76), "{broken:?}");
    }
}

/// A pipe of 4 KiB.
fn small_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = io::pipe().unwrap();
    assert_eq!(fcntl_setpipe_size(&writer, 4096).unwrap(), 4096);
    (reader, writer)
}

/// Fills a pipe to its last byte.
fn fill(pipe: &PipeWriter) {
    // Opened once more: only here it must not block.
    let mut pipe = OpenOptions::new()
        .write(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(format!("/proc/self/fd/{}", pipe.as_raw_fd()))
        .unwrap();
    for length in [1024, 1] {
        while pipe.write(&vec![b'.'; length]).is_ok() {}
    }
}

/// A daemon that logs to a pipe of 4 KiB.
fn daemon_with_small_pipe(
    variables: &[(&str, &str)],
    options: &[&str],
) -> (Daemon, PipeReader, PipeWriter) {
    let (reader, writer) = small_pipe();
    let home = Home::new();
    let arguments = [&["serve", "--address", "127.0.0.1:0"], options].concat();
    let mut serve = home.command(&arguments);
    serve.envs(variables.iter().copied()).stderr(writer.try_clone().unwrap());
    let process = Running::start(&mut serve);
    (Daemon::of(home, process), reader, writer)
}

fn fail_to_log_in(daemon: &Daemon) {
    let ping = finish(daemon.command(&["ping"]).env("MP_MANAGER_AUTHKEY", "wrong secret"));
    assert_eq!(ping.code, Some(77), "{ping:?}");
}

#[test]
fn an_unread_log_keeps_nobody_from_being_served() {
    let (mut daemon, _reader, writer) =
        daemon_with_small_pipe(&[], &["--max-failed-handshakes", "1000"]);
    // As short as a lease can be.
    let lease = Duration::from_secs(1);
    let manager = Manager::builder()
        .authkey_file(daemon.home.authkey())
        .lease(lease)
        .reconnect_timeout(Duration::ZERO)
        .connect(&daemon.address)
        .unwrap();
    let held = manager.lock("held").open().unwrap().acquire().unwrap();

    (0..70).for_each(|_| fail_to_log_in(&daemon));
    // In case they were so slow that not all of them were logged.
    fill(&writer);
    let full = Instant::now();
    while full.elapsed() < 2 * lease {
        fail_to_log_in(&daemon);
        daemon.run(&["dict", "set", "d", "k", "1"]).printed();
    }
    daemon.run(&["ping"]).printed();
    assert!(!held.is_lost());
    held.release().unwrap();

    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.wait_at_most(Duration::from_secs(30)).code(), Some(0));
}

#[test]
fn lines_that_found_no_room_are_counted_and_the_count_is_logged() {
    // Each ping is some hundred lines.
    let told = what_is_said_of_dropped_lines("text");
    let count = told.split(' ').find_map(|word| word.parse::<u64>().ok()).unwrap();
    assert!(count > 0, "{told}");
}

#[test]
fn in_json_the_count_of_lost_lines_is_an_object() {
    let told = what_is_said_of_dropped_lines("json");
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert!(told["message"].as_str().unwrap().contains("lines dropped: "), "{told}");
    assert_eq!((&told["level"], &told["target"]), (&"ERROR".into(), &"mp_manager".into()));
}

/// The line that a daemon logs when its log is read again.
fn what_is_said_of_dropped_lines(format: &str) -> String {
    let variables = [("MP_MANAGER_LOG", "h2=trace"), ("MP_MANAGER_LOG_FORMAT", format)];
    let (daemon, reader, writer) = daemon_with_small_pipe(&variables, &[]);
    fill(&writer);
    drop(writer);
    for _ in 0..100 {
        daemon.run(&["ping"]).printed();
    }
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let told = lines.find(|line| line.contains("lines dropped: ")).unwrap();
    // It still serves.
    daemon.run(&["ping"]).printed();
    told
}

#[test]
fn an_unread_standard_error_does_not_keep_the_daemon_from_ending() {
    let (mut daemon, _reader, writer) = daemon_with_small_pipe(&[], &[]);
    fill(&writer);
    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.wait_at_most(Duration::from_secs(30)).code(), Some(0));
}

#[test]
fn a_lost_lock_ends_its_command_though_nobody_reads_of_the_loss() {
    let daemon = Daemon::start();
    let (_reader, writer) = small_pipe();
    fill(&writer);
    let mut command =
        daemon.command(&["lock", "L", "--", "sh", "-c", "echo held; exec sleep 1000"]);
    let mut holder = Running::start(command.stderr(writer));
    assert_eq!(holder.line().as_deref(), Some("held"));
    daemon.run(&["rm", "L"]).printed();
    // The command has ended when nobody is left who could print a line.
    assert_eq!(holder.wait_at_most(Duration::from_secs(30)).code(), Some(76));
    assert_eq!(holder.line(), None);
}

#[test]
fn a_daemon_that_cannot_say_where_it_listens_serves() {
    let home = Home::new();
    let address = format!("unix:{}", home.path("socket").display());
    let (_, unread) = io::pipe().unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    for broken in [Stdio::from(full), unread.into()] {
        let log = File::create(home.path("log")).unwrap();
        let mut serve = home.command(&["serve", "--address", &address]);
        let mut daemon = serve.stdout(broken).stderr(log).spawn().unwrap();
        while home.run(&["ping", "--address", &address]).code != Some(0) {
            assert!(daemon.try_wait().unwrap().is_none(), "it ended");
        }
        let log = || fs::read_to_string(home.path("log")).unwrap();
        while !log().contains(&address) {}
        daemon.kill().unwrap();
        assert_eq!(daemon.wait().unwrap().signal(), Some(9));
    }
}
