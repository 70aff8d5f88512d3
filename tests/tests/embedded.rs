//! An embedded manager ends with its last handle, and whoever drops that removes its socket: a program
//! that goes on to end leaves no socket behind. What a killed one leaves, the next one removes.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

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
    scores.insert("alice", 3).expect("there is room");
    drop((scores, manager));
    let socket = address.strip_prefix("unix:").expect("it is on a unix socket");
    Path::new(socket).exists()
}

/// A process with an embedded manager; killed when this is dropped.
struct Embedding {
    process: Child,
    /// The directory of its socket.
    directory: PathBuf,
}

impl Embedding {
    fn start(temporary: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_victim"))
            .args(["-", "embed"])
            .env("TMPDIR", temporary)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the victim can be started");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let socket = line.split(' ').next().and_then(|address| address.strip_prefix("unix:"));
        let directory = socket.and_then(|socket| Path::new(socket).parent());
        let directory = directory.expect("it is on a unix socket").to_owned();
        assert!(directory.starts_with(temporary) && directory.exists(), "{line}");
        Self { process, directory }
    }

    fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it has ended");
    }
}

impl Drop for Embedding {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn what_killed_processes_left_is_removed_by_the_next_one_and_nothing_else() {
    let temporary = tempfile::tempdir().expect("there is room");
    let lives = Embedding::start(temporary.path());
    let mut killed = [(); 2].map(|()| Embedding::start(temporary.path()));
    killed.iter_mut().for_each(Embedding::kill);
    let next = Embedding::start(temporary.path());
    let start = Instant::now();
    while killed.iter().any(|killed| killed.directory.exists()) {
        assert!(start.elapsed() < Duration::from_secs(60), "they are still there");
    }
    assert!(lives.directory.join("manager.sock").exists());
    assert!(next.directory.join("manager.sock").exists());
}
