use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::fixture::{Daemon, Home, Running, finish};

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
fn a_umask_takes_no_rights_from_a_keys_owner() {
    let home = Home::new();
    let mode = |path: &str| fs::metadata(home.path(path)).unwrap().permissions().mode() & 0o777;
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("MP", env!("CARGO_BIN_EXE_mp-manager"));
        command.env("XDG_CONFIG_HOME", home.path("config/of/mine")).current_dir(home.path(""));
        command
    };
    finish(&mut shell("umask 0777; exec $MP keygen key")).printed();
    assert_eq!(mode("key"), 0o600);
    fs::set_permissions(home.path("key"), fs::Permissions::from_mode(0o640)).unwrap();
    finish(&mut shell("umask 0777; exec $MP keygen key --add")).printed();
    assert_eq!(mode("key"), 0o640);

    let mut serve = shell("umask 0777; exec $MP serve --address 127.0.0.1:0");
    let mut daemon = Running::start(&mut serve);
    assert!(daemon.line().is_some(), "it listens");
    for directory in ["config", "config/of", "config/of/mine", "config/of/mine/mp-manager"] {
        assert_eq!(mode(directory), 0o700, "{directory}");
    }
    assert_eq!(mode("config/of/mine/mp-manager/authkey"), 0o600);
}

#[test]
fn an_error_names_no_temporary_file() {
    let home = Home::new();
    fs::create_dir(home.path("directory")).unwrap();
    for (arguments, named) in [
        (&["keygen", "nodir/x"][..], "cannot write nodir/x: No such file"),
        (&["keygen", "directory", "--force"], "cannot write directory: "),
        (&["keygen", "/dev/null/x"], "cannot write /dev/null/x: Not a directory"),
    ] {
        let error = home.run(arguments).failed(1);
        assert!(error.contains(named) && !error.contains(".tmp"), "{error}");
    }
    let serve = ["serve", "--address", "127.0.0.1:0"];
    let error = finish(home.command(&serve).env("XDG_CONFIG_HOME", "/dev/null")).failed(2);
    assert!(error.contains("/dev/null/mp-manager/authkey") && !error.contains(".tmp"), "{error}");
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
