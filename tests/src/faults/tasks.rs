//! Pools that the processes of a group share: each submits tasks, and has a worker that executes anybody's. A task
//! counts its executions, and its submitter writes down its outcome: both are judged together in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::atomic::Ordering,
    time::Duration,
};

use fastrand::Rng;
use mp_manager::{Manager, Pool, Result, TaskFailure, task};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{sleep, timeout};

use super::{
    record::{Outcome, Settled, Submitted},
    workloads::Work,
};

/// A pool is used for as many slices of time.
const SLICES: u64 = 4;
/// Of so many rounds one submits tasks.
const ROUNDS: u8 = 4;
/// Of so many submitters one kills its worker meanwhile.
const KILLS: u8 = 12;
/// How long the workers of a pool have to end.
const FAREWELL: Duration = Duration::from_secs(5);
/// Most tasks take no longer, and some longer than a worker keeps those behind them waiting.
const SHORT_TASK_US: u64 = 4_000;
const LONG_TASK_US: u64 = 80_000;

#[task]
async fn execute_once(dict: String, task: u64, time_us: u64) -> Result<(u64, u64)> {
    execute(dict, task, time_us).await
}

#[task(idempotent, attempts = 100)]
async fn execute_again(dict: String, task: u64, time_us: u64) -> Result<(u64, u64)> {
    execute(dict, task, time_us).await
}

/// Counts the execution in between, so that a worker may be lost before and after.
async fn execute(dict: String, task: u64, time_us: u64) -> Result<(u64, u64)> {
    let half = Duration::from_micros(time_us / 2);
    sleep(half).await;
    let executions = Manager::current().await?.dict::<u64, u64>(dict).await?;
    let executions = executions.add(&task, &1).await?;
    sleep(half).await;
    Ok((task, executions))
}

/// The dict in which the tasks of a pool count their executions.
pub(crate) fn executions_of(pool: &str) -> String {
    format!("executions of {pool}")
}

impl Work<'_> {
    /// Submits tasks to the pool of its group, and has a worker for it.
    pub(super) async fn submit(&self, mut dice: Rng) {
        let mut current: Option<(String, Pool)> = None;
        let mut n = 0;
        while self.goes_on(&mut dice).await {
            if dice.u8(..ROUNDS) > 0 {
                continue;
            }
            let name = format!("pool-{}-{}", self.world.group, self.world.slice() / SLICES);
            if current.as_ref().is_none_or(|(last, _)| *last != name) {
                // The worker of the last one is killed, whatever it executes.
                current = None;
                let builder = Pool::builder().processes(1).manager(&self.session.manager);
                let Some(pool) = self.session.open(builder.name(&name).start()).await else {
                    continue;
                };
                current = Some((name, pool));
            }
            let Some((name, pool)) = &current else { continue };
            let tasks = (0..dice.u8(1..8)).map(|_| self.unique(&mut n)).collect();
            let tasks = Submitted { pool: name.clone(), is_idempotent: dice.bool(), tasks };
            let outcomes = outcomes(pool, tasks.clone(), dice.fork());
            let kills = dice.u8(..KILLS) == 0;
            let kill = async {
                if kills {
                    sleep(Duration::from_micros(dice.u64(..LONG_TASK_US))).await;
                    kill_workers(pool);
                }
            };
            tokio::join!(self.session.submit(tasks, outcomes), kill);
        }
        // All processes stop. A worker that is killed keeps its session until the lease runs out, and the judge
        // waits for that.
        if let Some((_, pool)) = current
            && self.stop.load(Ordering::Relaxed)
            && pool.close().await.is_ok()
        {
            let _ = timeout(FAREWELL, pool.join()).await;
        }
    }
}

async fn outcomes(pool: &Pool, submitted: Submitted, mut dice: Rng) -> Result<Settled> {
    let Submitted { pool: name, is_idempotent, tasks } = submitted;
    let chunk_size = usize::from(dice.u8(1..4));
    let inputs = tasks.into_iter().map(move |task| {
        let longest = if dice.u8(..8) == 0 { LONG_TASK_US } else { SHORT_TASK_US };
        (executions_of(&name), task, dice.u64(..longest))
    });
    let outcomes = if is_idempotent {
        pool.starmap(execute_again, inputs).chunk_size(chunk_size).results().await
    } else {
        pool.starmap(execute_once, inputs).chunk_size(chunk_size).results().await
    };
    Ok(Settled { outcomes: outcomes?.into_iter().map(outcome).collect() })
}

fn outcome(outcome: std::result::Result<(u64, u64), TaskFailure>) -> Outcome {
    match outcome {
        Ok((task, executions)) => Outcome { task, executions, ..Outcome::default() },
        Err(failure) => Outcome {
            is_lost: matches!(failure, TaskFailure::WorkerLost { .. }),
            is_error: matches!(failure, TaskFailure::Failed { .. }),
            failure: failure.to_string(),
            ..Outcome::default()
        },
    }
}

/// Another one takes the place of each.
fn kill_workers(pool: &Pool) {
    let pids = pool.pids().into_iter().filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    for pid in pids {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Tasks that were submitted together.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) tasks: Submitted,
    /// Absent if its session, or its process, ended before.
    pub(crate) outcomes: Option<Vec<Outcome>>,
}

/// The sums over all tasks.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    submitted: u64,
    succeeded: u64,
    /// They returned an error: their own calls failed.
    failed: u64,
    /// Their worker was lost.
    lost: u64,
    /// Their submitter was lost, and nobody knows.
    unknown: u64,
    executed: u64,
    executions: u64,
    pub(crate) problems: Vec<String>,
    /// The errors that tasks returned.
    pub(crate) errors: Vec<String>,
}

impl Tasks {
    /// What was written against how often each task was executed.
    pub(crate) fn judge(runs: &[Run], executions: &BTreeMap<u64, u64>) -> Self {
        let mut sums = Self {
            executed: executions.len() as u64,
            executions: executions.values().sum(),
            ..Self::default()
        };
        let mut submitted: BTreeSet<u64> = BTreeSet::new();
        for Run { tasks: Submitted { is_idempotent, tasks, .. }, outcomes } in runs {
            sums.submitted += tasks.len() as u64;
            submitted.extend(tasks);
            let count = |task| executions.get(task).copied().unwrap_or_default();
            for task in tasks.iter().filter(|task| !is_idempotent && count(task) > 1) {
                let n = count(task);
                sums.problem(format!("task {task} is not idempotent, and was executed {n} times"));
            }
            let Some(outcomes) = outcomes else {
                sums.unknown += tasks.len() as u64;
                continue;
            };
            if tasks.len() != outcomes.len() {
                sums.problem(format!("{} tasks have {} outcomes", tasks.len(), outcomes.len()));
            }
            for (task, outcome) in tasks.iter().zip(outcomes) {
                sums.add(*task, outcome, *is_idempotent, count(task));
            }
        }
        for task in executions.keys().filter(|task| !submitted.contains(task)) {
            sums.problem(format!("task {task} was executed, and nobody has submitted it"));
        }
        sums
    }

    fn add(&mut self, task: u64, outcome: &Outcome, is_idempotent: bool, executions: u64) {
        let Outcome { failure, .. } = outcome;
        if outcome.is_lost && !is_idempotent {
            self.lost += 1;
        } else if outcome.is_error {
            self.failed += 1;
            self.errors.push(format!("TaskFailed: {failure}"));
        } else if !failure.is_empty() {
            self.problem(format!("task {task} (idempotent: {is_idempotent}) {failure}"));
        } else {
            self.succeeded += 1;
            if outcome.task != task {
                self.problem(format!("task {task} has the outcome of task {}", outcome.task));
            } else if !(1..=executions).contains(&outcome.executions) {
                let told = outcome.executions;
                self.problem(format!("task {task}: execution {told} of {executions} succeeded"));
            }
        }
    }

    fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { submitted, succeeded, failed, lost, unknown, executed, executions, .. } = self;
        write!(
            f,
            "tasks of pools: {submitted} submitted, {succeeded} succeeded, {failed} failed, {lost} lost with \
             their worker, {unknown} with their submitter; {executed} executed, {executions} times"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(is_idempotent: bool, outcomes: &[Outcome], executions: &[(u64, u64)]) -> usize {
        let tasks = Submitted { pool: "pool".into(), is_idempotent, tasks: vec![1, 2] };
        let run = Run { tasks, outcomes: Some(outcomes.to_vec()) };
        Tasks::judge(&[run], &executions.iter().copied().collect()).problems.len()
    }

    fn done(task: u64, executions: u64) -> Outcome {
        Outcome { task, executions, ..Outcome::default() }
    }

    fn lost() -> Outcome {
        Outcome { is_lost: true, failure: "may have been executed".into(), ..Outcome::default() }
    }

    #[test]
    fn what_a_pool_may_do_is_no_problem() {
        assert_eq!(problems(false, &[done(1, 1), lost()], &[(1, 1)]), 0);
        assert_eq!(problems(false, &[done(1, 1), lost()], &[(1, 1), (2, 1)]), 0);
        assert_eq!(problems(true, &[done(1, 1), done(2, 2)], &[(1, 3), (2, 2)]), 0);
    }

    #[test]
    fn what_a_pool_may_not_do_is_a_problem() {
        let both = [done(1, 1), done(2, 1)];
        assert_eq!(problems(false, &both, &[(1, 1)]), 1, "not executed");
        assert_eq!(problems(false, &both, &[(1, 2), (2, 1)]), 1, "executed twice");
        assert_eq!(
            problems(true, &[done(1, 1), lost()], &[(1, 1), (2, 1)]),
            1,
            "idempotent, and lost"
        );
        assert_eq!(problems(true, &both[..1], &[(1, 1), (2, 1)]), 1, "no outcome");
        assert_eq!(problems(true, &[done(2, 1), done(1, 1)], &[(1, 1), (2, 1)]), 2, "mixed up");
        assert_eq!(problems(true, &both, &[(1, 1), (2, 1), (3, 1)]), 1, "not submitted");
    }
}
