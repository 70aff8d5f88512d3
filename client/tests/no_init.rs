//! A program that never calls `init()`.

use mp_manager::{Error, process::Process, task};

#[task]
fn nothing() {}

#[tokio::test]
async fn a_process_does_not_start_and_the_error_has_the_line_to_add() {
    let error = Process::new(nothing, ()).start().await.unwrap_err();
    let Error::Configuration(message) = error else { panic!("{error:?}") };
    for line in ["`mp_manager::init();`", "`#[mp_manager::main]`", "`#[mp_manager::test]`"] {
        assert!(message.contains(line), "{message}");
    }
}
