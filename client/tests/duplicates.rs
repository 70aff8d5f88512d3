//! Two tasks of one name.

use std::panic;

use mp_manager::task;

#[task(name = "twice")]
fn one() {}

#[task(name = "twice")]
fn other() {}

#[test]
fn init_refuses_them_and_names_both_places() {
    let payload = panic::catch_unwind(mp_manager::init).expect_err("it refuses");
    let message = payload.downcast::<String>().expect("it is a text");
    for part in ["`twice`", "duplicates.rs:7", "duplicates.rs:10", "#[task(name"] {
        assert!(message.contains(part), "{message}");
    }
}
