//! An embedded manager ends with its last handle, and whoever drops that removes its socket: a program
//! that goes on to end leaves no socket behind.

use std::path::Path;

use mp_manager::blocking::Manager;

/// The thread that took in the last reply could be the one that let go of the manager last, some
/// time later: about every second program that ended then left its socket.
#[test]
fn nothing_is_left_of_it_once_it_is_dropped() {
    let left = (0..40).filter(|_| is_left_after_use()).count();
    assert_eq!(left, 0, "sockets are still there");
}

fn is_left_after_use() -> bool {
    let manager = Manager::start().expect("it starts");
    let address = manager.address().to_owned();
    let scores = manager.dict::<String, u64>("scores").open().expect("it is new");
    scores.insert("alice", &3).expect("there is room");
    drop((scores, manager));
    let socket = address.strip_prefix("unix:").expect("it is on a unix socket");
    Path::new(socket).exists()
}
