//! Signals, taken in one after the other.

use std::{
    future::{Future, poll_fn},
    task::Poll,
};

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::error::Error;

/// The signals that end a process which does not care, and may be meant kindly.
const ENDING: [Signal; 6] =
    [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM, Signal::USR1, Signal::USR2];

/// Signals that from now on do not end this process.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    pub(crate) fn new(signals: &[Signal]) -> Result<Self, Error> {
        let listen = |signal: &Signal| {
            let listener = unix::signal(SignalKind::from_raw(signal.as_raw()))
                .map_err(Error::io("cannot listen for signals"))?;
            Ok((*signal, listener))
        };
        signals.iter().map(listen).collect::<Result<_, Error>>().map(Self)
    }

    /// Those that would end this process.
    pub(crate) fn ending() -> Result<Self, Error> {
        // Under `nohup`, what we do is to go on when the terminal closes.
        let spared = |signal: &Signal| *signal == Signal::HUP && is_ignored(*signal);
        let ending: Vec<Signal> = ENDING.into_iter().filter(|signal| !spared(signal)).collect();
        Self::new(&ending)
    }

    /// Runs something until it is done or a signal comes.
    pub(crate) async fn interrupt<T>(
        &mut self,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        tokio::select! {
            result = work => result,
            signal = self.next() => Err(Error::Interrupted(signal.as_raw())),
        }
    }

    /// The next one that comes. Cancel safe.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            for (signal, listener) in &mut self.0 {
                if listener.poll_recv(cx).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether who started this process told it to ignore a signal, as `nohup` does.
fn is_ignored(signal: Signal) -> bool {
    // Where there is no /proc it seems to be heeded, which is the rule.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default();
    mask >> (signal.as_raw() - 1) & 1 == 1
}
