use std::{fs, os::unix::fs::PermissionsExt};

use crate::fixture::{Daemon, Home, finish};

#[test]
fn a_key_is_256_random_bits_that_only_its_owner_can_read() {
    let home = Home::new();
    assert_eq!(home.run(&["keygen", "key"]).printed(), "");
    let mode = fs::metadata(home.path("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = fs::read_to_string(home.path("key")).unwrap();
    assert_eq!(key.trim_end().len(), 64);
    assert!(key.trim_end().chars().all(|c| c.is_ascii_hexdigit()));
    assert_ne!(home.run(&["keygen"]).printed(), key);
}

#[test]
fn a_key_in_use_is_not_replaced_by_accident() {
    let home = Home::new();
    home.run(&["keygen", "key"]).printed();
    let key = fs::read(home.path("key")).unwrap();
    assert!(home.run(&["keygen", "key"]).failed(1).contains("--force"));
    assert_eq!(fs::read(home.path("key")).unwrap(), key);
    home.run(&["keygen", "key", "--force"]).printed();
    assert_ne!(fs::read(home.path("key")).unwrap(), key);
}

#[test]
fn both_sides_use_the_key_they_are_given() {
    let home = Home::new();
    home.run(&["keygen", "key"]).printed();
    let key = home.path("key");
    let key = key.to_str().unwrap();
    let daemon = Daemon::start_with(&["--authkey-file", key]);
    assert!(!daemon.home.authkey().exists());
    daemon.run(&["ping", "--authkey-file", key]).printed();
    let secret = fs::read_to_string(key).unwrap();
    for (variable, value) in [("MP_MANAGER_AUTHKEY_FILE", key), ("MP_MANAGER_AUTHKEY", &secret)] {
        finish(daemon.command(&["ping"]).env(variable, value)).printed();
    }
}

#[test]
fn an_authkey_is_replaced_without_anybody_being_locked_out() {
    let home = Home::new();
    home.run(&["keygen", "key"]).printed();
    let (new, old) = (home.path("key"), home.path("old"));
    fs::copy(&new, &old).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o640)).unwrap();
    home.run(&["keygen", "key", "--add"]).printed();
    assert_eq!(fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o640);
    let keys = fs::read_to_string(&new).unwrap();
    assert_eq!(keys.lines().count(), 2);
    assert_eq!(keys.lines().nth(1), fs::read_to_string(&old).unwrap().lines().next());
    let daemon = Daemon::start_with(&["--authkey-file", new.to_str().unwrap()]);
    for key in [&new, &old] {
        daemon.run(&["ping", "--authkey-file", key.to_str().unwrap()]).printed();
    }
}

#[test]
fn no_line_is_added_to_what_is_no_text() {
    let home = Home::new();
    fs::write(home.path("key"), b"\xff\n\0").unwrap();
    assert!(home.run(&["keygen", "key", "--add"]).failed(1).contains("hex:"));
    assert!(home.run(&["keygen", "none", "--add"]).failed(1).contains("none"));
    assert_eq!(fs::read(home.path("key")).unwrap(), b"\xff\n\0");
}
