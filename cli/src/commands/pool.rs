//! `mp-manager pool`

use clap::{Args, Subcommand};
use mp_manager::{
    Manager, Pool as Proxy,
    process::{PoolHost, PoolStatus, PoolTasks},
};
use serde_json::{Value, json};

use crate::{
    error::Error,
    json::kind_name,
    options::{Format, Options},
    output::{print, print_line, print_rows},
    table::table,
};

/// Look at pools of workers, and say how many they are to be
#[derive(Debug, Args)]
pub(crate) struct Pool {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the pools
    Ls,
    /// Show how far a pool is, and its hosts
    Status {
        /// The name of the pool
        name: String,
    },
    /// List the tasks that are not done, and where they are
    Tasks {
        /// The name of the pool
        name: String,
        /// List the last tasks that failed instead, 100 at most, with their errors
        #[arg(long)]
        failed: bool,
    },
    /// Have the workers of a host finish what they have in hand, and leave
    ///
    /// The host leaves after them: `mp-manager worker` ends there with 0. What is submitted meanwhile waits
    /// for others.
    Drain {
        /// The name of the pool
        name: String,
        /// This host alone
        #[arg(long, value_name = "HOST", conflicts_with = "all")]
        host: Option<String>,
        /// All hosts: nobody is left to work until others come
        #[arg(long)]
        all: bool,
    },
    /// Change the number of workers
    ///
    /// Workers that are too many finish what they have in hand. A host that comes later has as many as it was
    /// started with.
    Resize {
        /// The name of the pool
        name: String,
        /// The number of workers of the pool, shared among its hosts in proportion to what they were started with; with
        /// --host, of that host
        workers: u32,
        /// Resize this host alone, and leave the others as they are
        #[arg(long, value_name = "HOST")]
        host: Option<String>,
    },
}

impl Pool {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let format = options.output;
        match self.action {
            Action::Ls => {
                let pools = options.session("pool ls", async |manager| list(manager).await).await?;
                print_rows(format, LS_HEADINGS, &pools, ls_row, |(name, status)| {
                    status_json(name, status)
                })
            }
            Action::Status { name } => {
                let status = async |pool: Proxy| pool.status().await;
                let status = with(options, "pool status", &name, status).await?;
                match format {
                    Format::Table => print(&status_text(&name, &status)),
                    Format::Json => print_line(&status_json(&name, &status).to_string()),
                }
            }
            Action::Tasks { name, failed: false } => {
                let tasks = async |pool: Proxy| pool.tasks().await;
                let tasks = with(options, "pool tasks", &name, tasks).await?;
                print_rows(format, TASKS_HEADINGS, &tasks, task_row, task_json)
            }
            Action::Tasks { name, failed: true } => {
                let tasks = async |pool: Proxy| pool.failed_tasks().await;
                let tasks = with(options, "pool tasks", &name, tasks).await?;
                print_rows(format, FAILED_HEADINGS, &tasks, failed_row, task_json)
            }
            Action::Drain { host: None, all: false, .. } => Err(Error::Usage(
                "pool drain: which host? --host HOST, or --all for all of them".into(),
            )),
            Action::Drain { name, host, .. } => {
                let drain = async |pool: Proxy| pool.drain(host.as_deref()).await;
                with(options, "pool drain", &name, drain).await
            }
            Action::Resize { name, workers, host } => {
                let workers = workers as usize;
                let resize = async |pool: Proxy| pool.resize_hosts(workers, host.as_deref()).await;
                with(options, "pool resize", &name, resize).await
            }
        }
    }
}

/// Does something with a pool that there is.
async fn with<T>(
    options: &Options,
    purpose: &str,
    name: &str,
    act: impl AsyncFnOnce(Proxy) -> mp_manager::Result<T>,
) -> Result<T, Error> {
    let act = async |manager: &Manager| Ok(act(Proxy::existing(manager, name).await?).await?);
    options.session(purpose, act).await
}

async fn list(manager: &Manager) -> Result<Vec<(String, PoolStatus)>, Error> {
    let mut objects = manager.iter_objects("");
    let mut pools = Vec::new();
    while let Some(object) = objects.next().await? {
        // Those are of hosts, for the processes that others start there.
        if kind_name(object.kind()) != "pool" || object.name.starts_with("mp-manager/") {
            continue;
        }
        match Proxy::existing(manager, &object.name).await {
            Ok(pool) => pools.push((object.name, pool.status().await?)),
            // It is gone meanwhile.
            Err(mp_manager::Error::ObjectNotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(pools)
}

const LS_HEADINGS: [&str; 7] = ["NAME", "STATE", "HOSTS", "WORKERS", "QUEUED", "RUNNING", "FAILED"];
const HOST_HEADINGS: [&str; 6] = ["HOST", "STATE", "WORKERS", "CAPACITY", "RUNNING", "LOAD"];
const TASKS_HEADINGS: [&str; 6] = ["RUN", "TASKS", "TASK", "STATE", "WORKER", "HOST"];
const FAILED_HEADINGS: [&str; 6] = ["RUN", "TASKS", "TASK", "WORKER", "HOST", "ERROR"];

fn state(status: &PoolStatus) -> &'static str {
    match status {
        PoolStatus { broken: Some(_), .. } => "broken",
        PoolStatus { is_closed: true, .. } => "closed",
        _ => "open",
    }
}

fn ls_row((name, status): &(String, PoolStatus)) -> [String; 7] {
    [
        name.clone(),
        state(status).into(),
        status.hosts.len().to_string(),
        status.workers.to_string(),
        status.queued.to_string(),
        status.running.to_string(),
        status.failed.to_string(),
    ]
}

fn status_text(name: &str, status: &PoolStatus) -> String {
    let mut rows = vec![
        ["state".into(), state(status).into()],
        ["workers".into(), status.workers.to_string()],
        ["queued".into(), format!("{} tasks", status.queued)],
        ["running".into(), format!("{} tasks", status.running)],
        ["done".into(), format!("{} tasks, of which {} failed", status.done, status.failed)],
    ];
    if let Some(why) = &status.broken {
        rows.push(["broken".into(), why.clone()]);
    }
    if status.held > 0 {
        let missing = match &status.missing[..] {
            [] => "the hosts of before".into(),
            names => format!("{} (or agents with these names)", names.join(", ")),
        };
        let held = format!(
            "{} runs: the manager has started again, and they may be executed somewhere until {missing} are back, or \
             for 5 minutes",
            status.held
        );
        rows.push(["held".into(), held]);
    }
    for host in &status.hosts {
        if let Some(why) = &host.trouble {
            rows.push([format!("host {}", host.name), why.clone()]);
        }
    }
    let hosts = status.hosts.iter().map(host_row).collect();
    table(["POOL", name], rows) + "\n" + &table(HOST_HEADINGS, hosts)
}

fn host_row(host: &PoolHost) -> [String; 6] {
    [
        host.name.clone(),
        match host {
            PoolHost { is_drained: true, .. } => "drains",
            PoolHost { trouble: Some(_), .. } => "fails",
            _ => "works",
        }
        .into(),
        format!("{} of {}", host.workers, host.wanted),
        host.capacity.to_string(),
        host.running.to_string(),
        format!("{:.2}", host.load),
    ]
}

fn status_json(name: &str, status: &PoolStatus) -> Value {
    let host = |host: &PoolHost| {
        json!({
            "name": host.name, "capacity": host.capacity, "wanted": host.wanted, "workers": host.workers,
            "running": host.running, "load": host.load, "drained": host.is_drained,
            "trouble": host.trouble,
        })
    };
    json!({
        "name": name, "state": state(status), "workers": status.workers, "queued": status.queued,
        "running": status.running, "done": status.done, "failed": status.failed, "held": status.held,
        "missing": status.missing,
        "broken": status.broken, "hosts": status.hosts.iter().map(host).collect::<Vec<_>>(),
    })
}

fn range(tasks: &PoolTasks) -> String {
    match tasks.tasks.len() {
        1 => tasks.tasks.start.to_string(),
        _ => format!("{} to {}", tasks.tasks.start, tasks.tasks.end.saturating_sub(1)),
    }
}

fn task_row(tasks: &PoolTasks) -> [String; 6] {
    [
        tasks.run.to_string(),
        range(tasks),
        tasks.task.clone(),
        if tasks.worker.is_empty() { "queued" } else { "running" }.into(),
        tasks.worker.clone(),
        tasks.host.clone(),
    ]
}

fn failed_row(tasks: &PoolTasks) -> [String; 6] {
    let error = tasks.failure.as_ref().map(ToString::to_string);
    [
        tasks.run.to_string(),
        range(tasks),
        tasks.task.clone(),
        tasks.worker.clone(),
        tasks.host.clone(),
        error.unwrap_or_default(),
    ]
}

fn task_json(tasks: &PoolTasks) -> Value {
    json!({
        "run": tasks.run, "first": tasks.tasks.start, "count": tasks.tasks.len(), "task": tasks.task,
        "worker": tasks.worker, "host": tasks.host,
        "error": tasks.failure.as_ref().map(ToString::to_string),
    })
}
