//! The processes of `run`: copies of one program.

use std::{collections::BTreeMap, future::poll_fn, process::ExitStatus, task::Poll};

use rustix::{
    io::Errno,
    process::{Pid, Signal},
};
use tokio::time::Instant;

use crate::{
    child::{Running, end_the_rest, pass_on},
    error::Error,
    family::Family,
    signals::Received,
};

/// Copies of a program.
#[derive(Default)]
pub(crate) struct Copies {
    /// By rank.
    copies: BTreeMap<usize, Copy>,
    /// Those which were running when they were to end, and what they had started.
    groups: Vec<Pid>,
    family: Family,
}

struct Copy {
    running: Running,
    has_ended: bool,
}

impl Copies {
    pub(crate) fn insert(&mut self, rank: usize, running: Running) {
        self.copies.insert(rank, Copy { running, has_ended: false });
    }

    /// The rank of the next copy that ends, and how it does; `None` when all have ended. Cancel safe.
    pub(crate) async fn next_end(&mut self) -> Result<Option<(usize, ExitStatus)>, Error> {
        poll_fn(|cx| {
            let mut copies = self.copies.iter_mut().filter(|(_, copy)| !copy.has_ended);
            let mut is_over = true;
            let ended = copies.find_map(|(rank, copy)| {
                is_over = false;
                match copy.running.poll_ended(cx) {
                    Poll::Ready(status) => {
                        copy.has_ended = true;
                        Some(status.map(|status| Some((*rank, status))))
                    }
                    Poll::Pending => None,
                }
            });
            match ended {
                Some(ended) => Poll::Ready(ended),
                None if is_over => Poll::Ready(Ok(None)),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The ranks of copies that have ended by now, and how they have; without waiting for any.
    pub(crate) fn ended_by_now(&mut self) -> Result<Vec<(usize, ExitStatus)>, Error> {
        let mut ended = Vec::new();
        let copies = self.copies.iter_mut().filter(|(_, copy)| !copy.has_ended);
        for (rank, copy) in copies {
            if let Some(status) = copy.running.try_ended()? {
                copy.has_ended = true;
                ended.push((*rank, status));
            }
        }
        Ok(ended)
    }

    pub(crate) fn is_any_running(&self) -> bool {
        self.copies.values().any(|copy| !copy.has_ended)
    }

    /// Sends all copies, and what they have started, a signal that this process has received.
    pub(crate) fn pass_on(&self, received: Received) {
        let running: Vec<&Running> = self.running().map(|(_, running)| running).collect();
        pass_on(&running, received);
    }

    /// Sends SIGTERM to the copies and what they have started.
    pub(crate) fn terminate(&mut self) {
        self.send(Signal::TERM);
    }

    /// Sends SIGKILL to the copies and what they have started. Returns the ranks of those that run as
    /// another user: they go on, and are not waited for any more.
    pub(crate) fn kill(&mut self) -> Vec<usize> {
        let spared = self.send(Signal::KILL);
        for rank in &spared {
            if let Some(copy) = self.copies.get_mut(rank) {
                copy.has_ended = true;
            }
        }
        spared
    }

    /// Waits until what the copies had started when they were to end is gone, and kills it at the deadline.
    pub(crate) async fn end_the_rest(&self, deadline: Instant) {
        end_the_rest(&self.groups, &self.family, deadline).await;
    }

    /// Returns the ranks of those that may not be sent it.
    fn send(&mut self, signal: Signal) -> Vec<usize> {
        // While they are there: those whose parent has ended are nobody's family.
        let pids: Vec<Pid> = self.running().filter_map(|(_, running)| running.pid()).collect();
        let groups: Vec<Pid> = self.running().filter_map(|(_, running)| running.group()).collect();
        self.groups.extend(groups);
        self.family.join(Family::of(&pids));
        let spared = self.running().filter(|(_, copy)| copy.send(signal) == Err(Errno::PERM));
        let spared = spared.map(|(rank, _)| rank).collect();
        self.family.send(signal);
        spared
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Running)> {
        let copies = self.copies.iter().filter(|(_, copy)| !copy.has_ended);
        copies.map(|(rank, copy)| (*rank, &copy.running))
    }
}
