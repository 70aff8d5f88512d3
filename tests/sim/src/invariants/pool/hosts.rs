//! Who is drained or retired is handed nothing more, and what a pool says of its hosts, its workers and its tasks agrees
//! with what they know of themselves.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::{Rc, Weak},
};

use mp_manager::simulation::Standing;
use mp_manager_core::v1::{PoolStatus, PoolTasks};

use super::{Life, Pools, stands};

/// A host that attends in one session.
#[derive(Default)]
pub(crate) struct Stay {
    pub(crate) name: String,
    pub(crate) session: RefCell<Weak<Standing>>,
    /// How often the manager had started when it came.
    pub(crate) came_at: usize,
    /// Its workers are handed no token above this one: the manager has confirmed that it is drained.
    pub(crate) drained_from: Cell<Option<u64>>,
    /// An operator has asked to have it drained.
    pub(crate) is_drained: Cell<bool>,
}

impl Stay {
    /// Whether it attends, as it knows itself.
    pub(crate) fn goes_on(&self) -> bool {
        stands(&self.session)
    }

    /// Whether its host has not attended in another session, and not died.
    pub(crate) fn is_last(&self) -> bool {
        self.session.borrow().strong_count() > 0
    }
}

/// What is known outside of the manager, when nothing changes any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Census {
    /// How many workers each host has, and whether it was drained.
    hosts: BTreeMap<String, (u64, bool)>,
    workers: u64,
}

impl Pools {
    /// The processes that share a machine with this one.
    pub(crate) fn machine(&self, process: usize) -> BTreeSet<usize> {
        let alive = || self.lives.iter().filter(|life| !life.is_dead.get());
        let host = alive().find(|life| life.process == process).and_then(|life| life.host.get());
        let host = host.unwrap_or(process);
        let wards = alive().filter(|life| life.host.get() == Some(host)).map(|life| life.process);
        wards.chain([host, process]).collect()
    }

    /// Who is there. At rest whoever has lost its session has noticed.
    pub(crate) fn census(&self, stays: &[Rc<Stay>]) -> Census {
        let works = |life: &&Rc<Life>| life.has_enlisted.get() && !life.is_dead.get();
        let of_stay = |stay: &Rc<Stay>| {
            let is_its = |life: &&Rc<Life>| {
                life.stay.borrow().as_ref().is_some_and(|other| Rc::ptr_eq(other, stay))
            };
            let workers = self.lives.iter().filter(works).filter(is_its).count() as u64;
            (stay.name.clone(), (workers, stay.is_drained.get()))
        };
        Census {
            hosts: stays.iter().filter(|stay| stay.is_last()).map(of_stay).collect(),
            workers: self.lives.iter().filter(works).count() as u64,
        }
    }

    /// The processes that work: others in their place are as many.
    pub(crate) fn workers(&self) -> Vec<usize> {
        let works = |life: &&Rc<Life>| life.has_enlisted.get() && !life.is_dead.get();
        self.lives.iter().filter(works).map(|life| life.process).collect()
    }

    /// What a pool says while anything may happen.
    pub(crate) fn says(&mut self, status: &PoolStatus, names: &BTreeSet<String>) {
        let wrong = self.look_at_status(status, names).err();
        self.violations.extend(wrong.map(|wrong| format!("the pool's status: {wrong}")));
    }

    fn look_at_status(&self, status: &PoolStatus, names: &BTreeSet<String>) -> Result<(), String> {
        let tasks: u64 = self.runs.values().map(|submitted| u64::from(submitted.run.count)).sum();
        let PoolStatus { workers, queued, running, runs, done, failed, held, .. } = *status;
        // Whatever was submitted is at one place.
        if queued.saturating_add(running).saturating_add(done) > tasks {
            return Err(format!(
                "{queued} queued, {running} running, {done} done of {tasks} tasks"
            ));
        }
        if failed > done || held > runs {
            return Err(format!("{failed} failed of {done} done, {held} held of {runs} runs"));
        }
        let mut sessions = BTreeSet::new();
        for host in &status.hosts {
            if !names.contains(&host.name) {
                return Err(format!("nobody is the host {}", host.name));
            }
            if !sessions.insert(host.session) {
                return Err(format!("session {} is two hosts", host.session));
            }
        }
        let of_hosts: u64 = status.hosts.iter().map(|host| u64::from(host.workers)).sum();
        let in_hands: u64 = status.hosts.iter().map(|host| host.running).sum();
        if of_hosts > workers || in_hands > running {
            return Err(format!(
                "hosts have {of_hosts} of {workers} workers, and {in_hands} of {running} tasks"
            ));
        }
        Ok(())
    }

    /// What a pool says when nothing has happened for long.
    pub(crate) fn says_at_rest(&mut self, status: &PoolStatus, census: &Census) {
        let of_host = |host: &mp_manager_core::v1::PoolHost| {
            (host.name.clone(), (u64::from(host.workers), host.is_drained))
        };
        let said =
            Census { hosts: status.hosts.iter().map(of_host).collect(), workers: status.workers };
        if said != *census {
            self.violations.push(format!("the pool has {census:?}, and says {said:?}"));
        }
        let PoolStatus { queued, running, runs, held, .. } = *status;
        if (queued, running, runs, held) != (0, 0, 0, 0) {
            self.violations.push(format!(
                "everything is answered, and {runs} runs are there: {queued} tasks queued, {running} running, \
                 {held} held"
            ));
        }
        let in_hands: u64 = status.hosts.iter().map(|host| host.running).sum();
        if in_hands > 0 {
            self.violations.push(format!("hosts have {in_hands} tasks that nobody submitted"));
        }
        self.look_at_done(status);
    }

    /// Each task of this start has had one outcome, or its submitter has given it up.
    fn look_at_done(&mut self, status: &PoolStatus) {
        let (mut least, mut most, mut failed) = (0, 0, 0);
        for submitted in self.runs.values() {
            let count = u64::from(submitted.run.count);
            match submitted.answered {
                Some((start, failures)) if start == self.started => {
                    least += count;
                    failed += failures;
                }
                Some(_) => {}
                None => most += count,
            }
        }
        most += least;
        let is_right = (least..=most).contains(&status.done) && status.failed >= failed;
        if !is_right {
            self.violations.push(format!(
                "{} tasks are done, {} of them failed: there are {least} to {most}, and {failed} at least",
                status.done, status.failed
            ));
        }
    }

    /// A page of tasks that are not done.
    pub(crate) fn lists(&mut self, tasks: &PoolTasks, names: &BTreeSet<String>) {
        let mut last = None;
        for task in &tasks.tasks {
            let place = task.place.map(|place| (place.run, place.start));
            if place <= last {
                self.violations.push(format!("task {place:?} is listed after {last:?}"));
            }
            last = place;
            if !task.host.is_empty() && !names.contains(&task.host) {
                self.violations.push(format!("{} has task {place:?}, and is no host", task.host));
            }
        }
    }
}
