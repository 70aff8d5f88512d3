//! `serve` tells its service manager that it is ready, reloads, stops, and is alive.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::Command,
    time::Duration,
};

use rustix::{
    process::Signal,
    time::{ClockId, clock_gettime},
};

use crate::fixture::{Daemon, Home, Running};

/// A service manager that starts one daemon.
struct ServiceManager {
    socket: UnixDatagram,
    home: Home,
}

impl ServiceManager {
    fn new(socket: impl FnOnce(&Home) -> UnixDatagram) -> Self {
        let home = Home::new();
        let socket = socket(&home);
        // More than any message takes, and less than a hang.
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, home }
    }

    /// One at a path.
    fn at_path() -> Self {
        Self::new(|home| UnixDatagram::bind(home.path("notify")).unwrap())
    }

    /// Starts a daemon through a shell, which sets what only the process itself knows.
    fn start(self, notify: &str, script: &str) -> (Daemon, UnixDatagram) {
        let Self { socket, home } = self;
        let serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
        let log = std::fs::File::create(home.path("log")).unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("{script} exec \"$@\""), "sh"])
            .arg(serve.get_program())
            .args(serve.get_args())
            .env_clear()
            .envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .env("NOTIFY_SOCKET", notify)
            .current_dir(home.path(""))
            .stderr(log);
        (Daemon::of(home, Running::start(&mut shell)), socket)
    }

    fn path(&self) -> String {
        self.home.path("notify").display().to_string()
    }
}

/// The next message that is not a sign of life.
#[track_caller]
fn next(socket: &UnixDatagram) -> String {
    loop {
        let message = any(socket);
        if message != "WATCHDOG=1" {
            return message;
        }
    }
}

#[track_caller]
fn any(socket: &UnixDatagram) -> String {
    let mut message = [0; 4096];
    let length = socket.recv(&mut message).unwrap();
    String::from_utf8(message[..length].to_vec()).unwrap()
}

fn monotonic_us() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000_000 + now.tv_nsec / 1000
}

fn reloads_and_stops(mut daemon: Daemon, socket: &UnixDatagram) {
    let ready = format!("READY=1\nSTATUS=listening on {}", daemon.address);
    assert_eq!(next(socket), ready);
    let before = monotonic_us();
    daemon.process.signal(Signal::HUP);
    let reloading = next(socket);
    let fields: Vec<&str> = reloading.lines().collect();
    let ["RELOADING=1", time, _] = fields[..] else { panic!("{reloading}") };
    let time: i64 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!((before..=monotonic_us()).contains(&time), "{before}: {reloading}");
    assert_eq!(next(socket), ready);
    // It has done so by then.
    daemon.until_logged("authkey", 2);
    daemon.process.signal(Signal::TERM);
    assert!(next(socket).starts_with("STOPPING=1\n"));
    assert_eq!(daemon.process.wait().code(), Some(0));
}

#[test]
fn a_service_manager_is_told_of_start_reload_and_stop() {
    let manager = ServiceManager::at_path();
    let path = manager.path();
    let (daemon, socket) = manager.start(&path, "");
    reloads_and_stops(daemon, &socket);
}

#[test]
fn its_socket_may_be_abstract() {
    let name = format!("mp-manager-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = ServiceManager::new(|_| UnixDatagram::bind_addr(&address).unwrap());
    let (daemon, socket) = manager.start(&format!("@{name}"), "");
    reloads_and_stops(daemon, &socket);
}

#[test]
fn a_daemon_that_is_watched_says_that_it_serves() {
    let manager = ServiceManager::at_path();
    let path = manager.path();
    let script = "export WATCHDOG_USEC=100000 WATCHDOG_PID=$$;";
    let (daemon, socket) = manager.start(&path, script);
    for _ in 0..5 {
        while any(&socket) != "WATCHDOG=1" {}
    }
    // One that stands still does not.
    daemon.process.stop();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut message = [0; 100];
    // Those that it has sent before.
    while socket.recv(&mut message).is_ok() {}
    daemon.process.signal(Signal::CONT);
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(any(&socket), "WATCHDOG=1");
}

#[test]
fn a_watchdog_of_another_process_hears_nothing() {
    let manager = ServiceManager::at_path();
    let path = manager.path();
    // It would say so a thousand times a second.
    let (daemon, socket) = manager.start(&path, "export WATCHDOG_USEC=1 WATCHDOG_PID=1;");
    for _ in 0..10 {
        daemon.run(&["ping"]).printed();
    }
    daemon.process.signal(Signal::TERM);
    assert!(any(&socket).starts_with("READY=1\n"));
    assert!(any(&socket).starts_with("STOPPING=1\n"));
}

#[test]
fn a_client_that_shuts_the_manager_down_stops_the_service() {
    let manager = ServiceManager::at_path();
    let path = manager.path();
    let (mut daemon, socket) = manager.start(&path, "");
    assert!(next(&socket).starts_with("READY=1\n"));
    let client = mp_manager::blocking::Manager::builder().authkey_file(daemon.home.authkey());
    client.connect(&daemon.address).unwrap().shutdown().unwrap();
    assert!(next(&socket).starts_with("STOPPING=1\n"));
    assert_eq!(daemon.process.wait().code(), Some(0));
}

#[test]
fn a_service_manager_that_does_not_listen_keeps_nobody_from_being_served() {
    for notify in ["/nowhere/at/all", "relative"] {
        let (daemon, _socket) = ServiceManager::at_path().start(notify, "");
        daemon.run(&["ping"]).printed();
        daemon.until_logged("WARN", 1);
    }
}
