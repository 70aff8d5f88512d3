//! What the servers in this process have logged.

use std::{
    io,
    sync::{Mutex, MutexGuard, Once, PoisonError},
};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Begins to keep the log, if nobody has begun yet.
pub fn keep() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| tracing_subscriber::fmt().with_ansi(false).with_writer(|| Log).init());
}

/// The whole log so far.
#[must_use]
pub fn text() -> String {
    String::from_utf8_lossy(&log()).into_owned()
}

/// Waits until the log contains `what`: a server may write it after its client has heard.
pub async fn until_said(what: &str) {
    crate::victim::until(async || text().contains(what).then_some(())).await;
}

/// The lines so far that contain `what`.
#[must_use]
pub fn lines_with(what: &str) -> Vec<String> {
    text().lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
}

struct Log;

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        log().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}
