//! The log in JSON.

use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;

use crate::fixture::{Daemon, Home, Running, finish, refused};

/// The lines of a log, each of which has to be one object with all that belongs to it.
#[track_caller]
fn lines(log: &str) -> Vec<Value> {
    let line = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        for field in ["timestamp", "level", "target", "message"] {
            assert!(object[field].is_string(), "{field}: {line}");
        }
        object
    };
    log.lines().map(line).collect()
}

fn serve_and_end(mut daemon: Daemon) -> Vec<Value> {
    let mut ping = daemon.command(&["ping"]);
    assert_eq!(finish(ping.env("MP_MANAGER_AUTHKEY", "wrong secret")).code, Some(77));
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("refused a client", 1);
    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.wait().code(), Some(0));
    lines(&daemon.log())
}

#[test]
fn each_line_of_the_log_is_one_json_object() {
    let lines = serve_and_end(Daemon::start_with(&["--log-format", "json"]));
    let find = |text: &str| {
        let has = |line: &&Value| line["message"].as_str().unwrap().contains(text);
        lines.iter().find(has).unwrap_or_else(|| panic!("no {text:?} in {lines:?}"))
    };
    let refused = find("refused a client");
    assert_eq!(refused["level"], "WARN");
    assert!(refused["target"].as_str().unwrap().starts_with("mp_manager_server"));
    assert!(refused["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{refused}");
    assert!(find("shut down")["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn the_environment_has_the_format_and_the_option_overrides_it() {
    let start = |format: &str, options: &[&str]| {
        let home = Home::new();
        let log = std::fs::File::create(home.path("log")).unwrap();
        let arguments = [&["serve", "--address", "127.0.0.1:0"], options].concat();
        let mut serve = home.command(&arguments);
        let serve = serve.env("MP_MANAGER_LOG_FORMAT", format).stderr(log);
        Daemon::of(home, Running::start(serve))
    };
    assert!(!serve_and_end(start("json", &[])).is_empty());
    let text = start("json", &["--log-format", "text"]);
    text.until_logged("INFO", 1);
    assert!(!text.log().starts_with('{'));
    // An empty variable is none.
    start("", &[]).until_logged("INFO", 1);
    let home = Home::new();
    let mut serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
    let error = refused(serve.env("MP_MANAGER_LOG_FORMAT", "xml")).failed(2);
    assert!(error.contains("MP_MANAGER_LOG_FORMAT") && error.contains("json"), "{error}");
}

#[test]
fn a_daemon_that_cannot_start_says_so_in_json() {
    let daemon = Daemon::start();
    let serve = ["serve", "--address", &daemon.address, "--log-format", "json"];
    let refused = refused(daemon.home.command(&serve).stderr(Stdio::piped()));
    assert_eq!(refused.code, Some(1));
    let said = lines(&refused.stderr);
    let last = said.last().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["message"].as_str().unwrap().contains("cannot listen on"), "{last}");
}

#[test]
fn commands_say_what_is_wrong_in_json() {
    let daemon = Daemon::start();
    let json = ["--log-format", "json"];
    for (arguments, code, said) in [
        (&["run", "-n", "1", "--", "sh", "-c", "exit 3"][..], 3, "copy 0 exited with code 3"),
        (&["run", "-n", "1", "--", "no-such-program"], 127, "cannot run no-such-program"),
        (&["lock", "L", "--", "no-such-program"], 127, "cannot run no-such-program"),
        (&["queue", "get", "no-such-queue", "--timeout", "0"], 75, "no-such-queue"),
        (&["dict", "get", "d"], 2, "required arguments"),
        (&["run", "-n", "0", "--", "true"], 2, "invalid value '0'"),
        (&["serve", "--no-such-option"], 2, "--no-such-option"),
        (&["no-such-command"], 2, "no-such-command"),
    ] {
        let by_option = daemon.run(&[&json, arguments].concat());
        let one_word = daemon.run(&[&["--log-format=json"], arguments].concat());
        let mut by_variable = daemon.command(arguments);
        let by_variable = finish(by_variable.env("MP_MANAGER_LOG_FORMAT", "json"));
        for finished in [by_option, one_word, by_variable] {
            assert_eq!(finished.code, Some(code), "{arguments:?}: {finished:?}");
            let has = |line: &Value| line["message"].as_str().unwrap().contains(said);
            assert!(lines(&finished.stderr).iter().any(has), "{arguments:?}: {finished:?}");
        }
    }
    // Arguments after `--` belong to the command.
    let finished = daemon.run(&["serve", "--no-such-option", "--", "--log-format", "json"]);
    assert!(finished.stderr.starts_with("error: "), "{finished:?}");
}

#[test]
fn a_name_cannot_end_the_line_of_a_log() {
    let home = Home::new();
    let key = "a\nb\x1b[2J";
    home.run(&["keygen", key]).printed();
    let serve = ["serve", "--address", "127.0.0.1:0", "--authkey-file", key];
    let log = std::fs::File::create(home.path("log")).unwrap();
    let process = Running::start(home.command(&serve).stderr(log));
    let mut daemon = Daemon::of(home, process);
    daemon.until_logged("INFO", 1);
    daemon.process.signal(Signal::TERM);
    assert_eq!(daemon.process.wait().code(), Some(0));
    let log = daemon.log();
    assert!(log.contains(r"a\nb\u{1b}[2J"), "{log}");
    assert!(log.lines().all(|line| line.contains("mp_manager")), "{log}");
}
