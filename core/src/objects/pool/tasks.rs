//! Descriptions of a pool's tasks: of those that are not done, and of the last ones that failed.

use std::{
    collections::VecDeque,
    ops::{Bound, Range},
};

use mp_manager_proto::v1::{PoolFailure, PoolTaskInfo, PoolTaskPlace, PoolTasks, PoolTasksFrom};

use super::{Guarded, Run, RunId, State};
use crate::{call::SessionId, memory::block};

/// So many failures are remembered.
const MAX_FAILED: usize = 100;
/// The longest text that is remembered of each.
const MAX_TEXT_BYTES: usize = 1 << 10;
/// So many tasks are on a page.
const PAGE: usize = 1000;

/// The last tasks that failed.
#[derive(Debug, Clone, Default)]
pub(super) struct Failed {
    last: VecDeque<PoolTaskInfo>,
    /// How many there were.
    number: u64,
    bytes: usize,
}

impl Failed {
    pub(super) fn push(&mut self, info: PoolTaskInfo) {
        if self.last.len() == MAX_FAILED
            && let Some(first) = self.last.pop_front()
        {
            self.bytes -= bytes(&first);
        }
        self.number += 1;
        let place = Some(PoolTaskPlace { run: self.number, start: 0 });
        let info = PoolTaskInfo { place, failure: info.failure.map(shortened), ..info };
        self.bytes += bytes(&info);
        self.last.push_back(info);
    }

    fn after(&self, number: u64) -> PoolTasks {
        let is_later = |info: &&PoolTaskInfo| info.place.is_some_and(|place| place.run > number);
        PoolTasks { tasks: self.last.iter().filter(is_later).cloned().collect(), has_more: false }
    }

    /// The memory it takes beside itself, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes + block(self.last.capacity() * size_of::<PoolTaskInfo>())
    }
}

fn bytes(info: &PoolTaskInfo) -> usize {
    let failure = info.failure.as_ref().map_or(0, |failure| {
        let causes = failure.causes.iter().map(|cause| block(cause.len()) + size_of::<String>());
        block(failure.message.len()) + block(failure.location.len()) + causes.sum::<usize>()
    });
    block(info.task.len()) + block(info.worker.len()) + block(info.host.len()) + failure
}

/// A failure whose texts are no longer than what is remembered.
fn shortened(failure: PoolFailure) -> PoolFailure {
    let mut room = MAX_TEXT_BYTES;
    let mut shorten = |text: &str| {
        let end = text.floor_char_boundary(room.min(text.len()));
        room -= end;
        text[..end].to_owned()
    };
    let message = shorten(&failure.message);
    let location = shorten(&failure.location);
    let causes = failure.causes.iter().take(16).map(|cause| shorten(cause)).collect();
    PoolFailure { message, location, causes, ..failure }
}

impl State {
    pub(super) fn list_tasks(&self, from: &PoolTasksFrom) -> PoolTasks {
        let after = from.after.unwrap_or_default();
        if from.failed {
            return self.failed.after(after.run);
        }
        let mut tasks = Vec::new();
        for (&id, run) in self.runs.range(after.run..) {
            let begin = match from.after {
                Some(after) if after.run == id => Bound::Excluded(after.start),
                _ => Bound::Unbounded,
            };
            for (&start, piece) in run.pieces.range((begin, Bound::Unbounded)) {
                if tasks.len() == PAGE {
                    return PoolTasks { tasks, has_more: true };
                }
                let ticket = piece.ticket.and_then(|token| self.tickets.get(&token));
                let hands = ticket.map(|ticket| self.hands(ticket.worker)).unwrap_or_default();
                tasks.push(describe_tasks((id, run), start..piece.end, hands));
            }
        }
        PoolTasks { tasks, has_more: false }
    }

    /// Whose hands the tasks of a worker are in.
    pub(super) fn hands(&self, worker: SessionId) -> Hands {
        let known = self.workers.get(&worker);
        let guarded = match known {
            Some(known) => self.guarded.get(&known.badge),
            // Its session is over, and its guardian has not said yet how it ended.
            None => self.guarded.values().find(|guarded| guarded.worker == Some(worker)),
        };
        let alone =
            || known.map_or_else(|| format!("session {worker}"), |known| known.name.clone());
        match guarded {
            Some(guarded) => self.hands_of(guarded),
            None => {
                let host = self.hosts.left(worker).unwrap_or_default().to_owned();
                Hands { worker: alone(), host }
            }
        }
    }

    pub(super) fn hands_of(&self, guarded: &Guarded) -> Hands {
        let host = self.hosts.name(guarded.guardian).unwrap_or_default().to_owned();
        Hands { worker: guarded.name.clone(), host }
    }

    /// Takes note of tasks that failed in somebody's hands.
    pub(super) fn note_failures(&mut self, id: RunId, hands: &Hands, failures: &[PoolFailure]) {
        let skipped = failures.len().saturating_sub(MAX_FAILED);
        for failure in &failures[skipped..] {
            let Some(run) = self.runs.get(&id) else { return };
            let tasks = failure.index..failure.index.saturating_add(failure.count.max(1));
            let info = describe_tasks((id, run), tasks, hands.clone());
            self.failed.push(PoolTaskInfo { failure: Some(failure.clone()), ..info });
        }
    }
}

/// A worker and its host, by their names.
#[derive(Debug, Clone, Default)]
pub(super) struct Hands {
    worker: String,
    host: String,
}

fn describe_tasks((id, run): (RunId, &Run), tasks: Range<u32>, hands: Hands) -> PoolTaskInfo {
    PoolTaskInfo {
        place: Some(PoolTaskPlace { run: id, start: tasks.start }),
        run: id,
        start: tasks.start,
        count: tasks.end - tasks.start,
        task: run.task.name.clone(),
        worker: hands.worker,
        host: hands.host,
        failure: None,
    }
}
