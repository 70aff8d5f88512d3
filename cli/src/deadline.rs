//! `--timeout`: how long a command may take, connecting included.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use mp_manager::{Address, Error as ClientError};
use tokio::time::timeout;

use crate::error::Error;

/// How long a command that does not wait (`--timeout 0`) may take to connect and to ask.
const ASK: Duration = Duration::from_secs(5);
/// How long the client's own answer to a timeout is waited for: it says more than that time is up.
const ANSWER: Duration = Duration::from_millis(100);
/// How long a command that has printed an item goes on to have that confirmed.
const CONFIRM: Duration = Duration::from_secs(2);
/// How long a command stays to say goodbye, with which the manager takes back what arrives too late.
const GOODBYE: Duration = Duration::from_millis(100);

/// When a command has to end, if it has to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    started: Instant,
    timeout: Option<Duration>,
}

/// The deadline has passed.
#[derive(Debug)]
pub(crate) struct Passed;

impl Deadline {
    /// A command that starts now.
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Self { started: Instant::now(), timeout }
    }

    pub(crate) fn never() -> Self {
        Self::after(None)
    }

    /// The rest of the timeout, for waiting in an object.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout.saturating_sub(self.started.elapsed()))
    }

    /// The timeout as a message ends with it; nothing if there was no waiting.
    pub(crate) fn within(&self) -> String {
        match self.timeout {
            Some(timeout) if !timeout.is_zero() => format!(" within {timeout:?}"),
            _ => String::new(),
        }
    }

    /// Connects to `address`, in time.
    pub(crate) async fn connect<T>(
        &self,
        address: &Address,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.end(work, Duration::ZERO).await.unwrap_or_else(|Passed| {
            let timeout = self.timeout_to_ask().unwrap_or_default();
            Err(Error::TimedOut(format!("{address} did not answer within {timeout:?}")))
        })
    }

    /// Asks the manager, and hears the answer in time.
    pub(crate) async fn ask<T>(&self, work: impl Future<Output = T>) -> Result<T, Passed> {
        self.end(work, ANSWER).await
    }

    /// Has something confirmed that cannot be undone, which may take a little longer.
    pub(crate) async fn confirm<T>(&self, work: impl Future<Output = T>) -> Result<T, Passed> {
        self.end(work, CONFIRM).await
    }

    /// Says goodbye, and waits for the answer as long as there is time.
    pub(crate) async fn goodbye<T>(&self, work: impl Future<Output = T>) -> Result<T, Passed> {
        self.end(work, GOODBYE).await
    }

    /// The error of a call that was asked in time. A manager that could not be reached until the timeout
    /// had passed is a timeout: the call has done nothing.
    pub(crate) fn failed(&self, error: ClientError) -> Error {
        let has_passed = self.left() == Some(Duration::ZERO) && !self.within().is_empty();
        match error {
            ClientError::Unreachable(_) if has_passed => Error::TimedOut(error.to_string()),
            error => error.into(),
        }
    }

    async fn end<T>(&self, work: impl Future<Output = T>, grace: Duration) -> Result<T, Passed> {
        let Some(limit) = self.timeout_to_ask() else { return Ok(work.await) };
        let left = limit.saturating_sub(self.started.elapsed()).saturating_add(grace);
        timeout(left, work).await.map_err(|_| Passed)
    }

    fn timeout_to_ask(&self) -> Option<Duration> {
        self.timeout.map(|timeout| if timeout.is_zero() { ASK } else { timeout })
    }
}
