//! A client that writes down everything it does: before it does it, and when it is done.

use std::{
    future::poll_fn,
    io::Write,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::Context,
};

use mp_manager::{Error, LockGuard, Manager, Result};
use mp_manager_core::{
    Reason,
    v1::{self, Empty, Reply, Request, reply, request},
};
use prost::Message;

use super::{
    record::{Called, Record, Returned, Settled, Submitted, What},
    world::Name,
};
use crate::clock::now_ns;

/// Where a process writes its records.
pub(crate) struct Journal {
    sink: Mutex<Box<dyn Write + Send>>,
    last: AtomicU64,
}

impl Journal {
    pub(crate) fn new(sink: impl Write + Send + 'static) -> Arc<Self> {
        Arc::new(Self { sink: Mutex::new(Box::new(sink)), last: AtomicU64::new(0) })
    }

    fn next(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn write(&self, n: u64, at_ns: u64, what: What) {
        let record = Record { n, at_ns, what: Some(what) }.encode_length_delimited_to_vec();
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // Without a reader there is nobody left to work for: the lifeline says so, too.
        let _ = sink.write_all(&record).and_then(|()| sink.flush());
    }

    /// An error outside of any call.
    pub(crate) fn failed(&self, error: &Error) {
        let (returned, problem) = returned(error);
        self.write(0, now_ns(), What::Returned(returned));
        if let Some(problem) = problem {
            self.write(0, now_ns(), What::Problem(problem));
        }
    }

    pub(crate) fn problem(&self, problem: String) {
        self.write(0, now_ns(), What::Problem(problem));
    }
}

/// What is asked of which object.
pub(crate) struct Asked {
    pub(crate) object: Name,
    pub(crate) op: request::Op,
    /// The call whose grant or lease it is about; 0 if there is none.
    pub(crate) about: u64,
}

/// The lock that the session of a process holds as long as it lasts.
pub(crate) fn canary(process: u64, session: u64) -> String {
    format!("session {session} of worker {process}")
}

/// One session, whose end is noticed at once: it holds something.
pub(crate) struct Session {
    pub(crate) manager: Manager,
    journal: Arc<Journal>,
    number: u64,
    canary: LockGuard,
}

impl Session {
    pub(crate) async fn begin(
        journal: &Arc<Journal>,
        manager: &Manager,
        process: u64,
        number: u64,
    ) -> Result<Self> {
        let canary = manager.lock(canary(process, number)).await?.acquire().await?;
        Ok(Self { manager: manager.clone(), journal: Arc::clone(journal), number, canary })
    }

    /// Whether it is the one that began.
    pub(crate) fn stands(&self) -> bool {
        !self.canary.is_lost()
    }

    /// Counts the sessions of its process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn problem(&self, problem: String) {
        self.journal.problem(problem);
    }

    /// Submits tasks: writes them down before, and what became of them.
    pub(crate) async fn submit(
        &self,
        tasks: Submitted,
        outcomes: impl Future<Output = Result<Settled>>,
    ) {
        let n = self.journal.next();
        self.journal.write(n, now_ns(), What::Submitted(tasks));
        match outcomes.await {
            Ok(settled) => self.journal.write(n, now_ns(), What::Settled(settled)),
            // Another process of the group has come to its end, and has closed the pool.
            Err(Error::PoolClosed(_)) => {}
            Err(error) => self.journal.failed(&error),
        }
    }

    /// Opens an object.
    pub(crate) async fn open<T>(&self, open: impl IntoFuture<Output = Result<T>>) -> Option<T> {
        open.await.inspect_err(|error| self.journal.failed(error)).ok()
    }

    /// Makes a call. What it is called in the journal, and what it came to.
    pub(crate) async fn call<T>(
        &self,
        asked: Asked,
        call: impl Future<Output = Result<T>>,
        told: impl FnOnce(&T) -> reply::Result,
    ) -> (u64, Option<T>) {
        let Asked { object, op, about } = asked;
        let request = Some(Request { op: Some(op), ..Request::default() });
        let called = Called { object: object.to_string(), request, about, session: self.number };
        let n = self.journal.next();
        self.journal.write(n, now_ns(), What::Called(called));
        let (mut call, mut polled_ns) = (pin!(call), 0);
        let polled = |cx: &mut Context<'_>| {
            polled_ns = now_ns();
            call.as_mut().poll(cx)
        };
        let result = poll_fn(polled).await;
        let at_ns = now_ns();
        let (returned, problem) = match &result {
            Ok(value) => {
                let reply = Some(Reply { seq: n, result: Some(told(value)) });
                (Returned { reply, ..Returned::default() }, None)
            }
            Err(error) => returned(error),
        };
        let returned = Returned { stands: self.stands(), handed_over_ns: polled_ns, ..returned };
        self.journal.write(n, at_ns, What::Returned(returned));
        if let Some(problem) = problem {
            self.problem(problem);
        }
        (n, result.ok())
    }

    /// Whether what call `n` was granted is still held; since when that is known.
    pub(crate) fn still_holds(&self, n: u64, is_lost: impl FnOnce() -> bool) -> Option<u64> {
        // The time first: whoever is stopped in between did not look.
        let at_ns = now_ns();
        if is_lost() {
            return None;
        }
        self.journal.write(n, at_ns, What::Held(Empty {}));
        Some(at_ns)
    }
}

/// What is known of a call that failed, and what is wrong with that.
fn returned(error: &Error) -> (Returned, Option<String>) {
    // The variant first, to count them by.
    let variant = format!("{error:?}");
    let variant = variant.split(['(', ' ']).next().unwrap_or_default();
    let text = format!("{variant}: {error}");
    let refused = |reason: Reason| {
        let result = Some(reply::Result::Error(v1::Error::new(reason, "")));
        Returned { reply: Some(Reply { seq: 0, result }), ..Returned::default() }
    };
    let failed = |void| Returned { void, error: text.clone(), ..Returned::default() };
    match error {
        Error::QueueFull(_) => (refused(Reason::Full), None),
        // It was not executed, or went with the session, or nobody could be asked.
        Error::Fenced(_)
        | Error::SessionLost(_)
        | Error::Unreachable(_)
        | Error::Connect { .. } => (failed(true), None),
        Error::OutcomeUnknown(_) => (failed(false), None),
        _ => (failed(false), Some(text.clone())),
    }
}
