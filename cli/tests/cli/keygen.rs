use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use rustix::process::Signal;

use crate::fixture::{Daemon, Home, Running, finish, refused};

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
        command.env("XDG_CONFIG_HOME", home.path("config")).current_dir(home.path(""));
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
    for directory in ["config", "config/mp-manager"] {
        assert_eq!(mode(directory), 0o700, "{directory}");
    }
    assert_eq!(mode("config/mp-manager/authkey"), 0o600);
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

#[test]
fn a_key_file_may_have_comments() {
    let home = Home::new();
    home.run(&["keygen", "key"]).printed();
    let secret = fs::read_to_string(home.path("key")).unwrap();
    let commented = format!("# for the queues\n{secret}# the old one: 00ff\n");
    fs::write(home.path("key"), &commented).unwrap();
    let key = home.path("key");
    let key = key.to_str().unwrap();
    let daemon = Daemon::start_with(&["--authkey-file", key]);
    daemon.until_logged(" from ", 1);
    assert!(daemon.log().contains("the authkey is from"), "{}", daemon.log());
    let ping = |variable: &str, value: &str| {
        finish(daemon.command(&["ping"]).env(variable, value)).printed();
    };
    ping("MP_MANAGER_AUTHKEY_FILE", key);
    ping("MP_MANAGER_AUTHKEY", &commented);
    ping("MP_MANAGER_AUTHKEY", &secret);

    home.run(&["keygen", "key", "--add"]).printed();
    assert!(fs::read_to_string(key).unwrap().ends_with(&commented));
    daemon.run(&["ping", "--authkey-file", key]).printed();
    fs::write(home.path("key"), "# none yet\n").unwrap();
    let error = daemon.run(&["ping", "--authkey-file", key]).failed(2);
    assert!(error.contains("comment"), "{error}");
}

#[test]
fn a_key_that_begins_with_a_hash_is_written_in_hexadecimal_in_a_file() {
    let daemon = Daemon::start_in(Home::new(), "127.0.0.1:0", &[]);
    let authkey = daemon.home.authkey();
    fs::write(&authkey, "hex:236b6579\n").unwrap();
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("the authkey is from", 2);
    daemon.run(&["ping"]).printed();
    finish(daemon.command(&["ping"]).env("MP_MANAGER_AUTHKEY", "#key")).printed();
}

#[test]
fn a_key_file_in_another_encoding_is_named_as_such() {
    let home = Home::new();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (text, named) in [
        ("\u{feff}sixteen bytes!!!\n".as_bytes(), "byte-order mark"),
        (&utf16("\u{feff}sixteen bytes!!!\r\n"), "UTF-16"),
        (&utf16("sixteen bytes!!!\r\n"), "UTF-16"),
    ] {
        fs::write(home.path("key"), text).unwrap();
        let serve = ["serve", "--address", "127.0.0.1:0", "--authkey-file", "key"];
        for arguments in [&["ping", "--authkey-file", "key"], &serve[..]] {
            let error = home.run(arguments).failed(2);
            assert!(error.contains(named) && error.contains("key "), "{error}");
        }
        let error = home.run(&["keygen", "key", "--add"]).failed(1);
        assert!(error.contains(named), "{error}");
    }
    let mut ping = home.command(&["ping"]);
    let error = finish(ping.env("MP_MANAGER_AUTHKEY", "\u{feff}sixteen bytes!!!")).failed(2);
    assert!(error.contains("MP_MANAGER_AUTHKEY") && error.contains("byte-order mark"), "{error}");
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    let home = Home::new();
    home.run(&["keygen", "key"]).printed();
    let key = home.path("key");
    let chmod = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    let path = key.to_str().unwrap();
    let daemon = Daemon::start_with(&["--authkey-file", path]);
    let ping = || daemon.run(&["ping", "--authkey-file", path]);
    for mode in [0o600, 0o400, 0o640, 0o660] {
        chmod(mode);
        ping().printed();
    }
    for mode in [0o644, 0o604, 0o602, 0o666] {
        chmod(mode);
        let finished = ping();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let warned = ["WARN", path, &format!("{mode:04o}"), "chmod 600"];
        assert!(warned.iter().all(|part| finished.stderr.contains(part)), "{finished:?}");
    }
    assert!(!daemon.log().contains("chmod"), "{}", daemon.log());
    // On this machine the manager goes on with it.
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("chmod", 1);
    daemon.until_logged("the authkey is from", 2);
}

#[test]
fn a_key_that_others_can_read_lets_in_no_other_machine() {
    let home = Home::new();
    home.run(&["keygen", "key"]).printed();
    let key = home.path("key");
    let chmod = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
    let path = key.to_str().unwrap();
    let serve = ["serve", "--address", "0.0.0.0:0", "--authkey-file", path];
    for mode in [0o644, 0o606] {
        chmod(mode);
        let mut refused = Running::start(home.command(&serve).stderr(Stdio::piped()));
        assert_eq!(refused.line(), None, "it does not listen");
        let error = refused.finish().failed(2);
        for part in [path, &format!("{mode:04o}"), "chmod 600", "--allow-readable-authkey"] {
            assert!(error.contains(part), "{error}");
        }
    }
    let allowed = ["--authkey-file", path, "--allow-readable-authkey"];
    let daemon = Daemon::start_in(Home::new(), "0.0.0.0:0", &allowed);
    daemon.until_logged("chmod", 1);
    chmod(0o640);
    let daemon = Daemon::start_in(Home::new(), "0.0.0.0:0", &allowed[..2]);
    daemon.until_logged("the authkey is from", 1);
    assert!(!daemon.log().contains("chmod"), "{}", daemon.log());
    // Nor one that is read again.
    chmod(0o644);
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("the authkeys stay as they are", 1);
    // One that is in a pipe has no mode of its own.
    let mut command = Command::new("bash");
    command.args(["-c", "exec \"$MP\" serve --address 0.0.0.0:0 --authkey-file <(cat \"$KEY\")"]);
    command.env("MP", env!("CARGO_BIN_EXE_mp-manager")).env("KEY", path);
    assert!(Running::start(&mut command).line().is_some(), "it listens");
}

#[test]
fn an_authkey_in_hexadecimal_that_is_none_is_refused() {
    let home = Home::new();
    for text in ["hex:zz", "hex:", "hex:0", "secret\nhex: 00"] {
        fs::write(home.path("key"), text).unwrap();
        fs::set_permissions(home.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
        let error = home.run(&["ping", "--authkey-file", "key"]).failed(2);
        assert!(error.contains("hex:") && error.contains("key"), "{error}");
        let mut serve = home.command(&["serve", "--address", "127.0.0.1:0"]);
        let error = refused(serve.args(["--authkey-file", "key"])).failed(2);
        assert!(error.contains("hex:"), "{error}");
    }
}

#[test]
fn a_file_without_end_is_no_authkey() {
    let home = Home::new();
    let error = home.run(&["ping", "--authkey-file", "/dev/zero"]).failed(2);
    assert!(error.contains("/dev/zero") && error.contains("bytes"), "{error}");
}
