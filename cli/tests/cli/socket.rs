//! The file of a unix socket belongs to the daemon that made it.

use std::{fs, process::Stdio, time::Duration};

use rustix::process::Signal;

use crate::fixture::{Home, Running, refused};

/// Relative, as in a shell.
const ADDRESS: &str = "unix:s";
const SERVE: [&str; 3] = ["serve", "--address", ADDRESS];

/// A daemon that listens.
fn daemon(home: &Home) -> Running {
    let mut daemon = Running::start(home.command(&SERVE).stderr(Stdio::piped()));
    assert_eq!(daemon.line().as_deref(), Some("listening on unix:s"));
    daemon
}

fn stop(mut daemon: Running) {
    daemon.signal(Signal::TERM);
    assert!(daemon.wait_at_most(Duration::from_secs(30)).success());
}

fn kill(mut daemon: Running) {
    daemon.signal(Signal::KILL);
    daemon.wait();
}

/// A socket that nobody listens on.
fn stale(home: &Home) {
    kill(daemon(home));
    assert!(home.path("s").exists());
}

#[track_caller]
fn ping(home: &Home, address: &str) {
    home.run(&["ping", "--address", address]).printed();
}

#[test]
fn a_daemon_leaves_the_socket_that_took_the_place_of_its_removed_one() {
    let home = Home::new();
    let first = daemon(&home);
    fs::remove_file(home.path("s")).unwrap();
    let second = daemon(&home);
    stop(first);
    ping(&home, ADDRESS);
    stop(second);
    assert!(!home.path("s").exists());
}

#[test]
fn a_daemon_leaves_the_socket_that_took_the_place_of_its_renamed_one() {
    let home = Home::new();
    let first = daemon(&home);
    fs::rename(home.path("s"), home.path("renamed")).unwrap();
    let second = daemon(&home);
    ping(&home, "unix:renamed");
    stop(first);
    ping(&home, ADDRESS);
    stop(second);
    assert!(!home.path("s").exists());
}

#[test]
fn a_daemon_leaves_what_is_no_socket_in_the_place_of_its_own() {
    let home = Home::new();
    let first = daemon(&home);
    fs::remove_file(home.path("s")).unwrap();
    fs::write(home.path("s"), "precious").unwrap();
    stop(first);
    assert_eq!(fs::read_to_string(home.path("s")).unwrap(), "precious");
}

#[test]
fn one_of_the_daemons_that_start_at_once_on_a_stale_socket_serves() {
    let home = Home::new();
    for _ in 0..10 {
        stale(&home);
        let mut serve = home.command(&SERVE);
        let mut daemons: Vec<Running> =
            (0..8).map(|_| Running::start(serve.stderr(Stdio::piped()))).collect();
        let listening: Vec<bool> =
            daemons.iter_mut().map(|daemon| daemon.line().is_some()).collect();
        assert_eq!(listening.iter().filter(|listens| **listens).count(), 1, "{listening:?}");
        ping(&home, ADDRESS);
        for (daemon, listens) in daemons.into_iter().zip(listening) {
            if listens {
                kill(daemon);
            } else {
                let error = daemon.finish().failed(1);
                assert!(error.contains(ADDRESS) && error.contains("another process"), "{error}");
            }
        }
        let names = fs::read_dir(home.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
        let names: Vec<_> = names.filter(|name| name != "mp-manager").collect();
        assert_eq!(names, ["s"]);
    }
}

#[test]
fn a_lock_file_that_a_killed_daemon_left_is_no_obstacle() {
    let home = Home::new();
    stale(&home);
    let lock = home.path("s.mp-manager-lock");
    fs::write(&lock, "").unwrap();
    let daemon = daemon(&home);
    assert!(!lock.exists());
    ping(&home, ADDRESS);
    stop(daemon);
}

#[test]
fn a_lock_file_that_is_held_is_named_and_waited_for_in_bounds() {
    let home = Home::new();
    let path = home.path("s.mp-manager-lock");
    let lock = fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let error = refused(&mut home.command(&SERVE)).failed(1);
    assert!(error.contains("s.mp-manager-lock"), "{error}");
    drop(lock);
    assert!(path.exists());
    stop(daemon(&home));
}

#[test]
fn a_stopped_daemon_keeps_its_socket() {
    let home = Home::new();
    let first = daemon(&home);
    first.signal(Signal::STOP);
    let error = refused(&mut home.command(&SERVE)).failed(1);
    assert!(error.contains("another process listens"), "{error}");
    first.signal(Signal::CONT);
    ping(&home, ADDRESS);
    stop(first);
}

#[test]
fn an_abstract_socket_is_refused_and_no_file_is_made() {
    let home = Home::new();
    for address in ["unix:@name", "unix://@name"] {
        for arguments in [["serve", "--address", address], ["ping", "--address", address]] {
            let refused = refused(&mut home.command(&arguments));
            assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{refused:?}");
            assert!(refused.stderr.contains("unix:./@"), "{refused:?}");
        }
    }
    assert!(!home.path("@name").exists() && !home.authkey().exists());
    let address = "unix:./@name";
    let mut daemon = Running::start(&mut home.command(&["serve", "--address", address]));
    assert_eq!(daemon.line().unwrap(), "listening on unix:./@name");
    ping(&home, address);
    stop(daemon);
}
