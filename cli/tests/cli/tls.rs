//! Beyond one machine: TLS, certificates, and authkeys that are replaced.

use std::{fs, os::unix::fs::PermissionsExt};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustix::process::Signal;

use crate::fixture::{Daemon, Home};

/// A home with an authkey that is given to every command.
fn home() -> Home {
    let home = Home::new();
    home.run(&["keygen", "key"]).printed();
    home
}

/// A daemon that others could reach.
fn reachable(home: Home, options: &[&str]) -> Daemon {
    Daemon::start_in(home, "0.0.0.0:0", &[&["--authkey-file", "key"], options].concat())
}

fn ping(daemon: &Daemon, scheme: &str, options: &[&str]) -> crate::fixture::Finished {
    let address = format!("{scheme}{}", daemon.place());
    let arguments = ["ping", "--authkey-file", "key", "--address", &address];
    daemon.home.run(&[&arguments, options].concat())
}

/// An authority in `ca`, and a certificate of it for 127.0.0.1 in `cert` and `cert.key`.
fn certify(home: &Home, ca: &str, cert: &str) {
    certify_from_to(home, ca, cert, 1975, 4096);
}

/// As [`certify`], valid between two years.
fn certify_from_to(home: &Home, ca: &str, cert: &str, from: i32, to: i32) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority =
        CertifiedIssuer::self_signed(params, KeyPair::generate().expect("it can be made"))
            .expect("it can be made");
    let key = KeyPair::generate().expect("it can be made");
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("it can be made");
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let certificate = params.signed_by(&key, &authority).expect("it can be made");
    fs::write(home.path(ca), authority.pem()).expect("it can be made");
    fs::write(home.path(cert), certificate.pem()).expect("it can be made");
    fs::write(home.path(&format!("{cert}.key")), key.serialize_pem()).expect("it can be made");
}

#[test]
fn where_others_can_reach_it_it_speaks_tls() {
    let daemon = reachable(home(), &[]);
    assert!(daemon.address.starts_with("tls://0.0.0.0:"), "{}", daemon.address);
    let answer = ping(&daemon, "tls://", &[]).printed();
    assert!(answer.starts_with(&format!("tls://{}", daemon.place())), "{answer}");
    for scheme in ["tcp://", ""] {
        let error = ping(&daemon, scheme, &[]).failed(69);
        assert!(error.contains("this manager speaks TLS") && error.contains("tls://"), "{error}");
    }
    // What it prints is an address that it can be reached at.
    let arguments = ["ping", "--authkey-file", "key", "--address", &daemon.address];
    daemon.home.run(&arguments).printed();
}

#[test]
fn plain_text_beyond_this_machine_has_to_be_asked_for() {
    let home = home();
    let serve = ["serve", "--authkey-file", "key", "--address"];
    let error = home.run(&[&serve[..], &["tcp://0.0.0.0:0"]].concat()).failed(2);
    for part in ["tcp://0.0.0.0:0", "tls://", "unix:", "--insecure"] {
        assert!(error.contains(part), "{error}");
    }
    let error = home.run(&[&serve[..], &["tls://0.0.0.0:0", "--insecure"]].concat()).failed(2);
    assert!(error.contains("tls://0.0.0.0:0") && error.contains("--insecure"), "{error}");

    let daemon = reachable(home, &["--insecure"]);
    assert!(daemon.address.starts_with("tcp://0.0.0.0:"), "{}", daemon.address);
    daemon.until_logged("plain text on tcp://0.0.0.0", 1);
    assert!(daemon.log().contains("WARN"));
    ping(&daemon, "tcp://", &[]).printed();
    let error = ping(&daemon, "tls://", &[]).failed(69);
    assert!(error.contains("does not speak TLS"), "{error}");
    assert!(error.contains(&format!("tcp://{}", daemon.place())), "{error}");
}

#[test]
fn a_key_that_can_be_guessed_has_to_be_asked_for() {
    let home = home();
    fs::write(home.path("key"), "fifteen bytes!!\n").unwrap();
    for address in ["0.0.0.0:0", "tls://0.0.0.0:0"] {
        let error = home.run(&["serve", "--authkey-file", "key", "--address", address]).failed(2);
        for part in ["16 bytes", "mp-manager keygen", "--allow-weak-authkey"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!error.contains("fifteen"), "{error}");
    }
    let daemon = reachable(home, &["--allow-weak-authkey"]);
    ping(&daemon, "tls://", &[]).printed();
}

#[test]
fn a_key_is_replaced_while_it_runs() {
    let daemon = reachable(home(), &[]);
    let old = fs::read_to_string(daemon.home.path("key")).unwrap();
    daemon.home.run(&["keygen", "new"]).printed();
    let new = fs::read_to_string(daemon.home.path("new")).unwrap();
    let with = |key: &str| {
        let mut command = daemon.home.command(&["ping", "--address"]);
        command.arg(format!("tls://{}", daemon.place())).env("MP_MANAGER_AUTHKEY", key);
        crate::fixture::finish(&mut command)
    };
    with(&new).failed(77);

    fs::write(daemon.home.path("key"), format!("{new}\n{old}")).unwrap();
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("2 authkeys are from key", 1);
    with(&old).printed();
    with(&new).printed();
    // A client that has both does not care.
    ping(&daemon, "tls://", &[]).printed();

    // What cannot be used changes nothing.
    for (n, unusable) in ["", " \n\n", "short", &format!("{new}short\n")].iter().enumerate() {
        fs::write(daemon.home.path("key"), unusable).unwrap();
        daemon.process.signal(Signal::HUP);
        daemon.until_logged("the authkeys stay as they are: key", n + 1);
        with(&old).printed();
    }

    fs::write(daemon.home.path("key"), &new).unwrap();
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("the authkey is from key", 2);
    with(&old).failed(77);
    with(&new).printed();
    // A client that does not know yet tries the next one.
    fs::write(daemon.home.path("key"), format!("{old}{new}")).unwrap();
    ping(&daemon, "tls://", &[]).printed();
    let log = daemon.log();
    assert!(!log.contains(old.trim_end()) && !log.contains(new.trim_end()), "{log}");
}

#[test]
fn it_shows_the_certificate_it_is_given() {
    let home = home();
    certify(&home, "ca", "cert");
    certify(&home, "other-ca", "other");
    let daemon = reachable(home, &["--tls-cert", "cert", "--tls-key", "cert.key"]);
    ping(&daemon, "tls://", &["--tls-ca", "ca"]).printed();
    ping(&daemon, "tls://", &[]).printed();
    let error = ping(&daemon, "tls://", &["--tls-ca", "other-ca"]).failed(69);
    assert!(error.contains("its certificate is not to be trusted"), "{error}");

    // It is replaced while it runs; what cannot be used is named, and changes nothing.
    let copy = |from: &str, to: &str| {
        fs::copy(daemon.home.path(from), daemon.home.path(to)).unwrap();
    };
    copy("other", "cert");
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("the certificates stay as they are: cannot set up TLS: cert", 1);
    ping(&daemon, "tls://", &["--tls-ca", "ca"]).printed();
    copy("other.key", "cert.key");
    daemon.process.signal(Signal::HUP);
    daemon.until_logged("the certificates were read again", 1);
    ping(&daemon, "tls://", &["--tls-ca", "other-ca"]).printed();
    ping(&daemon, "tls://", &["--tls-ca", "ca"]).failed(69);
}

#[test]
fn it_asks_for_certificates_if_it_is_told_to() {
    let home = home();
    certify(&home, "ca", "client");
    let daemon = reachable(home, &["--tls-client-ca", "ca"]);
    ping(&daemon, "tls://", &["--tls-cert", "client", "--tls-key", "client.key"]).printed();
    let error = ping(&daemon, "tls://", &[]).failed(69);
    assert!(error.contains("asks for a client's certificate (give one with --tls-cert"), "{error}");
}

#[test]
fn a_command_under_a_lock_finds_the_certificates() {
    let home = home();
    certify(&home, "ca", "cert");
    let daemon = reachable(home, &["--tls-cert", "cert", "--tls-key", "cert.key"]);
    let address = format!("tls://{}", daemon.place());
    let options = ["--authkey-file", "key", "--tls-ca", "ca", "--address", &address];
    let lock = ["lock", "l", "--", "env"];
    let environment = daemon.home.run(&[&options[..], &lock].concat()).printed();
    let ca = daemon.home.path("ca");
    let ca = format!("MP_MANAGER_TLS_CA={}\n", ca.display());
    assert!(environment.contains(&ca), "whatever its directory is: {environment}");
    assert!(environment.contains(&format!("MP_MANAGER_ADDRESS={address}\n")), "{environment}");
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let home = home();
    certify(&home, "ca", "cert");
    for address in ["0.0.0.0:0", "127.0.0.1:0"] {
        let serve = ["serve", "--authkey-file", "key", "--address", address, "--tls-cert", "cert"];
        let error = home.run(&serve).failed(2);
        assert!(error.contains("--tls-cert and --tls-key belong together"), "{error}");
    }
    // Who gives them wants them to be used.
    let tls = ["--tls-cert", "cert", "--tls-key", "cert.key"];
    let error = home.run(&[&["serve", "--address", "127.0.0.1:0"], &tls[..]].concat()).failed(2);
    assert!(error.contains("tcp://127.0.0.1:0 is not served with TLS"), "{error}");
}

/// The hint is about what is wrong with a certificate, whosever it is.
#[test]
fn a_certificate_of_another_time_is_to_be_renewed() {
    for (from, to) in [(2000, 2001), (4000, 4001)] {
        let home = home();
        certify_from_to(&home, "ca", "cert", from, to);
        certify(&home, "other-ca", "other");
        let daemon = reachable(home, &["--tls-client-ca", "ca"]);
        let ours = |cert: &str, key: &str| {
            ping(&daemon, "tls://", &["--tls-cert", cert, "--tls-key", key]).failed(69)
        };
        let error = ours("cert", "cert.key");
        assert!(error.contains("renew it") && !error.contains("signed"), "{error}");
        let error = ours("other", "other.key");
        assert!(error.contains("signed") && !error.contains("renew it"), "{error}");

        let home = self::home();
        certify_from_to(&home, "ca", "cert", from, to);
        let daemon = reachable(home, &["--tls-cert", "cert", "--tls-key", "cert.key"]);
        let error = ping(&daemon, "tls://", &["--tls-ca", "ca"]).failed(69);
        assert!(error.contains("renew it") && !error.contains("signed"), "{error}");
    }
}

/// The certificate of a running manager, with and without asking it.
fn certificate(daemon: &Daemon, options: &[&str]) -> crate::fixture::Finished {
    let address = format!("tls://{}", daemon.place());
    daemon.home.run(&[&["cert", "--authkey-file", "key", "--address", &address], options].concat())
}

fn stop(mut daemon: Daemon) -> Home {
    daemon.process.signal(Signal::TERM);
    daemon.process.wait();
    daemon.home
}

#[test]
fn a_certificate_in_a_state_directory_outlasts_restarts() {
    let daemon = reachable(home(), &["--state-dir", "state"]);
    let first = certificate(&daemon, &[]).printed();
    assert!(first.starts_with("-----BEGIN CERTIFICATE-----\n"), "{first}");
    assert_eq!(first.matches("-----").count(), 4, "and nothing else: {first}");
    assert_eq!(certificate(&daemon, &["--state-dir", "state"]).printed(), first);
    let file = daemon.home.path("state/tls-identity.pem");
    assert_eq!(fs::metadata(&file).expect("it is kept").permissions().mode() & 0o777, 0o600);

    let daemon = reachable(stop(daemon), &["--state-dir", "state"]);
    assert_eq!(certificate(&daemon, &[]).printed(), first);
    // Who has one of their own shows that.
    let home = stop(daemon);
    certify(&home, "ca", "cert");
    let own = ["--tls-cert", "cert", "--tls-key", "cert.key", "--state-dir", "state"];
    let daemon = reachable(home, &own);
    assert_ne!(certificate(&daemon, &[]).printed(), first);
    assert_eq!(certificate(&daemon, &["--state-dir", "state"]).printed(), first);
}

#[test]
fn a_certificate_that_is_not_there_is_missed_in_words() {
    let daemon = reachable(home(), &[]);
    let first = certificate(&daemon, &[]).printed();
    let error = certificate(&daemon, &["--state-dir", "state"]).failed(1);
    assert!(error.contains("state") && error.contains("there is no certificate"), "{error}");
    let home = stop(daemon);
    let daemon = reachable(home, &[]);
    assert_ne!(
        certificate(&daemon, &[]).printed(),
        first,
        "without a directory each start makes one"
    );

    let daemon = Daemon::start();
    let error = daemon.run(&["cert"]).failed(3);
    assert!(error.contains("is not served with TLS"), "{error}");
}

/// Who is asked has to know the authkey.
#[test]
fn an_impostors_certificate_is_not_printed() {
    let daemon = reachable(home(), &[]);
    daemon.home.run(&["keygen", "other"]).printed();
    let address = format!("tls://{}", daemon.place());
    daemon.home.run(&["cert", "--authkey-file", "other", "--address", &address]).failed(77);
}

#[test]
fn a_damaged_certificate_is_named_with_the_way_out() {
    let home = stop(reachable(home(), &["--state-dir", "state"]));
    fs::write(home.path("state/tls-identity.pem"), "-----BEGIN").expect("it can be written");
    let serve =
        ["serve", "--authkey-file", "key", "--address", "0.0.0.0:0", "--state-dir", "state"];
    let error = home.run(&serve).failed(2);
    assert!(error.contains("state/tls-identity.pem") && error.contains("remove it"), "{error}");
}
