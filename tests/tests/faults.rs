//! A short run of `faults`, with real processes: see `tests/README.md`.

use std::process::Command;

#[test]
fn what_is_promised_holds_whoever_is_killed_stopped_or_cut_off() {
    let words = ["--cycles", "24", "--workers", "4", "--no-namespaces"];
    let output = Command::new(env!("CARGO_BIN_EXE_faults")).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("24 cycles"), "{said}");
}

#[test]
fn nobody_notices_that_connections_are_cut() {
    let words = ["--cut-every-ms", "100", "--minutes", "0.05", "--workers", "4", "--no-namespaces"];
    let output = Command::new(env!("CARGO_BIN_EXE_faults")).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("callers saw no errors"), "{said}");
}

#[test]
fn a_lock_passes_on_and_whoever_was_stopped_knows() {
    let output = Command::new(env!("CARGO_BIN_EXE_faults")).args(["--handover", "4"]).output();
    let said = String::from_utf8(output.unwrap().stdout).unwrap();
    // How long it took is for a quiet machine to say.
    assert_eq!(said.matches("4 found the guard lost and their write refused").count(), 2, "{said}");
}
