//! `--timeout` ends a command, whatever the manager does, and nothing is lost by it.

use std::{
    fs,
    net::TcpListener,
    os::unix::net::UnixListener,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use mp_manager::blocking::Manager;
use rustix::process::Signal;

use crate::fixture::{Daemon, Home, Running, finish};

/// Every command that has a timeout.
const COMMANDS: [&[&str]; 4] = [
    &["queue", "get", "q", "--timeout"],
    &["queue", "put", "q", "1", "--timeout"],
    &["event", "wait", "e", "--timeout"],
    &["lock", "L", "--grace", "0", "--timeout"],
];

/// Longer than any of these tests gives a command; shorter than the client's own patience with a
/// manager that it connects to.
const BOUND: Duration = Duration::from_secs(9);

/// The command with its timeout, complete.
fn with_timeout<'a>(command: &[&'a str], timeout: &'a str) -> Vec<&'a str> {
    let run: &[&str] = if command[0] == "lock" { &["--", "true"] } else { &[] };
    [command, &[timeout], run].concat()
}

#[track_caller]
fn times_out(command: &mut Command) {
    let start = Instant::now();
    finish(command).failed(75);
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
}

/// A daemon on loopback, and one on a unix socket.
fn daemons() -> [Daemon; 2] {
    [Daemon::start(), Daemon::start_in(Home::new(), "unix:socket", &[])]
}

#[test]
fn a_listener_that_says_nothing_is_given_up_in_time() {
    let home = Home::new();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(home.path("silent")).unwrap();
    for address in [&*tcp.local_addr().unwrap().to_string(), "unix:silent"] {
        for command in COMMANDS {
            let mut command = home.command(&with_timeout(command, "0.3"));
            command.env("MP_MANAGER_AUTHKEY", "secret").env("MP_MANAGER_ADDRESS", address);
            times_out(&mut command);
        }
    }
}

#[test]
fn a_daemon_that_is_stopped_is_given_up_in_time() {
    for daemon in daemons() {
        daemon.run(&["queue", "put", "q", "1"]).printed();
        daemon.process.stop();
        for command in COMMANDS {
            times_out(&mut daemon.command(&with_timeout(command, "0.3")));
        }
        times_out(&mut daemon.command(&["queue", "get", "q", "--timeout", "0"]));
        daemon.process.signal(Signal::CONT);
        assert_eq!(daemon.run(&["queue", "get", "q", "--timeout", "60"]).printed(), "1\n");
    }
}

#[test]
fn a_wait_ends_in_time_when_the_daemon_is_stopped_meanwhile() {
    for daemon in daemons() {
        let _holder = hold(&daemon);
        for (command, object) in [
            (&["queue", "get", "q", "--timeout"][..], "q"),
            (&["event", "wait", "e", "--timeout"], "e"),
            (&["lock", "L", "--timeout"], "L"),
        ] {
            let waiter = daemon.start_command(&with_timeout(command, "2"));
            daemon.until_waited_for(object);
            daemon.process.stop();
            let start = Instant::now();
            let error = waiter.finish().failed(75);
            assert!(error.contains(&format!("\"{object}\"")), "{error}");
            assert!(start.elapsed() < BOUND, "{command:?}: {:?}", start.elapsed());
            daemon.process.signal(Signal::CONT);
        }
    }
}

#[test]
fn what_is_handed_out_too_late_goes_back() {
    for daemon in daemons() {
        let mut holder = hold(&daemon);
        let authkey = fs::read_to_string(daemon.home.authkey()).unwrap();
        let socket = format!("unix:{}", daemon.home.path("socket").display());
        let address = daemon.address.replace("unix:socket", &socket);
        let manager = Manager::connect(&address, authkey.trim_end()).unwrap();
        let queue = manager.queue::<u64>("q").open().unwrap();

        let taker = daemon.start_command(&["queue", "get", "q", "--timeout", "2"]);
        let locker = daemon.start_command(&with_timeout(&["lock", "L", "--timeout"], "2"));
        daemon.until_waited_for("q");
        daemon.until_waited_for("L");
        daemon.process.stop();
        // Both are handed out when the daemon goes on.
        let put = thread::spawn(move || queue.put(7));
        holder.end_input();
        taker.finish().failed(75);
        locker.finish().failed(75);
        daemon.process.signal(Signal::CONT);

        put.join().unwrap().unwrap();
        assert_eq!(daemon.run(&["queue", "get", "q", "--timeout", "60"]).printed(), "7\n");
        daemon.run(&["lock", "L", "--timeout", "60", "--", "true"]).printed();
        holder.wait();
    }
}

#[test]
fn a_put_that_nobody_confirmed_is_not_said_to_have_failed() {
    let daemon = Daemon::start();
    let authkey = fs::read_to_string(daemon.home.authkey()).unwrap();
    let manager = Manager::connect(&daemon.address, authkey.trim_end()).unwrap();
    manager.queue::<u64>("q").maxsize(1).open().unwrap().put(1).unwrap();
    let putter = daemon.start_command(&["queue", "put", "q", "2", "--timeout", "2"]);
    daemon.until_waited_for("q");
    daemon.process.stop();
    let error = putter.finish().failed(69);
    assert!(error.contains("\"q\""), "{error}");
    daemon.process.signal(Signal::CONT);
}

#[test]
fn not_waiting_at_all_is_not_called_a_time() {
    let daemon = Daemon::start();
    let _holder = hold(&daemon);
    for command in COMMANDS.iter().filter(|command| command[1] != "put") {
        let error = daemon.run(&with_timeout(command, "0")).failed(75);
        assert!(!error.contains("0ns"), "{error}");
    }
}

/// Holds L until its input ends.
fn hold(daemon: &Daemon) -> Running {
    let mut command = daemon.command(&["lock", "L", "--", "sh", "-c", "echo held; cat"]);
    let mut holder = Running::start(command.stdin(Stdio::piped()));
    assert_eq!(holder.line().as_deref(), Some("held"));
    holder
}

/// A pipe that nobody writes to, such as that of a secret store that does not answer.
#[test]
fn an_authkey_that_never_comes_holds_up_neither_a_timeout_nor_a_signal() {
    let home = Home::new();
    assert!(Command::new("mkfifo").arg(home.path("fifo")).status().unwrap().success());
    let fifo = home.path("fifo");
    let fifo = fifo.to_str().unwrap();
    for command in COMMANDS {
        let mut command = home.command(&with_timeout(command, "0.3"));
        times_out(command.env("MP_MANAGER_AUTHKEY_FILE", fifo));
    }
    for signal in [Signal::TERM, Signal::INT] {
        let mut waiting = Running::start(&mut home.command(&["ping", "--authkey-file", fifo]));
        let start = Instant::now();
        // Once it has come so far as to handle it, the first is enough.
        while waiting.is_running() {
            waiting.signal(signal);
            assert!(start.elapsed() < BOUND, "it ignores {signal:?}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_gives_up_with_one_exit_code_whether_nobody_listens_or_nobody_answers() {
    let home = Home::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let worker = |timeout: &str, address: &str| {
        let worker = ["worker", "--pool", "p", "--exec", "true", "--timeout", timeout];
        let mut worker = home.command(&worker);
        worker.env("MP_MANAGER_AUTHKEY", "secret").env("MP_MANAGER_LOG", "error");
        finish(worker.env("MP_MANAGER_ADDRESS", address))
    };
    for address in [&*silent.local_addr().unwrap().to_string(), "unix:nobody-listens"] {
        for timeout in ["0.1", "0.7"] {
            let error = worker(timeout, address).failed(75);
            assert!(error.contains("cannot connect within "), "{error}");
        }
    }
    // No time has passed.
    worker("0", "unix:nobody-listens").failed(69);
}
