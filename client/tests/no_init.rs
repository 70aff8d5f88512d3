//! A program that never calls `init()`.

use mp_manager::{Error, Pool, process::Process, task};

#[task]
fn nothing() {}

#[tokio::test]
async fn a_process_does_not_start_and_the_error_has_the_line_to_add() {
    let process = Process::new(nothing, ()).start().await.map(drop);
    let pool = Pool::new(1).await.map(drop);
    for error in [process.unwrap_err(), pool.unwrap_err()] {
        let Error::Configuration(message) = error else { panic!("{error:?}") };
        for line in ["`mp_manager::init();`", "`#[mp_manager::main]`", "`#[mp_manager::test]`"] {
            assert!(message.contains(line), "{message}");
        }
    }
}
