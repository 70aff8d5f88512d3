//! The output of copies, on its way to this process's: each line after the rank of its copy.
//!
//! A task reads each pipe, and a thread writes each of the two streams, so that whole lines come one after
//! the other. There is room for little between them: a reader that is slow slows the copies, as it would
//! if they wrote to it themselves. When a reader has gone the pipes to it are closed, and a copy that
//! writes ends by SIGPIPE, as it would without us.
//!
//! The beginning of a line may be all that there is for a while: a prompt. It is shown where nobody can mistake it for
//! a line: on a terminal, which people read, and of a single copy, where the rest can only come right after it. In a
//! pipe or a file lines of several copies come whole or not at all. A program that writes to a pipe writes blocks,
//! which end anywhere.

use std::{
    io::{self, IsTerminal},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::{
    fs::fstat,
    io::{Errno, ioctl_fionread},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{ChildStderr, ChildStdout},
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use crate::{
    environment::has_colors,
    error::Error,
    output::{cannot_write, write_all},
    stderr,
};

/// A line that is longer comes in parts.
const MAX_LINE_BYTES: usize = 64 << 10;
/// How much is read from a pipe at a time.
const READ_BYTES: usize = 16 << 10;
/// Number of reads that may wait for a stream to be written.
const WAITING_CHUNKS: usize = 4;
/// How long the last output of a copy may take to arrive once it has ended. A process that it left behind
/// may keep its pipes open.
const ENDING_TIMEOUT: Duration = Duration::from_secs(1);
/// How long nothing follows the beginning of a line before it is shown.
const IDLE_TIMEOUT: Duration = Duration::from_millis(100);
/// The colours of ranks, in turn; red looks like an error, and comes last.
const COLORS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// Both streams of this process.
pub(crate) struct Relay {
    stdout: Printer,
    stderr: Printer,
    /// Whether all copies have ended.
    is_over: watch::Sender<bool>,
    /// Tasks that read the pipes, and say how copies have ended.
    tasks: JoinSet<()>,
}

/// The pipes of one copy; each ends when all in it is on its way.
#[derive(Debug, Default)]
pub(crate) struct Relayed {
    pipes: [Option<JoinHandle<()>>; 2],
}

impl Relay {
    /// For so many copies.
    pub(crate) fn start(copies: usize) -> Self {
        let (is_over, _) = watch::channel(false);
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let cursor = Arc::new(Cursor::default());
        let other = if are_one(&stdout, &stderr) { Arc::clone(&cursor) } else { Arc::default() };
        Self {
            stdout: Printer::start(Stream::Stdout, stdout, cursor, copies),
            stderr: Printer::start(Stream::Stderr, stderr, other, copies),
            is_over,
            tasks: JoinSet::new(),
        }
    }

    /// Prints what a copy writes to its pipes, as far as it has any.
    pub(crate) fn attach(
        &self,
        rank: usize,
        (stdout, stderr): (Option<ChildStdout>, Option<ChildStderr>),
    ) -> Relayed {
        let stdout = stdout.map(|pipe| self.relay(rank, pipe, &self.stdout));
        let stderr = stderr.map(|pipe| self.relay(rank, pipe, &self.stderr));
        Relayed { pipes: [stdout, stderr] }
    }

    fn relay<P>(&self, rank: usize, pipe: P, printer: &Printer) -> JoinHandle<()>
    where
        P: AsyncRead + AsFd + Unpin + Send + Sync + 'static,
    {
        let lines = Lines::of(rank, printer.has_colors);
        let mut is_over = self.is_over.subscribe();
        let (chunks, shows_beginnings) = (printer.chunks.clone(), printer.shows_beginnings);
        tokio::spawn(async move {
            relay(pipe, lines, &chunks, shows_beginnings, &mut is_over).await;
        })
    }

    /// Prints a line, newline included, on standard error after the last output of a copy that has ended.
    pub(crate) fn print_after(&mut self, relayed: &mut Relayed, line: String) {
        let [stdout, stderr] = std::mem::take(&mut relayed.pipes);
        let (output, chunks) = (self.stdout.chunks.clone(), self.stderr.chunks.clone());
        self.tasks.spawn(async move {
            let arrived = async {
                for pipe in [stdout, stderr].into_iter().flatten() {
                    let _ = pipe.await;
                }
                // Both streams may be one terminal.
                let (printed, is_printed) = oneshot::channel();
                let _ = output.send(Chunk { printed: Some(printed), ..Chunk::default() }).await;
                let _ = is_printed.await;
            };
            let _ = timeout(ENDING_TIMEOUT, arrived).await;
            // A reader that has gone misses nothing.
            let _ = chunks.send(Chunk { bytes: line.into(), ..Chunk::default() }).await;
        });
    }

    /// Returns when all that the copies, which have ended, have written is printed. Fails if standard output
    /// could not be written.
    pub(crate) async fn finish(
        self,
        relayed: impl IntoIterator<Item = Relayed>,
    ) -> Result<(), Error> {
        let Self { stdout, stderr, is_over, mut tasks } = self;
        let arrived = async {
            for pipe in relayed.into_iter().flat_map(|relayed| relayed.pipes).flatten() {
                let _ = pipe.await;
            }
            while tasks.join_next().await.is_some() {}
        };
        tokio::pin!(arrived);
        let is_all = timeout(ENDING_TIMEOUT, &mut arrived).await.is_ok();
        // In any case: pipes that `print_after` did not wait for any longer are read until they hear it.
        is_over.send_replace(true);
        if !is_all {
            arrived.await;
        }
        // Lines that cannot be written to standard error are lost, and nothing else is.
        let _ = stderr.finish().await;
        stdout.finish().await
    }
}

/// Lines, of which the last may be a beginning.
#[derive(Debug, Default)]
struct Chunk {
    /// Whose they are, unless they are ours.
    rank: Option<usize>,
    bytes: Vec<u8>,
    /// How many of the bytes were in the chunk before of this copy, the beginning of its line.
    shown: usize,
    /// Dropped when they are written, or cannot be.
    #[expect(dead_code, reason = "kept to be dropped")]
    printed: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

/// Where a terminal, a file or a pipe is: after a line, or after the beginning of one of a copy.
#[derive(Debug, Default)]
struct Cursor(Mutex<Option<(Stream, usize)>>);

impl Cursor {
    /// Writes a chunk, which goes on where its beginning was shown, unless something came between.
    fn write(
        &self,
        stream: Stream,
        chunk: &Chunk,
        write: impl FnOnce(&[u8]) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        let Some(last) = chunk.bytes.last() else { return Ok(()) };
        // Held while it is written: the other stream may be the same terminal.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let this = chunk.rank.map(|rank| (stream, rank));
        let rest = match *open {
            None => write(&chunk.bytes),
            Some(_) if *open == this => write(chunk.bytes.get(chunk.shown..).unwrap_or_default()),
            Some(_) => write(&[b"\n", &chunk.bytes[..]].concat()),
        };
        *open = this.filter(|_| *last != b'\n');
        rest
    }
}

/// Whether two streams are one terminal, file or pipe.
fn are_one(stdout: &io::Stdout, stderr: &io::Stderr) -> bool {
    let file = |stream: BorrowedFd<'_>| fstat(stream).map(|stat| (stat.st_dev, stat.st_ino));
    // A terminal has more than one name.
    let are_terminals = stdout.is_terminal() && stderr.is_terminal();
    are_terminals
        || matches!((file(stdout.as_fd()), file(stderr.as_fd())), (Ok(a), Ok(b)) if a == b)
}

/// A stream, written by a thread of its own.
struct Printer {
    chunks: mpsc::Sender<Chunk>,
    thread: JoinHandle<Result<(), Error>>,
    has_colors: bool,
    shows_beginnings: bool,
}

impl Printer {
    fn start(stream: Stream, file: impl IsTerminal, cursor: Arc<Cursor>, copies: usize) -> Self {
        let (chunks, receiver) = mpsc::channel(WAITING_CHUNKS);
        let thread = spawn_blocking(move || match stream {
            Stream::Stdout => write_stdout(receiver, &cursor),
            Stream::Stderr => write_stderr(receiver, &cursor),
        });
        let shows_beginnings = copies == 1 || file.is_terminal();
        Self { chunks, thread, has_colors: has_colors(&file), shows_beginnings }
    }

    /// Returns when all is written, or cannot be.
    async fn finish(self) -> Result<(), Error> {
        drop(self.chunks);
        self.thread.await.unwrap_or_else(|error| {
            Err(Error::Failed(format!("cannot print the output of the copies: {error}")))
        })
    }
}

/// The first write that fails closes the pipes.
fn write_stdout(mut chunks: mpsc::Receiver<Chunk>, cursor: &Cursor) -> Result<(), Error> {
    let write = |bytes: &[u8]| write_all(io::stdout().lock(), bytes);
    while let Some(chunk) = chunks.blocking_recv() {
        cursor.write(Stream::Stdout, &chunk, write).map_err(|error| {
            let error = cannot_write(error);
            if !error.is_silent() {
                // At once: that the copies end for it is seen before.
                stderr::complain(&error.to_string());
            }
            error
        })?;
    }
    Ok(())
}

/// A write that fails loses its lines, and the copies go on; but a reader that has gone does not come back.
fn write_stderr(mut chunks: mpsc::Receiver<Chunk>, cursor: &Cursor) -> Result<(), Error> {
    // Locked, so that a line of ours does not come into the middle.
    let write = |bytes: &[u8]| write_all(io::stderr().lock(), bytes);
    while let Some(chunk) = chunks.blocking_recv() {
        if cursor.write(Stream::Stderr, &chunk, write) == Err(Errno::PIPE) {
            break;
        }
    }
    Ok(())
}

/// Reads a pipe to its end; or, when all copies have ended, what is in it.
async fn relay<P: AsyncRead + AsFd + Unpin>(
    mut pipe: P,
    mut lines: Lines,
    chunks: &mpsc::Sender<Chunk>,
    shows_beginnings: bool,
    is_over: &mut watch::Receiver<bool>,
) {
    let mut buffer = vec![0; READ_BYTES];
    let mut left = usize::MAX;
    while left > 0 {
        let read = tokio::select! {
            () = chunks.closed() => return,
            () = ended(is_over), if left == usize::MAX => {
                let waiting = ioctl_fionread(&pipe).unwrap_or_default();
                left = usize::try_from(waiting).unwrap_or(usize::MAX - 1);
                continue;
            }
            () = sleep(IDLE_TIMEOUT), if shows_beginnings && lines.has_more_to_show() => {
                if chunks.send(lines.beginning()).await.is_err() {
                    return;
                }
                continue;
            }
            read = pipe.read(&mut buffer) => read.unwrap_or_default(),
        };
        if read == 0 {
            break;
        }
        if left != usize::MAX {
            left = left.saturating_sub(read);
        }
        let chunk = lines.push(buffer.get(..read).unwrap_or_default());
        if !chunk.bytes.is_empty() && chunks.send(chunk).await.is_err() {
            return;
        }
    }
    // If nobody reads it, that is all the same now.
    let _ = chunks.send(lines.end()).await;
}

async fn ended(is_over: &mut watch::Receiver<bool>) {
    // An error means that nobody says so any more.
    let _ = is_over.wait_for(|is_over| *is_over).await;
}

/// Cuts output into lines, and puts the rank of a copy before each.
struct Lines {
    rank: usize,
    prefix: Vec<u8>,
    /// The beginning of a line, without its prefix.
    partial: Vec<u8>,
    /// How much of it is shown already, with its prefix.
    shown: usize,
}

impl Lines {
    fn of(rank: usize, has_colors: bool) -> Self {
        let color = COLORS[rank % COLORS.len()];
        let prefix = if has_colors {
            format!("\x1b[{color}m[{rank}]\x1b[0m ")
        } else {
            format!("[{rank}] ")
        };
        Self { rank, prefix: prefix.into(), partial: Vec::new(), shown: 0 }
    }

    /// The lines that are whole now.
    fn push(&mut self, bytes: &[u8]) -> Chunk {
        let mut whole = self.chunk();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, is_whole) = match piece.split_last() {
                Some((b'\n', rest)) => (rest, true),
                _ => (piece, false),
            };
            self.partial.extend_from_slice(piece);
            while self.partial.len() > MAX_LINE_BYTES {
                let rest = self.partial.split_off(MAX_LINE_BYTES);
                self.take(&mut whole.bytes);
                self.partial = rest;
            }
            if is_whole {
                self.take(&mut whole.bytes);
            }
        }
        whole
    }

    /// The beginning of a line is there that is not shown yet.
    fn has_more_to_show(&self) -> bool {
        !self.partial.is_empty() && self.prefix.len() + self.partial.len() > self.shown
    }

    /// The beginning of the line, which counts as shown from now on.
    fn beginning(&mut self) -> Chunk {
        let mut chunk = self.chunk();
        chunk.bytes = [&self.prefix[..], &self.partial[..]].concat();
        self.shown = chunk.bytes.len();
        chunk
    }

    /// Ends a line that never ended, and returns it.
    fn end(&mut self) -> Chunk {
        let mut last = self.chunk();
        if !self.partial.is_empty() {
            self.take(&mut last.bytes);
        }
        last
    }

    /// One whose first line goes on where it is shown.
    fn chunk(&self) -> Chunk {
        Chunk { rank: Some(self.rank), shown: self.shown, ..Chunk::default() }
    }

    fn take(&mut self, whole: &mut Vec<u8>) {
        whole.extend_from_slice(&self.prefix);
        whole.append(&mut self.partial);
        whole.push(b'\n');
        self.shown = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_comes_whole_after_its_rank() {
        let mut lines = Lines::of(2, false);
        assert_eq!(lines.push(b"a\n\nb").bytes, b"[2] a\n[2] \n");
        assert_eq!(lines.push(b"c").bytes, b"");
        // Not UTF-8, which is nothing to us.
        assert_eq!(lines.push(b"\xff\nlast").bytes, b"[2] bc\xff\n");
        assert_eq!(lines.end().bytes, b"[2] last\n");
        assert_eq!(lines.end().bytes, b"");
    }

    #[test]
    fn a_line_without_end_comes_in_parts() {
        for step in [1000, READ_BYTES] {
            let text = vec![b'x'; MAX_LINE_BYTES * 2 + 1];
            let mut lines = Lines::of(0, false);
            let mut output = Vec::new();
            for bytes in text.chunks(step) {
                output.extend(lines.push(bytes).bytes);
                assert!(lines.partial.len() <= MAX_LINE_BYTES);
            }
            output.extend(lines.push(b"\n").bytes);
            let lengths: Vec<usize> = output.split(|b| *b == b'\n').map(<[u8]>::len).collect();
            assert_eq!(lengths, [MAX_LINE_BYTES + 4, MAX_LINE_BYTES + 4, 1 + 4, 0]);
        }
    }

    /// Two copies that write to one terminal, on both streams.
    #[derive(Default)]
    struct Scene {
        cursor: Cursor,
        screen: Vec<u8>,
    }

    impl Scene {
        #[track_caller]
        fn sees(&mut self, stream: Stream, chunk: &Chunk, expected: &str) {
            let before = self.screen.len();
            let write = |bytes: &[u8]| {
                self.screen.extend(bytes);
                Ok(())
            };
            assert_eq!(self.cursor.write(stream, chunk, write), Ok(()));
            assert_eq!(String::from_utf8_lossy(&self.screen[before..]), expected);
        }
    }

    #[test]
    fn a_line_goes_on_where_its_beginning_is_shown() {
        let (mut scene, mut copy) = (Scene::default(), Lines::of(0, false));
        assert!(copy.push(b"name? ").bytes.is_empty() && copy.has_more_to_show());
        scene.sees(Stream::Stdout, &copy.beginning(), "[0] name? ");
        assert!(!copy.has_more_to_show());
        assert!(copy.push(b"and ").bytes.is_empty() && copy.has_more_to_show());
        scene.sees(Stream::Stdout, &copy.beginning(), "and ");
        scene.sees(Stream::Stdout, &copy.push(b"age?\nnext\n"), "age?\n[0] next\n");
        copy.push(b"last");
        scene.sees(Stream::Stdout, &copy.beginning(), "[0] last");
        scene.sees(Stream::Stdout, &copy.end(), "\n");
        scene.sees(Stream::Stdout, &copy.end(), "");
    }

    #[test]
    fn a_line_that_another_interrupts_is_shown_whole_once_more() {
        let (mut scene, mut copy) = (Scene::default(), Lines::of(0, false));
        let mut other = Lines::of(1, false);
        for stream in [Stream::Stdout, Stream::Stderr] {
            copy.push(b"one ");
            scene.sees(Stream::Stdout, &copy.beginning(), "[0] one ");
            scene.sees(stream, &other.push(b"between\n"), "\n[1] between\n");
            scene.sees(Stream::Stdout, &copy.push(b"line\n"), "[0] one line\n");
        }
        copy.push(b"one ");
        scene.sees(Stream::Stdout, &copy.beginning(), "[0] one ");
        let ours = Chunk { bytes: b"ours\n".into(), ..Chunk::default() };
        scene.sees(Stream::Stderr, &ours, "\nours\n");
        scene.sees(Stream::Stdout, &copy.end(), "[0] one \n");
    }

    #[test]
    fn ranks_have_colours_of_their_own() {
        assert_eq!(Lines::of(0, true).push(b"a\n").bytes, b"\x1b[36m[0]\x1b[0m a\n");
        assert_ne!(Lines::of(0, true).prefix, Lines::of(6, true).prefix);
    }
}
