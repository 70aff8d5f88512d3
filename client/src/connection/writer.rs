//! Writes messages to a connection.

use std::sync::{Mutex, PoisonError};

use tokio::{
    io::{AsyncWriteExt, WriteHalf},
    runtime::Handle,
    sync::OwnedMutexGuard,
    task::AbortHandle,
};

use super::Io;

/// The sending half.
///
/// ```text
///   idle ──begin──► whole ──first byte──► midway ──last byte──► idle
///     ▲               │                     │ ▲
///     └── cancelled ──┘                     └─┘ cancelled: goes on in the background
/// ```
pub(super) struct Writer {
    half: WriteHalf<Io>,
    /// The frame that is being sent; empty when idle.
    frame: Vec<u8>,
    /// How much of it was.
    sent: usize,
    /// Why nothing can be sent any more.
    broken: Option<String>,
}

impl Writer {
    pub(super) fn new(half: WriteHalf<Io>) -> Self {
        Self { half, frame: Vec::new(), sent: 0, broken: None }
    }

    /// Tells the other end that nothing more will come.
    pub(super) async fn close(&mut self) -> Result<(), String> {
        self.check()?;
        self.half.shutdown().await.map_err(|error| error.to_string())
    }

    fn begin(&mut self, frame: Vec<u8>) -> Result<(), String> {
        self.check()?;
        (self.frame, self.sent) = (frame, 0);
        Ok(())
    }

    /// Whether something can be sent.
    fn check(&self) -> Result<(), String> {
        match &self.broken {
            Some(problem) => Err(problem.clone()),
            // Mostly as its runtime is gone.
            None if self.is_midway() => Err("what was sent before was cut off".into()),
            None => Ok(()),
        }
    }

    /// Sends the rest of the frame. Cancel safe: calling it again goes on.
    async fn go_on(&mut self) -> Result<(), String> {
        let written = self.write().await;
        self.frame = Vec::new();
        if let Err(problem) = &written {
            self.broken = Some(problem.clone());
        }
        written
    }

    async fn write(&mut self) -> Result<(), String> {
        while self.sent < self.frame.len() {
            match self.half.write(&self.frame[self.sent..]).await {
                Ok(0) => return Err("nothing can be written".into()),
                Ok(count) => self.sent += count,
                Err(error) => return Err(error.to_string()),
            }
        }
        // TLS may have kept some of it.
        self.half.flush().await.map_err(|error| error.to_string())
    }

    fn is_midway(&self) -> bool {
        !self.frame.is_empty() && self.sent > 0
    }
}

/// Where messages go on whose senders were cancelled.
pub(super) struct Finishing {
    runtime: Handle,
    task: Mutex<Option<AbortHandle>>,
}

impl Finishing {
    pub(super) fn new(runtime: Handle) -> Self {
        Self { runtime, task: Mutex::default() }
    }

    /// Sends a frame: all of it, or nothing if it is cancelled before it has begun.
    pub(super) async fn send(
        &self,
        mut writer: OwnedMutexGuard<Writer>,
        frame: Vec<u8>,
    ) -> Result<(), String> {
        writer.begin(frame)?;
        let mut sending = Sending { writer: Some(writer), finishing: self };
        match &mut sending.writer {
            Some(writer) => writer.go_on().await,
            None => Ok(()),
        }
    }

    fn go_on(&self, mut writer: OwnedMutexGuard<Writer>) {
        let task = self.runtime.spawn(async move {
            // The next send returns the error.
            let _ = writer.go_on().await;
        });
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.abort_handle());
    }
}

impl Drop for Finishing {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

/// A frame that is being sent.
struct Sending<'a> {
    writer: Option<OwnedMutexGuard<Writer>>,
    finishing: &'a Finishing,
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        let Some(mut writer) = self.writer.take() else { return };
        if writer.is_midway() {
            self.finishing.go_on(writer);
        } else {
            writer.frame = Vec::new();
        }
    }
}
