//! Relays the output of children, each line after the child's name.

use std::{
    io::{self, BufRead, BufReader, PipeReader, Read, Write},
    os::fd::OwnedFd,
    sync::mpsc,
    thread,
    time::Duration,
};

/// A line that is longer comes in parts.
const MAX_LINE_BYTES: u64 = 64 << 10;
/// How long what a process has printed may take to arrive once it has ended. A process of its own that it left
/// behind may keep the pipes open.
const ENDING_TIMEOUT: Duration = Duration::from_secs(1);

/// The output of a child, on its way to this process's.
#[derive(Debug)]
pub(crate) struct Output {
    /// Disconnected when both pipes have ended.
    relaying: mpsc::Receiver<()>,
}

impl Output {
    /// Pipes for a child's stdout and stderr, whose lines this process prints.
    pub(crate) fn of(name: &str) -> io::Result<(Self, [OwnedFd; 2])> {
        let (stdout, theirs) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let (done, relaying) = mpsc::channel();
        let start = |pipe: PipeReader, print: fn(&[u8])| {
            let (name, done) = (name.to_owned(), done.clone());
            thread::Builder::new().name("mp-manager-output".into()).spawn(move || {
                relay(&name, pipe, print);
                drop(done);
            })
        };
        start(stdout, |line| drop(io::stdout().write_all(line)))?;
        start(stderr, |line| drop(io::stderr().write_all(line)))?;
        Ok((Self { relaying }, [theirs.into(), their_stderr.into()]))
    }

    /// Waits until all is printed, after the child has ended.
    pub(crate) fn finish(self) {
        // Nothing is ever sent: it ends when both threads have, or with the time.
        let _ = self.relaying.recv_timeout(ENDING_TIMEOUT);
    }
}

fn relay(name: &str, pipe: PipeReader, print: fn(&[u8])) {
    let mut lines = BufReader::new(pipe);
    let mut line = format!("[{name}] ").into_bytes();
    let start = line.len();
    loop {
        line.truncate(start);
        match lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if line.last() != Some(&b'\n') {
            line.push(b'\n');
        }
        // At once, so that lines of several processes do not mix.
        print(&line);
    }
}
