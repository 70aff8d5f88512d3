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
