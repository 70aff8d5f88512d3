//! Signals, taken in one after the other, with who has sent them.

use std::{future::Future, os::raw::c_int, thread};

use rustix::process::Signal;
use signal_hook::{
    iterator::{Handle, SignalsInfo, exfiltrator::WithOrigin},
    low_level::siginfo::{Cause, Origin},
};
use tokio::sync::mpsc;

use crate::error::Error;

/// The signals that end a process which does not care, and may be meant kindly.
const ENDING: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];

/// A signal that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) signal: Signal,
    /// The terminal has sent it, and so to all of our process group.
    pub(crate) is_from_terminal: bool,
}

impl Received {
    /// `None` for a number that is no signal's.
    pub(crate) fn of(origin: &Origin) -> Option<Self> {
        let signal = Signal::from_named_raw(origin.signal)?;
        Some(Self { signal, is_from_terminal: origin.cause == Cause::Kernel })
    }
}

/// Signals that from now on do not end this process.
pub(crate) struct Signals {
    received: mpsc::UnboundedReceiver<Received>,
    handle: Handle,
}

impl Signals {
    pub(crate) fn new(signals: &[Signal]) -> Result<Self, Error> {
        let numbers = signals.iter().map(|signal| signal.as_raw());
        let mut signals = SignalsInfo::<WithOrigin>::new(numbers)
            .map_err(Error::io("cannot listen for signals"))?;
        let (handle, (send, received)) = (signals.handle(), mpsc::unbounded_channel());
        let listen = move || {
            for received in signals.forever().filter_map(|origin| Received::of(&origin)) {
                if send.send(received).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(listen)
            .map_err(Error::io("cannot start a thread"))?;
        Ok(Self { received, handle })
    }

    /// Those that would end this process.
    pub(crate) fn ending() -> Result<Self, Error> {
        Self::new(&heeded(&ENDING))
    }

    /// Takes in others as well.
    pub(crate) fn add(&mut self, signals: &[Signal]) -> Result<(), Error> {
        let add = |signal: &Signal| self.handle.add_signal(signal.as_raw());
        signals.iter().try_for_each(add).map_err(Error::io("cannot listen for signals"))
    }

    /// Runs something until it is done or a signal comes.
    pub(crate) async fn interrupt<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            result = work => result,
            received = self.next() => Err(Error::Interrupted(received.signal.as_raw())),
        }
    }

    /// The next one that comes. Cancel safe.
    pub(crate) async fn next(&mut self) -> Received {
        match self.received.recv().await {
            Some(received) => received,
            // The thread lasts as long as this.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// The signals without those that this process has inherited as ignored: `nohup` ignores SIGHUP, and a shell SIGINT and
/// SIGQUIT for commands that a script runs in the background.
pub(crate) fn heeded(signals: &[Signal]) -> Vec<Signal> {
    let may_be_ignored = [Signal::HUP, Signal::INT, Signal::QUIT];
    let is_spared = |signal: &Signal| may_be_ignored.contains(signal) && is_ignored(*signal);
    signals.iter().copied().filter(|signal| !is_spared(signal)).collect()
}

/// Whether who started this process told it to ignore a signal.
fn is_ignored(signal: Signal) -> bool {
    // Where there is no /proc it seems to be heeded, which is the rule.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    let number: c_int = signal.as_raw();
    mask >> (number - 1) & 1 == 1
}
