//! `serve --state-dir`: fencing tokens rise across restarts, whatever the clock says.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use rustix::process::Signal;

use crate::fixture::{Daemon, Home, Running, refused};

const SERVE: [&str; 5] = ["serve", "--address", "127.0.0.1:0", "--state-dir", "state"];

fn start(home: Home) -> Daemon {
    let serve = Running::start(home.command(&SERVE).stderr(Stdio::piped()));
    Daemon::of(home, serve)
}

/// A new fencing token.
fn token(daemon: &Daemon) -> u64 {
    let script = "echo $MP_MANAGER_FENCING_TOKEN";
    let printed = daemon.run(&["lock", "L", "--", "sh", "-c", script]).printed();
    printed.trim_end().parse().unwrap()
}

/// Ends it without any chance to write something.
fn kill(mut daemon: Daemon) -> Home {
    daemon.process.signal(Signal::KILL);
    daemon.process.wait();
    daemon.home
}

fn now_us() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
}

/// The ceiling that the next start has to be above.
fn ceiling(home: &Home) -> u64 {
    let text = fs::read_to_string(home.path("state/fencing-tokens")).unwrap();
    text.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
}

/// Setting the clock back by ten years is the same as having been started ten years from now.
#[test]
fn tokens_rise_across_a_restart_with_the_clock_set_back() {
    let daemon = start(Home::new());
    let before = token(&daemon);
    assert!(before > now_us() - 60_000_000, "the first start begins at the clock's time");
    let home = kill(daemon);
    assert!(ceiling(&home) >= before);

    let ten_years_us = 10 * 365 * 86_400 * 1_000_000;
    let ahead = now_us() + ten_years_us;
    let file = home.path("state/fencing-tokens");
    fs::write(&file, format!("mp-manager fencing-tokens 1\nceiling {ahead}\n")).unwrap();
    let mut last = ahead;
    let mut home = home;
    for _ in 0..3 {
        let daemon = start(home);
        let token = token(&daemon);
        assert!(token > last, "{token} is not above {last}");
        assert!(token <= ceiling(&daemon.home));
        last = ceiling(&daemon.home);
        home = kill(daemon);
    }
}

#[test]
fn what_systemd_gives_a_service_is_the_state_directory() {
    for (given, used) in [("state", "state"), ("state:other", "state")] {
        let home = Home::new();
        let mut serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
        let serve = Running::start(serve.env("STATE_DIRECTORY", given).stderr(Stdio::piped()));
        let daemon = Daemon::of(home, serve);
        assert!(daemon.home.path(used).join("fencing-tokens").exists(), "{given}");
        assert!(token(&daemon) <= ceiling(&daemon.home));
    }
}

#[test]
fn without_a_state_directory_it_warns_in_one_line_and_starts_at_the_clocks_time() {
    for directory in [None, Some("")] {
        let home = Home::new();
        let log = fs::File::create(home.path("log")).unwrap();
        let mut serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
        serve.envs(directory.map(|directory| ("STATE_DIRECTORY", directory))).stderr(log);
        let process = Running::start(&mut serve);
        let mut daemon = Daemon::of(home, process);
        assert!(token(&daemon).abs_diff(now_us()) < 60_000_000);
        daemon.process.signal(Signal::TERM);
        daemon.process.wait();
        assert_eq!(daemon.log().matches("--state-dir").count(), 1, "{}", daemon.log());
    }
    let daemon = start(Home::new());
    daemon.process.signal(Signal::TERM);
    let log = daemon.process.finish().stderr;
    assert!(log.contains("shut down") && !log.contains("--state-dir"), "{log}");
}

#[test]
fn two_daemons_do_not_share_a_state_directory() {
    let daemon = start(Home::new());
    let error = refused(&mut daemon.home.command(&SERVE)).failed(1);
    assert!(error.contains("state") && error.contains("another manager uses it"), "{error}");
    token(&daemon);
    // The lock of one that was killed is no obstacle.
    token(&start(kill(daemon)));
}

#[test]
fn a_damaged_state_is_named_with_the_way_out_and_left_as_it_is() {
    let home = Home::new();
    fs::create_dir(home.path("state")).unwrap();
    let file = home.path("state/fencing-tokens");
    for damaged in ["", "1764341234567890\n", "mp-manager fencing-tokens 1\nceiling 17643412"] {
        fs::write(&file, damaged).unwrap();
        let error = refused(&mut home.command(&SERVE)).failed(1);
        assert!(error.contains("state/fencing-tokens") && error.contains("remove it"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
    }
    fs::remove_file(&file).unwrap();
    token(&start(home));
}

#[test]
fn a_state_directory_that_cannot_be_is_named() {
    let home = Home::new();
    fs::write(home.path("file"), "").unwrap();
    for directory in ["no/such/directory", "file"] {
        let serve = ["serve", "--address", "127.0.0.1:0", "--state-dir", directory];
        let error = refused(&mut home.command(&serve)).failed(1);
        assert!(error.contains(&format!("the state directory {directory}")), "{error}");
    }
    assert!(!home.path("no").exists());
}
