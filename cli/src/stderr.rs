//! Standard error, written by a thread of its own.
//!
//! A pipe whose reader stands still blocks whoever writes to it, and a full disk or a reader that has
//! gone fails the write. Neither may concern a thread that serves or holds a lock, so those only
//! append to a bounded buffer. A line that finds no room, or cannot be written, is lost; how many
//! were lost is written with the next line that can be.
//!
//! `tracing-appender` does much of this, but counts lines where a bound has to count bytes, says
//! nothing of those it has dropped, and prints to standard output when it cannot end in time.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    io::{self, Write},
    mem::{swap, take},
    panic,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use crate::table::printable;

/// Capacity of the buffer. The writer holds as much again while it writes.
const MAX_BYTES: usize = 1 << 20;

/// How long the end of the process waits for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The lines of this process.
static STDERR: Lines = Lines::new(MAX_BYTES);

/// How this process says something on standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// For programs: each line is one JSON object
    Json,
}

impl LogFormat {
    /// As an option has it.
    #[cfg(target_os = "linux")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Whether the format is [JSON](LogFormat::Json).
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Sets the format of what this process says itself, from now on.
pub(crate) fn set_format(format: LogFormat) {
    IS_JSON.store(format == LogFormat::Json, Ordering::Relaxed);
}

pub(crate) fn format() -> LogFormat {
    if IS_JSON.load(Ordering::Relaxed) { LogFormat::Json } else { LogFormat::Text }
}

/// Has the last lines written when it is dropped, unless nobody reads them.
pub(crate) struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        if STDERR.is_written() {
            STDERR.flush(FLUSH_TIMEOUT);
        } else {
            // The system had no thread for it.
            let _ = io::stderr().write_all(&STDERR.lock().buffer);
        }
    }
}

/// Has panics printed like any other line: the standard library's hook would block.
pub(crate) fn print_panics() {
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        let thread = thread.name().unwrap_or("unnamed");
        let backtrace = Backtrace::capture();
        let backtrace = match backtrace.status() {
            BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        // A backtrace has lines of its own.
        say(&line(&format!("thread {thread} {panic}{backtrace}")));
    }));
}

/// Prints what is wrong. Never blocks and never fails; lines appear in the order of the calls.
pub(crate) fn complain(problem: &str) {
    say(&complaint(problem));
}

fn say(lines: &str) {
    // `Stderr` never fails.
    let _ = Stderr.write_all(lines.as_bytes());
}

/// The one line that says what is wrong, whatever names are in it.
pub(crate) fn complaint(problem: &str) -> String {
    match format() {
        LogFormat::Json => json_line(problem),
        LogFormat::Text => line(&printable(problem.to_owned())),
    }
}

/// An error message, as lines of the log's format.
fn line(problem: &str) -> String {
    match format() {
        LogFormat::Json => json_line(problem),
        LogFormat::Text => format!("mp-manager: {problem}\n"),
    }
}

/// The same line as one of the log in JSON.
fn json_line(problem: &str) -> String {
    let mut timestamp = String::new();
    // A time that cannot be formatted is left out.
    let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
    let line = json!({
        "timestamp": timestamp,
        "level": "ERROR",
        "message": problem,
        "target": "mp_manager",
    });
    format!("{line}\n")
}

/// A writer of lines: each write is one or more of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stderr;

impl Write for Stderr {
    /// Never fails.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if !STDERR.is_written() {
            start_thread();
        }
        STDERR.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the thread that writes, with the first line: most commands have nothing to say.
fn start_thread() {
    let mut state = STDERR.lock();
    if state.is_written {
        return;
    }
    let thread = thread::Builder::new().name("stderr".into());
    // If the system has no thread for it, the next line tries again.
    state.is_written = thread.spawn(|| STDERR.write_to(Patient(io::stderr()))).is_ok();
}

/// A bounded buffer of lines between any number of threads that print and one that writes.
struct Lines {
    state: Mutex<State>,
    changed: Condvar,
    max_bytes: usize,
}

struct State {
    /// The thread that writes runs.
    is_written: bool,
    buffer: Vec<u8>,
    /// Number of lines that came after those in the buffer and found no room.
    dropped: usize,
    /// The writer has taken lines out of the buffer and not written them all yet.
    is_writing: bool,
}

impl Lines {
    const fn new(max_bytes: usize) -> Self {
        let state = State { is_written: false, buffer: Vec::new(), dropped: 0, is_writing: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), max_bytes }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_written(&self) -> bool {
        self.lock().is_written
    }

    fn push(&self, lines: &[u8]) {
        let mut state = self.lock();
        // Lines after a dropped one are dropped as well, so that its place in the order is known.
        if state.dropped > 0 || state.buffer.len() + lines.len() > self.max_bytes {
            state.dropped += count(lines);
        } else {
            state.buffer.extend_from_slice(lines);
        }
        self.changed.notify_all();
    }

    /// Writes lines as they come, without end.
    fn write_to(&self, mut output: impl Write) {
        let mut lost = Lost::default();
        let mut batch = Vec::new();
        loop {
            let dropped = self.take(&mut batch);
            for bytes in batch.split_inclusive(|byte| *byte == b'\n') {
                lost.write(&mut output, bytes);
            }
            batch.clear();
            if dropped > 0 {
                let notice =
                    line(&format!("standard error was not read; lines dropped: {dropped}"));
                lost.write(&mut output, notice.as_bytes());
            }
        }
    }

    /// Waits for lines and takes them all. Returns how many were dropped after them.
    fn take(&self, batch: &mut Vec<u8>) -> usize {
        let mut state = self.lock();
        state.is_writing = false;
        self.changed.notify_all();
        while state.buffer.is_empty() && state.dropped == 0 {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_writing = true;
        swap(&mut state.buffer, batch);
        take(&mut state.dropped)
    }

    /// Waits until all lines are written, but not longer than `timeout`.
    fn flush(&self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        let is_pending = |state: &State| {
            state.is_written && (state.is_writing || !state.buffer.is_empty() || state.dropped > 0)
        };
        while is_pending(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Failed writes since the last one that succeeded.
#[derive(Default)]
struct Lost {
    count: usize,
    error: Option<io::Error>,
    /// Only a part of the last line was written.
    is_inside_line: bool,
}

impl Lost {
    /// Writes a line, and before it the number of those that were lost.
    fn write(&mut self, output: &mut impl Write, bytes: &[u8]) {
        if let Some(error) = &self.error {
            let newline = if self.is_inside_line { "\n" } else { "" };
            let notice = format!(
                "standard error could not be written ({error}); lines lost: {}",
                self.count
            );
            let notice = newline.to_owned() + &line(&notice);
            if self.try_write(output, notice.as_bytes()).is_err() {
                self.count += 1;
                return;
            }
            *self = Self::default();
        }
        if let Err(error) = self.try_write(output, bytes) {
            self.count += 1;
            self.error = Some(error);
        }
    }

    fn try_write(&mut self, output: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
        while !line.is_empty() {
            match output.write(line) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.is_inside_line = line[..written].last() != Some(&b'\n');
                    line = &line[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn count(lines: &[u8]) -> usize {
    lines.split_inclusive(|byte| *byte == b'\n').count()
}

/// Standard error that blocks, even if another process that shares it has made it non-blocking.
struct Patient(io::Stderr);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.0, PollFlags::OUT)], None)?;
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        mpsc::{self, Receiver, Sender, channel},
    };

    use super::*;

    /// Output that a test lets through write by write, or fails.
    struct Gate {
        results: Receiver<io::Result<usize>>,
        written: Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let allowed = self.results.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            // A test that has ended reads no more.
            let _ = self.written.send(String::from_utf8_lossy(&bytes[..allowed]).into_owned());
            Ok(allowed)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Scene {
        lines: Arc<Lines>,
        allow: Sender<io::Result<usize>>,
        written: mpsc::Receiver<String>,
    }

    impl Scene {
        fn new(max_bytes: usize) -> Self {
            let lines = Arc::new(Lines::new(max_bytes));
            lines.lock().is_written = true;
            let ((allow, results), (sender, written)) = (channel(), channel());
            let gate = Gate { results, written: sender };
            let writer = Arc::clone(&lines);
            thread::spawn(move || writer.write_to(gate));
            Self { lines, allow, written }
        }

        fn print(&self, line: &str) {
            self.lines.push(line.as_bytes());
        }

        fn allow(&self, result: io::Result<usize>) {
            self.allow.send(result).unwrap();
        }

        /// Lets one write through, and returns what it wrote.
        fn next(&self) -> String {
            self.allow(Ok(usize::MAX));
            self.written.recv().unwrap()
        }

        /// Returns once the writer has taken all lines.
        fn until_taken(&self) {
            while !self.lines.lock().buffer.is_empty() {
                thread::yield_now();
            }
        }
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let scene = Scene::new(100);
        for line in ["a\n", "b\nc\n", "d\n"] {
            scene.print(line);
        }
        for line in ["a\n", "b\n", "c\n", "d\n"] {
            assert_eq!(scene.next(), line);
        }
    }

    #[test]
    fn lines_without_room_are_counted_where_they_are_missing() {
        let scene = Scene::new(8);
        scene.print("taken\n");
        scene.until_taken();
        for line in ["first\n", "second\n", "x\n", "y\nz\n"] {
            scene.print(line);
        }
        assert_eq!(scene.next(), "taken\n");
        assert_eq!(scene.next(), "first\n");
        assert!(scene.next().ends_with("lines dropped: 4\n"));
        scene.print("again\n");
        assert_eq!(scene.next(), "again\n");
    }

    #[test]
    fn lines_that_fail_are_counted_and_the_next_ones_are_written() {
        let scene = Scene::new(100);
        for line in ["1\n", "2\n", "3\n", "4\n"] {
            scene.print(line);
        }
        let full = || Err(io::ErrorKind::StorageFull.into());
        scene.allow(full());
        // The count cannot be written either, nor the line after it.
        scene.allow(full());
        // The count can, half of the line, and not the rest.
        let told = scene.next();
        assert!(told.ends_with("lines lost: 2\n"), "{told}");
        scene.allow(Ok(1));
        assert_eq!(scene.written.recv().unwrap(), "3");
        scene.allow(full());
        let told = scene.next();
        assert!(told.starts_with("\nmp-manager: ") && told.ends_with("lines lost: 1\n"), "{told}");
        assert_eq!(scene.next(), "4\n");
    }

    #[test]
    fn a_flush_ends_when_all_is_written_or_its_time_is_up() {
        let scene = Scene::new(100);
        scene.print("line\n");
        scene.lines.flush(Duration::from_millis(1));
        scene.until_taken();
        scene.lines.flush(Duration::from_millis(1));
        scene.allow(Ok(usize::MAX));
        scene.lines.flush(Duration::from_secs(3600));
        assert_eq!(scene.written.recv().unwrap(), "line\n");
    }

    #[test]
    fn a_complaint_is_one_line_of_json() {
        let line = json_line("thread main panicked:\n\"x\"");
        assert_eq!(line.matches('\n').count(), 1);
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(said["message"], "thread main panicked:\n\"x\"");
        assert_eq!((&said["level"], &said["target"]), (&"ERROR".into(), &"mp_manager".into()));
        assert!(said["timestamp"].as_str().unwrap().ends_with('Z'), "{said}");
    }
}
