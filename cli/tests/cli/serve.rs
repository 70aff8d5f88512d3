use std::{fs, io::Write, net::TcpStream, os::unix::fs::PermissionsExt};

use rustix::process::Signal;

use crate::fixture::{Daemon, Home, Running, finish, refused};

#[test]
fn one_line_says_where_it_listens_and_sigterm_ends_it() {
    let mut daemon = Daemon::start();
    let port = daemon.address.strip_prefix("tcp://127.0.0.1:").unwrap();
    assert_ne!(port.parse::<u16>().unwrap(), 0);
    let answer = daemon.run(&["ping"]).printed();
    assert!(answer.starts_with(&daemon.address), "{answer}");
    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.line(), None);
    assert_eq!(daemon.process.wait().code(), Some(0));
}

#[test]
fn who_waits_when_it_shuts_down_is_told() {
    let mut daemon = Daemon::start();
    let waiter = daemon.start_command(&["event", "wait", "never"]);
    daemon.until_waited_for("never");
    daemon.process.signal(Signal::INT);
    let error = waiter.finish().failed(69);
    assert!(error.contains("never") && error.contains(&daemon.address), "{error}");
    assert_eq!(daemon.process.wait().code(), Some(0));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let options = ["--shutdown-grace", "600", "--handshake-timeout", "600"];
    let mut daemon = Daemon::start_with(&options);
    // Somebody whom it would wait for.
    let mut idle = TcpStream::connect(daemon.place()).unwrap();
    idle.write_all(b"PRI").unwrap();
    daemon.run(&["ping"]).printed();
    daemon.process.signal(Signal::TERM);
    while !daemon.log().contains("shutting down") {}
    daemon.process.signal(Signal::INT);
    assert_eq!(daemon.process.wait().code(), Some(128 + 2));
    drop(idle);
}

#[test]
fn without_a_key_it_makes_one_for_this_user() {
    let daemon = Daemon::start();
    let path = daemon.home.authkey();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&path).unwrap();
    daemon.until_logged(path.to_str().unwrap(), 1);
    assert!(!daemon.log().contains(key.trim_end()));
    daemon.run(&["ping"]).printed();
}

#[test]
fn a_home_directory_that_does_not_exist_is_not_created() {
    let home = Home::new();
    let nowhere = home.path("nowhere");
    for (variable, path) in [("HOME", nowhere.clone()), ("XDG_CONFIG_HOME", nowhere.join("config"))]
    {
        let mut serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
        let error = refused(serve.env_remove("XDG_CONFIG_HOME").env(variable, path)).failed(2);
        let missing = format!("{} does not exist", nowhere.display());
        assert!(error.contains(&missing) && error.contains("--authkey-file"), "{error}");
        assert!(!nowhere.exists());
    }
    // A home directory that exists gets what it needs.
    fs::create_dir(&nowhere).unwrap();
    let mut serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
    let serve = Running::start(serve.env_remove("XDG_CONFIG_HOME").env("HOME", &nowhere));
    let daemon = Daemon::of(home, serve);
    let config = fs::metadata(nowhere.join(".config")).unwrap();
    assert_eq!(config.permissions().mode() & 0o777, 0o700);
    let mut ping = daemon.command(&["ping"]);
    finish(ping.env_remove("XDG_CONFIG_HOME").env("HOME", &nowhere)).printed();
}

#[test]
fn without_a_key_it_does_not_listen_where_others_can_reach_it() {
    let home = Home::new();
    for address in ["0.0.0.0:0", "[::]:0"] {
        // Not even with the key that is for this machine alone.
        fs::create_dir_all(home.path("mp-manager")).unwrap();
        fs::write(home.authkey(), "key").unwrap();
        let error = home.run(&["serve", "--address", address]).failed(2);
        assert!(error.contains("--authkey-file") && error.contains("keygen"), "{error}");
    }
    let mut command = home.command(&["serve", "--address", "0.0.0.0:0"]);
    let mut daemon = Running::start(command.env("MP_MANAGER_AUTHKEY", "sixteen bytes!!!"));
    assert!(daemon.line().unwrap().starts_with("listening on tls://0.0.0.0:"));
}

#[test]
fn a_wrong_key_is_refused_with_what_to_check() {
    let daemon = Daemon::start();
    let error =
        finish(daemon.command(&["ping"]).env("MP_MANAGER_AUTHKEY", "wrong secret")).failed(77);
    for part in ["authentication failed", "check that both", "MP_MANAGER_AUTHKEY"] {
        assert!(error.contains(part), "{error}");
    }
    daemon.until_logged("authentication failed", 1);
    let log = daemon.log();
    let key = fs::read_to_string(daemon.home.authkey()).unwrap();
    assert_eq!(log.matches("authentication failed").count(), 1, "{log}");
    assert!(!log.contains("wrong secret") && !log.contains(key.trim_end()), "{log}");
    assert!(!error.contains("wrong secret"), "{error}");
}

/// A limit that nobody could be served with is named at the start; with the least ones a client is served.
#[test]
fn limits_that_are_too_low_are_refused_by_name() {
    let home = Home::new();
    let socket = home.path("socket");
    let address = format!("unix:{}", socket.display());
    let mut lowest = Vec::new();
    for (limit, min) in [
        ("--max-name-bytes", 1),
        ("--max-key-bytes", 1),
        ("--max-value-bytes", 1),
        ("--max-frame-bytes", 1024),
        ("--max-requests-per-frame", 1),
        ("--max-open-requests", 2),
        ("--max-unacknowledged-bytes", 1024),
        ("--max-objects", 1),
        ("--max-sessions", 1),
        ("--max-connections", 1),
        ("--max-unauthenticated-connections", 1),
        ("--max-failed-handshakes", 1),
        ("--max-memory-bytes", 65_536),
    ] {
        let below = (min - 1).to_string();
        let error = home.run(&["serve", "--address", &address, limit, &below]).failed(2);
        let expected = format!("{limit} is {below}, and has to be at least {min}");
        assert!(error.contains(&expected), "{error}");
        lowest.extend([limit.to_owned(), min.to_string()]);
    }
    let arguments = ["serve", "--address", &address, "--max-parked-calls", "0"].map(String::from);
    let arguments: Vec<String> = arguments.into_iter().chain(lowest).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut daemon = Running::start(&mut home.command(&arguments));
    daemon.line().unwrap();
    let lock = ["lock", "a", "--address", &address, "--", "true"];
    let locked = home.run(&lock);
    assert_eq!((locked.code, locked.stderr.as_str()), (Some(0), ""), "{locked:?}");
}

#[test]
fn nobody_listens_there() {
    let daemon = Daemon::start();
    let Daemon { home, address, process } = daemon;
    drop(process);
    let error = home.run(&["ping", "--address", &address]).failed(69);
    assert!(error.contains(&address) && error.contains("mp-manager serve"), "{error}");
}

#[test]
fn an_address_in_use_is_named() {
    let daemon = Daemon::start();
    let taken = daemon.home.command(&["serve", "--address", &daemon.address]).output().unwrap();
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8(taken.stderr).unwrap().contains(&daemon.address));
}

#[test]
fn a_unix_socket_is_gone_with_its_daemon() {
    let home = Home::new();
    let socket = home.path("socket");
    let address = format!("unix:{}", socket.display());
    let mut daemon = Running::start(&mut home.command(&["serve", "--address", &address]));
    assert_eq!(daemon.line(), Some(format!("listening on {address}")));
    home.run(&["ping", "--address", &address]).printed();
    daemon.signal(Signal::TERM);
    assert!(daemon.wait().success());
    assert!(!socket.exists());
}

#[test]
fn limits_can_be_set() {
    let daemon = Daemon::start_with(&["--max-value-bytes", "1KiB", "--max-name-bytes", "4"]);
    daemon.run(&["dict", "set", "d", "k", &"1".repeat(18)]).printed();
    let long = format!("\"{}\"", "x".repeat(1024));
    let error = daemon.run(&["dict", "set", "d", "k", &long]).failed(1);
    assert!(error.contains("--max-value-bytes"), "{error}");
    let error = daemon.run(&["dict", "set", "names", "k", "1"]).failed(1);
    assert!(error.contains("--max-name-bytes"), "{error}");
}

#[test]
fn without_a_key_nobody_is_asked() {
    let home = Home::new();
    let error = home.run(&["ping", "--address", "manager.invalid:1"]).failed(2);
    assert!(error.contains("--authkey-file"), "{error}");
    let error = home.run(&["ping"]).failed(2);
    assert!(error.contains("mp-manager serve"), "{error}");
    let error = finish(home.command(&["ping"]).env("MP_MANAGER_AUTHKEY", " ")).failed(2);
    assert!(error.contains("MP_MANAGER_AUTHKEY is empty"), "{error}");
}

/// Whoever cannot get in must not be able to fill the log.
#[test]
fn refused_clients_are_logged_in_bounds() {
    let daemon = Daemon::start_with(&["--max-failed-handshakes", "1000"]);
    let ping = || daemon.command(&["ping"]).env("MP_MANAGER_AUTHKEY", "wrong secret").output();
    for _ in 0..40 {
        assert_eq!(ping().unwrap().status.code(), Some(77));
    }
    let summary = || daemon.log().contains("more clients: ");
    while !summary() {}
    let log = daemon.log();
    let (said, counted) = (log.matches("authentication failed").count(), "from 127.0.0.1");
    assert!((1..40).contains(&said) && log.contains(counted), "{log}");
}

#[test]
fn connections_have_limits() {
    let daemon = Daemon::start_with(&["--max-connections-per-peer", "1"]);
    let holder = ["lock", "door", "--", "sh", "-c", "echo in; sleep 100"];
    let mut holder = daemon.start_command(&holder);
    assert_eq!(holder.line().as_deref(), Some("in"));
    let error = daemon.run(&["ping"]).failed(69);
    assert!(error.contains("--max-connections-per-peer"), "{error}");
    drop(holder);
    while daemon.run(&["ping"]).code != Some(0) {}
}
