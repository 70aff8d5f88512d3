//! A process that forks shares its sockets with its child, and none of its threads.
//!
//! A connection belongs to the process that made it: what the child said on it, or took from it, the
//! parent would be blamed for, or would miss.

use std::{
    io,
    pin::Pin,
    process,
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use mp_manager_proto::v1::{Error as Refusal, Reason};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The process that something belongs to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Home(u32);

impl Home {
    /// This process.
    pub(crate) fn here() -> Self {
        Self(process::id())
    }

    /// Whether this is that process, and not a fork of it.
    pub(crate) fn is_here(self) -> bool {
        process::id() == self.0
    }

    /// Locks what belongs to that process, but for a fork in which nobody would ever unlock it.
    pub(crate) fn lock<T>(self, mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
        match mutex.try_lock() {
            Ok(locked) => Some(locked),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                self.is_here().then(|| mutex.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// The error of every call in a fork of that process.
    pub(crate) fn refusal(self) -> Refusal {
        let (home, here) = (self.0, process::id());
        let message = format!(
            "the connection belongs to process {home}, of which this one, {here}, is a fork"
        );
        Refusal::new(Reason::SessionEnded, message)
            .with_hint("connect again in this process, or start it as a program instead of forking")
    }
}

/// Looks whether this is still the process of before, mostly without a system call.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// When it was, by the coarse clock.
    last: AtomicU64,
}

impl Look {
    /// As [`Home::is_here`], but it may take some milliseconds to notice.
    pub(crate) fn is_here(&self, home: Home) -> bool {
        let tick = coarse_tick();
        if self.last.load(Ordering::Relaxed) == tick {
            return true;
        }
        let is_here = home.is_here();
        if is_here {
            self.last.store(tick, Ordering::Relaxed);
        }
        is_here
    }
}

/// Changes every few milliseconds; never 0.
fn coarse_tick() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(target_os = "linux")]
    let now = clock_gettime(ClockId::MonotonicCoarse);
    #[cfg(not(target_os = "linux"))]
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds * 1000 + nanoseconds / 1_000_000 + 1
}

/// A socket that does nothing in a fork of its process: nothing is read, written, shut down or
/// closed. A runtime's registration of a socket is shared with the parent as well, so that even
/// closing the child's copy would cut the parent off.
pub(crate) struct HomeBound<S> {
    /// Always there, until it is dropped.
    socket: Option<S>,
    home: Home,
}

impl<S: Unpin> HomeBound<S> {
    pub(crate) fn new(socket: S, home: Home) -> Self {
        Self { socket: Some(socket), home }
    }

    fn socket(&mut self) -> io::Result<Pin<&mut S>> {
        match &mut self.socket {
            Some(socket) if self.home.is_here() => Ok(Pin::new(socket)),
            _ => Err(io::Error::new(io::ErrorKind::BrokenPipe, "this is a fork of its process")),
        }
    }
}

impl<S> Drop for HomeBound<S> {
    fn drop(&mut self) {
        if !self.home.is_here() {
            std::mem::forget(self.socket.take());
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HomeBound<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HomeBound<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().socket()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().socket()?.poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }

    /// TLS may have kept some of what was written. Asks for no process id, which would be a system call: in a fork
    /// nothing was written, as that failed.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Some(socket) => Pin::new(socket).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, BufWriter, duplex};

    use super::*;

    /// TLS buffers as this does.
    #[tokio::test]
    async fn flushing_a_socket_flushes_what_is_buffered_above_it() {
        let (near, mut far) = duplex(16);
        let mut socket = HomeBound::new(BufWriter::new(near), Home::here());
        socket.write_all(b"all").await.unwrap();
        socket.flush().await.unwrap();
        // Dropping it does not flush.
        drop(socket);
        let mut arrived = Vec::new();
        far.read_to_end(&mut arrived).await.unwrap();
        assert_eq!(arrived, b"all");
    }
}
