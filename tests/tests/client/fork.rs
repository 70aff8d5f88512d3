//! A process forks: the connection is its parent's, and in the child every call is an error.

use std::process::Output;

use mp_manager_tests::{AUTHKEY, TestServer, within};
use tokio::process::Command;

/// Runs the program `forker`, which says what went wrong.
async fn fork(interface: &str, address: &str) {
    let forker = Command::new(env!("CARGO_BIN_EXE_forker"))
        .args([interface, address, AUTHKEY])
        .kill_on_drop(true)
        .output();
    let Output { status, stdout, stderr } = within(forker).await.expect("it cannot be started");
    let (said, wrong) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{said}\n{wrong}");
    assert_eq!(said.trim(), "the child fails, and its parent goes on");
}

/// In each interface of the client.
macro_rules! forks {
    ($($test:ident: $interface:literal,)*) => {
        $(
            mod $test {
                use super::*;

                #[tokio::test]
                async fn its_child_fails_and_it_goes_on_over_tcp() {
                    fork($interface, &TestServer::start().address()).await;
                }

                #[tokio::test]
                async fn its_child_fails_and_it_goes_on_on_a_unix_socket() {
                    let directory = tempfile::tempdir().unwrap();
                    fork($interface, &TestServer::in_directory(directory.path()).address()).await;
                }

                #[tokio::test]
                async fn its_child_fails_and_it_goes_on_with_an_embedded_manager() {
                    fork($interface, "embedded").await;
                }
            }
        )*
    };
}

forks! {
    a_process_with_one_thread: "current-thread",
    a_process_with_many_threads: "multi-thread",
    a_process_without_tokio: "blocking",
}
