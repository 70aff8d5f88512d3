//! How agents and their workers end, and what is left then.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use mp_manager::{Pool, Process, task};
use rustix::process::Signal;

use super::{
    PATIENCE, POOL, agent, agent_for_commands, connect, inputs, is_running, square, start_quietly,
    until, until_gone, until_there, wait_for, worker,
};
use crate::fixture::{Daemon, Home, Running, finish};

#[task(idempotent)]
fn own_id() -> u32 {
    std::process::id()
}

/// An agent whose workers are a shell that never comes to `init()`.
fn agent_of_script(daemon: &Daemon, script: &str) -> Running {
    let arguments = ["worker", "--pool", POOL, "--name", "a", "--processes", "1", "--exec", "sh"];
    let mut command = daemon.command(&arguments);
    Running::start(command.args(["--", "-c", script]).stderr(Stdio::null()))
}

/// Reads the id that a process writes into a file.
async fn id_in(file: &Path) -> u32 {
    let begun = Instant::now();
    loop {
        let id = fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'));
        if let Some(id) = id {
            return id.trim().parse().unwrap();
        }
        assert!(begun.elapsed() < PATIENCE, "no process writes {}", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_outlast_a_manager_that_stops_for_less_than_the_lease() {
    let daemon = Daemon::start_in(Home::new(), "127.0.0.1:0", &[]);
    let manager = connect(&daemon).await;
    let _agent = agent(&daemon, "a", 1);
    let pool = Pool::open(&manager, POOL).await.unwrap();
    let before = pool.apply(own_id, ()).await.unwrap();
    let file = daemon.home.path("go");
    // It must not run twice, and its result comes after all.
    let task = pool.apply_async(wait_for, (file.clone(),));
    until_there(&file.with_extension("begun")).await;
    for pause in [4, 6] {
        daemon.process.stop();
        tokio::time::sleep(Duration::from_secs(pause)).await;
        daemon.process.signal(Signal::CONT);
        until(&pool, |status| status.workers == 1).await;
    }
    fs::write(&file, "").unwrap();
    assert!(tokio::time::timeout(PATIENCE, task.get()).await.unwrap().unwrap());
    assert_eq!(pool.apply(own_id, ()).await.unwrap(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_has_lost_its_name_drains_nobody_else() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let pool = Pool::open(&manager, POOL).await.unwrap();
    let mut first = agent(&daemon, "a", 1);
    let before = until(&pool, |status| status.workers == 1).await.hosts[0].clone();
    // Until its lease is over.
    first.stop();
    let mut successor = agent(&daemon, "a", 2);
    until(&pool, |status| {
        let host = status.hosts.first();
        host.is_some_and(|host| host.capacity > before.capacity && host.workers == 2)
    })
    .await;
    first.signal(Signal::CONT);
    first.signal(Signal::TERM);
    assert_eq!(first.wait_at_most(PATIENCE).code(), Some(0));
    let status = pool.status().await.unwrap();
    assert!(!status.hosts[0].is_drained && status.hosts[0].workers == 2, "{status:?}");
    assert!(successor.is_running());
    // And what it starts for others is still there.
    let started = Process::new(own_id, ()).on(&pool, "a").start().await.unwrap();
    started.join().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_without_a_manager_ends_with_the_lease() {
    let mut daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let pool = Pool::open(&manager, POOL).await.unwrap();
    let mut agent = agent(&daemon, "a", 2);
    until(&pool, |status| status.workers == 2).await;
    daemon.process.signal(Signal::KILL);
    daemon.process.wait();
    agent.signal(Signal::TERM);
    // The lease is 10 s, and a call that waits for a manager a minute.
    assert_eq!(agent.wait_at_most(Duration::from_secs(40)).code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_starting_ends_with_its_agent() {
    let daemon = Daemon::start();
    for signal in [Signal::TERM, Signal::KILL] {
        let file = daemon.home.path(&format!("pid-{}", signal.as_raw()));
        let script = format!("echo $$ >{}; exec sleep 1000", file.display());
        let mut agent = agent_of_script(&daemon, &script);
        let pid = id_in(&file).await;
        assert!(is_running(pid));
        agent.signal(signal);
        // It would be waited for for 10 s.
        agent.wait_at_most(Duration::from_secs(8));
        until_gone(pid).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_manager_hears_at_once_of_workers_that_are_killed_and_keeps_nothing_of_a_host() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let pool = Pool::open(&manager, POOL).await.unwrap();
    for is_killed in [true, false] {
        let mut agent = agent(&daemon, "a", 1);
        let file = daemon.home.path("never");
        let _ = fs::remove_file(file.with_extension("begun"));
        let task = is_killed.then(|| pool.apply_async(wait_for, (file.clone(),)));
        if is_killed {
            until_there(&file.with_extension("begun")).await;
        }
        until(&pool, |status| status.workers == 1).await;
        agent.signal(Signal::TERM);
        if is_killed {
            until(&pool, |status| status.hosts.first().is_some_and(|host| host.is_drained)).await;
            agent.signal(Signal::TERM);
        }
        agent.wait_at_most(PATIENCE);
        // Now, and not with a lease.
        let status = pool.status().await.unwrap();
        assert!(status.hosts.is_empty() && status.running == 0, "{status:?}");
        if let Some(task) = task {
            assert!(task.get().await.is_err());
            let failed = pool.failed_tasks().await.unwrap();
            assert_eq!((&*failed[0].host, &*failed[0].worker), ("a", "a-1"));
        }
        assert!(!daemon.run(&["ls"]).printed().contains("mp-manager/"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_on_a_host_has_started_ends_with_it() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let _host = agent_for_commands(&daemon);
    let pool = Pool::open(&manager, POOL).await.unwrap();
    until(&pool, |status| status.workers == 1).await;
    let file = daemon.home.path("pid");
    let script = format!("sleep 1000 & echo $! >{}", file.display());
    let process = Process::command("sh").args(["-c", &script]).on(&pool, "a").start().await;
    process.unwrap().join().await.unwrap();
    until_gone(id_in(&file).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_the_wrong_program_harms_nobody() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let pool = Pool::open(&manager, POOL).await.unwrap();
    let map = pool.starmap_async(square, inputs(&daemon.home.path(""), 10));
    for wrong in ["true", "no-such-program"] {
        let arguments = ["worker", "--pool", POOL, "--processes", "1", "--exec", wrong];
        let code = if wrong == "true" { 1 } else { 127 };
        let mut command = daemon.command(&arguments);
        let error = finish(command.env("MP_MANAGER_LOG", "error")).failed(code);
        assert!(error.contains(wrong), "{error}");
    }
    let _right = agent(&daemon, "a", 1);
    assert_eq!(tokio::time::timeout(PATIENCE, map.get()).await.unwrap().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_why_workers_do_not_come() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let pool = Pool::open(&manager, POOL).await.unwrap();
    let program = daemon.home.path("program");
    let own = std::env::current_exe().unwrap();
    std::os::unix::fs::symlink(own, &program).unwrap();
    let mut arguments = worker("a", 1);
    let exec = arguments.iter().position(|word| word == "--exec").unwrap();
    arguments[exec + 1] = program.to_str().unwrap().to_owned();
    let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
    let mut agent = start_quietly(daemon.command(&arguments));
    let pid = pool.apply(own_id, ()).await.unwrap();
    // Where one has come, the agent goes on trying.
    fs::remove_file(&program).unwrap();
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(pid.try_into().unwrap()).unwrap(),
        Signal::KILL,
    )
    .unwrap();
    let is_known = |why: &String| why.contains("program");
    let status = until(&pool, |status| {
        status.hosts.first().and_then(|host| host.trouble.as_ref()).is_some_and(is_known)
    })
    .await;
    assert_eq!(status.broken, None);
    let text = daemon.run(&["pool", "status", POOL]).printed();
    assert!(text.contains("\na     fails  0 of 1"), "{text}");
    assert!(agent.is_running());
    // It is not said any longer than it is so.
    std::os::unix::fs::symlink(std::env::current_exe().unwrap(), &program).unwrap();
    let status = until(&pool, |status| status.workers == 1).await;
    assert_eq!(status.hosts[0].trouble, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_ours_does_not_see_the_authkey() {
    let daemon = Daemon::start();
    let key = fs::read_to_string(daemon.home.authkey()).unwrap();
    // It prints what it is sent: first what tells it from a program that only inherits the environment.
    let script = "dd bs=1 count=37 2>/dev/null; echo; timeout 1 cat; echo done; exec sleep 1000";
    let mut agent = agent_of_script(&daemon, script);
    let mut printed = String::new();
    while !printed.ends_with("done") {
        printed += &agent.line().unwrap();
    }
    assert!(printed.len() > "[a-1] [a-1] done".len() + 32, "{printed:?}");
    assert!(!printed.contains(key.trim()) && !printed.contains("MP_MANAGER"), "{printed:?}");
}

#[test]
fn what_a_worker_prints_before_it_has_come_has_its_name() {
    let daemon = Daemon::start();
    let mut agent = agent_of_script(&daemon, "echo early; exec sleep 1000");
    assert_eq!(agent.line().as_deref(), Some("[a-1] early"));
}

#[test]
fn workers_do_not_have_the_authkey_in_their_environment() {
    let daemon = Daemon::start();
    let key = fs::read_to_string(daemon.home.authkey()).unwrap();
    let script = "echo \"key: ${MP_MANAGER_AUTHKEY-none}\"; exec sleep 1000";
    let arguments = ["worker", "--pool", POOL, "--name", "a", "--processes", "1", "--exec", "sh"];
    let mut command = daemon.command(&arguments);
    command.args(["--", "-c", script]).env("MP_MANAGER_AUTHKEY", key.trim());
    let mut agent = Running::start(command.stderr(Stdio::null()));
    assert_eq!(agent.line().as_deref(), Some("[a-1] key: none"));
}

#[test]
fn an_agent_that_has_not_joined_yet_has_nothing_to_drain() {
    let home = Home::new();
    let arguments = ["worker", "--pool", POOL, "--exec", "true", "--address", "127.0.0.1:1"];
    let mut command = home.command(&arguments);
    command.env("MP_MANAGER_AUTHKEY", "a key of more than sixteen characters");
    let mut agent = Running::start(command.stderr(Stdio::piped()));
    assert!(agent.complaint().contains("trying again"));
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_at_most(PATIENCE).code(), Some(0));
}
