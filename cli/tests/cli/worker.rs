//! Agents. Their workers are this program, which comes to `place`; the test itself submits.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashMap,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use mp_manager::{
    Barrier, Error, Manager, Pool, Process, Queue, TaskFailure, process::PoolStatus, task,
};
use rustix::{
    fs::{FlockOperation, flock},
    process::Signal,
};

use crate::fixture::{Daemon, Home, Running, finish};

mod ends;

/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(100);
const POOL: &str = "crunch";

/// Where workers begin.
#[mp_manager::test]
#[ignore = "it is for workers"]
fn place() {}

/// Says that it has started, and makes sure that nobody executes the same beside it.
fn start(directory: &Path, n: u32) -> Result<std::fs::File, String> {
    let open = |name: &str| OpenOptions::new().create(true).append(true).open(directory.join(name));
    let lock = open(&format!("lock-{n}")).map_err(|error| error.to_string())?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| format!("{n} runs twice"))?;
    let started = format!("{n} {}\n", std::process::id());
    open("started")
        .and_then(|mut file| file.write_all(started.as_bytes()))
        .map_err(|error| error.to_string())?;
    Ok(lock)
}

#[task(idempotent, attempts = 10)]
fn square(directory: PathBuf, n: u32) -> Result<u32, String> {
    let _lock = start(&directory, n)?;
    sleep(Duration::from_millis(4));
    Ok(n * n)
}

/// Takes so long that a worker is hardly ever between two of them.
#[task(idempotent, attempts = 10)]
fn square_slowly(directory: PathBuf, n: u32) -> Result<u32, String> {
    let _lock = start(&directory, n)?;
    sleep(Duration::from_millis(25));
    Ok(n * n)
}

#[task]
fn once(directory: PathBuf, n: u32) -> Result<u32, String> {
    let _lock = start(&directory, n)?;
    sleep(Duration::from_millis(4));
    Ok(n * n)
}

/// Takes until there is a file.
#[task]
fn wait_for(file: PathBuf) -> bool {
    fs::write(file.with_extension("begun"), "").unwrap();
    let begun = Instant::now();
    while !file.exists() {
        sleep(Duration::from_millis(5));
        assert!(begun.elapsed() < PATIENCE);
    }
    true
}

#[task]
fn fail(n: u32) -> Result<u32, String> {
    Err(format!("no luck with {n}"))
}

/// The arguments that keep workers of this program on a host.
fn worker(name: &str, processes: usize) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let processes = processes.to_string();
    let ours = ["worker", "--pool", POOL, "--name", name, "--processes", &processes, "--exec"];
    let place = ["--", "worker::place", "--exact", "--include-ignored", "--nocapture", "-q"];
    let mut arguments: Vec<String> = ours.map(str::to_owned).into();
    arguments.push(program.to_str().unwrap().to_owned());
    arguments.extend(place.map(str::to_owned));
    arguments
}

fn agent(daemon: &Daemon, name: &str, processes: usize) -> Running {
    let arguments = worker(name, processes);
    start_quietly(daemon.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// An agent that starts any command for others.
fn agent_for_commands(daemon: &Daemon) -> Running {
    let mut arguments = worker("a", 1);
    arguments.insert(1, "--allow-commands".into());
    start_quietly(daemon.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
}

fn start_quietly(mut command: Command) -> Running {
    Running::start(command.stderr(Stdio::null()))
}

async fn connect(daemon: &Daemon) -> Manager {
    let builder = Manager::builder().authkey_file(daemon.home.authkey());
    builder.connect(&daemon.address).await.unwrap()
}

/// Waits until the pool is as far as that.
async fn until(pool: &Pool, is_there: impl Fn(&PoolStatus) -> bool) -> PoolStatus {
    let begun = Instant::now();
    loop {
        let status = pool.status().await.unwrap();
        if is_there(&status) {
            return status;
        }
        assert!(begun.elapsed() < PATIENCE, "the pool stays at {status:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How often each task was started, and by which processes.
fn started(directory: &Path) -> HashMap<u32, Vec<u32>> {
    let mut all: HashMap<u32, Vec<u32>> = HashMap::new();
    for line in fs::read_to_string(directory.join("started")).unwrap_or_default().lines() {
        let (n, pid) = line.split_once(' ').unwrap();
        all.entry(n.parse().unwrap()).or_default().push(pid.parse().unwrap());
    }
    all
}

/// Waits until as many tasks were started.
async fn until_started(directory: &Path, count: usize) {
    let begun = Instant::now();
    while started(directory).len() < count {
        assert!(begun.elapsed() < PATIENCE, "too few tasks were started");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_there(file: &Path) {
    let begun = Instant::now();
    while !file.exists() {
        assert!(begun.elapsed() < PATIENCE, "there is no {}", file.display());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn inputs(directory: &Path, count: u32) -> Vec<(PathBuf, u32)> {
    (0..count).map(|n| (directory.to_owned(), n)).collect()
}

/// Maps over two hosts, of which one is killed meanwhile: each result is there once, and what the dead had started
/// has run again.
async fn lose_a_host(pool: &Pool, directory: &Path, mut victim: Running) {
    until(pool, |status| status.workers == 8).await;
    let map = pool.starmap_async(square_slowly, inputs(directory, 600));
    until_started(directory, 100).await;
    victim.signal(Signal::KILL);
    victim.wait();
    let squares = tokio::time::timeout(PATIENCE, map.get()).await.unwrap().unwrap();
    assert!(squares.into_iter().eq((0..600).map(|n| n * n)));
    let again: Vec<_> = started(directory).into_values().filter(|pids| pids.len() > 1).collect();
    assert!(!again.is_empty(), "the kill has hit nothing");
    println!("{} tasks were started again after the kill", again.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_costs_nothing_that_may_run_twice() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let (victim, _other) = (agent(&daemon, "a", 4), agent(&daemon, "b", 4));
    let pool = Pool::open(&manager, POOL).await.unwrap();
    lose_a_host(&pool, &daemon.home.path(""), victim).await;
}

/// A home, and the file in it that has a key.
fn home_with_key() -> (Home, String) {
    let home = Home::new();
    let key = home.path("key").to_str().unwrap().to_owned();
    home.run(&["keygen", &key]).printed();
    (home, key)
}

/// A network namespace with a link to this one.
struct Namespace {
    name: String,
    link: String,
    /// The address of this side.
    gateway: String,
}

impl Namespace {
    /// `None` where they cannot be made.
    fn new(number: u8) -> Option<Self> {
        let name = format!("mp{}-{number}", std::process::id());
        let (link, peer) = (format!("{name}a"), format!("{name}b"));
        let net = format!("10.231.{}", 100 + number);
        let this = Self { link: link.clone(), gateway: format!("{net}.1"), name: name.clone() };
        let commands = [
            format!("netns add {name}"),
            format!("link add {link} type veth peer name {peer} netns {name}"),
            format!("addr add {net}.1/24 dev {link}"),
            format!("link set {link} up"),
            format!("-n {name} addr add {net}.2/24 dev {peer}"),
            format!("-n {name} link set {peer} up"),
            format!("-n {name} link set lo up"),
        ];
        commands.iter().all(|command| ip(command)).then_some(this)
    }

    fn cut(&self, is_cut: bool) {
        assert!(ip(&format!("link set {} {}", self.link, if is_cut { "down" } else { "up" })));
    }

    /// The same command within it.
    fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("ip");
        inside.args(["netns", "exec", &self.name]).arg(command.get_program());
        inside.args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
        inside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.name));
    }
}

fn ip(command: &str) -> bool {
    let ran = Command::new("ip").args(command.split(' ')).stderr(Stdio::null()).status();
    ran.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_in_namespaces_of_their_own_bear_a_kill_and_a_cut_network() {
    let (Some(first), Some(second)) = (Namespace::new(0), Namespace::new(1)) else {
        println!("skipped: network namespaces cannot be made here");
        return;
    };
    let (home, key) = home_with_key();
    let daemon = Daemon::start_in(home, "0.0.0.0:0", &["--authkey-file", &key]);
    let port = daemon.address.rsplit_once(':').unwrap().1.to_owned();
    let within = |namespace: &Namespace, name: &str| {
        let arguments = worker(name, 4);
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        let mut command = daemon.command(&arguments);
        command.env("MP_MANAGER_ADDRESS", format!("{}:{port}", namespace.gateway));
        command.env("MP_MANAGER_AUTHKEY_FILE", &key);
        start_quietly(namespace.command(&command))
    };
    let victim = within(&first, "a");
    let other = within(&second, "b");
    let builder = Manager::builder().authkey_file(&key);
    let manager = builder.connect(&format!("tls://{}", daemon.place())).await.unwrap();
    let pool = Pool::open(&manager, POOL).await.unwrap();
    until(&pool, |status| status.workers == 8).await;
    // For less than the lease: nobody notices.
    let directory = daemon.home.path("cut");
    fs::create_dir(&directory).unwrap();
    let map = pool.starmap_async(once, inputs(&directory, 1000));
    until_started(&directory, 100).await;
    second.cut(true);
    tokio::time::sleep(Duration::from_secs(2)).await;
    second.cut(false);
    let squares = tokio::time::timeout(PATIENCE, map.get()).await.unwrap().unwrap();
    assert!(squares.into_iter().eq((0..1000).map(|n| n * n)));
    assert!(started(&directory).values().all(|pids| pids.len() == 1));
    lose_a_host(&pool, &daemon.home.path(""), victim).await;
    drop(other);
}

/// A daemon that is killed, and another one in its place.
fn restart(mut daemon: Daemon) -> Daemon {
    daemon.process.signal(Signal::KILL);
    daemon.process.wait();
    let place = daemon.place();
    Daemon::start_in(daemon.home, &place, &[])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_and_runs_outlast_a_restart_of_the_manager() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let _hosts = [agent(&daemon, "a", 2), agent(&daemon, "b", 2)];
    let pool = Pool::open(&manager, POOL).await.unwrap();
    until(&pool, |status| status.workers == 4).await;
    let (twice, at_most_once) = (daemon.home.path("twice"), daemon.home.path("once"));
    fs::create_dir(&twice).unwrap();
    fs::create_dir(&at_most_once).unwrap();
    let map = pool.starmap_async(square, inputs(&twice, 1000));
    // Of a session of its own: so they take turns.
    let other = Pool::open(&connect(&daemon).await, POOL).await.unwrap();
    let risky = other.starmap(once, inputs(&at_most_once, 300)).results();
    let risky = tokio::spawn(risky.into_future());
    until_started(&twice, 100).await;
    until_started(&at_most_once, 20).await;

    let daemon = restart(daemon);
    let restarted = Instant::now();
    until(&pool, |status| status.hosts.len() == 2 && status.workers == 4).await;
    println!("both hosts were back after {:?}", restarted.elapsed());
    assert!(restarted.elapsed() < Duration::from_secs(30));

    let squares = tokio::time::timeout(PATIENCE, map.get()).await.unwrap().unwrap();
    assert!(squares.into_iter().eq((0..1000).map(|n| n * n)));
    let again = started(&twice).into_values().filter(|pids| pids.len() > 1).count();
    assert!(again > 0, "nothing was interrupted");
    let results = tokio::time::timeout(PATIENCE, risky).await.unwrap().unwrap().unwrap();
    let is_lost =
        |result: &&Result<u32, TaskFailure>| matches!(result, Err(TaskFailure::WorkerLost { .. }));
    let lost = results.iter().filter(is_lost).count();
    println!("{again} tasks were started again, {lost} are lost");
    assert!(lost > 0);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count() + lost, 300);
    assert!(started(&at_most_once).values().all(|pids| pids.len() == 1));
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_hosts_and_their_failures_and_say_how_many_work() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let (mut first, mut second) = (agent(&daemon, "a", 2), agent(&daemon, "b", 1));
    let pool = Pool::open(&manager, POOL).await.unwrap();
    until(&pool, |status| status.workers == 3).await;
    let status = daemon.run(&["pool", "status", POOL]).printed();
    assert!(status.contains("\na     works  2 of 2   2 "), "{status}");
    let error = pool.apply(fail, (7,)).await.unwrap_err();
    assert!(error.to_string().contains("no luck with 7"), "{error}");
    let failed = daemon.run(&["pool", "tasks", POOL, "--failed"]).printed();
    assert!(failed.contains("worker::fail") && failed.contains("no luck with 7"), "{failed}");

    daemon.run(&["pool", "resize", POOL, "6"]).printed();
    let status = until(&pool, |status| status.workers == 6).await;
    let shares: Vec<_> = status.hosts.iter().map(|host| (&*host.name, host.workers)).collect();
    assert_eq!(shares, [("a", 4), ("b", 2)]);
    let file = daemon.home.path("go");
    let task = pool.apply_async(wait_for, (file.clone(),));
    until_there(&file.with_extension("begun")).await;
    let tasks = daemon.run(&["pool", "tasks", POOL]).printed();
    assert!(tasks.contains("worker::wait_for  running"), "{tasks}");
    daemon.run(&["pool", "resize", POOL, "0"]).printed();
    // One is still at work.
    until(&pool, |status| status.workers == 1).await;
    fs::write(&file, "").unwrap();
    assert!(task.get().await.unwrap());
    until(&pool, |status| status.workers == 0).await;
    daemon.run(&["pool", "resize", POOL, "2", "--host", "a"]).printed();
    until(&pool, |status| status.workers == 2).await;

    let error = daemon.run(&["pool", "resize", POOL, "2", "--host", "z"]).failed(2);
    assert!(error.contains("\"z\"") && error.contains("a, b"), "{error}");
    daemon.run(&["pool", "status", "nothing"]).failed(3);
    daemon.run(&["pool", "drain", POOL, "--host", "a"]).printed();
    assert_eq!(first.wait_at_most(PATIENCE).code(), Some(0));
    second.signal(Signal::TERM);
    assert_eq!(second.wait_at_most(PATIENCE).code(), Some(0));
    until(&pool, |status| status.hosts.is_empty()).await;
}

#[task]
async fn meet(barrier: Barrier) -> mp_manager::Result<()> {
    barrier.wait_timeout(PATIENCE).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_come_later_have_as_much_to_do() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    // Nobody is there.
    let pool = Pool::open(&manager, POOL).await.unwrap();
    let _first = agent(&daemon, "a", 6);
    until(&pool, |status| status.workers == 6).await;
    // All at a time, or none gets on.
    let barrier = manager.barrier("six", 6).await.unwrap();
    pool.map(meet, vec![barrier; 6]).chunk_size(1).await.unwrap();
    // Also in the middle of a map.
    let inputs = (0..1000).map(|n| (daemon.home.path(""), n));
    let map = pool.starmap_async(square, inputs.collect::<Vec<_>>());
    let _second = agent(&daemon, "b", 6);
    until(&pool, |status| status.workers == 12).await;
    map.get().await.unwrap();
    let barrier = manager.barrier("twelve", 12).await.unwrap();
    pool.map(meet, vec![barrier; 12]).chunk_size(1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_is_one_hosts_alone() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let _first = agent(&daemon, "a", 1);
    let pool = Pool::open(&manager, POOL).await.unwrap();
    until(&pool, |status| status.workers == 1).await;
    let mut arguments = vec!["worker", "--timeout", "0.2"];
    let others = worker("a", 1);
    arguments.extend(others.iter().skip(1).map(String::as_str));
    let mut command = daemon.command(&arguments);
    let error = finish(command.env("MP_MANAGER_LOG", "error")).failed(2);
    assert!(error.contains("host \"a\"") && error.contains("--name"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_signal_drains_and_the_second_kills() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let pool = Pool::open(&manager, POOL).await.unwrap();
    for signals in [1, 2] {
        let mut agent = agent(&daemon, "a", 1);
        let file = daemon.home.path(&format!("go-{signals}"));
        let task = pool.apply_async(wait_for, (file.clone(),));
        until_there(&file.with_extension("begun")).await;
        agent.signal(Signal::TERM);
        until(&pool, |status| status.hosts.first().is_some_and(|host| host.is_drained)).await;
        assert!(agent.is_running());
        if signals == 1 {
            fs::write(&file, "").unwrap();
            assert!(task.get().await.unwrap());
            assert_eq!(agent.wait_at_most(PATIENCE).code(), Some(0));
        } else {
            agent.signal(Signal::TERM);
            assert_eq!(agent.wait_at_most(PATIENCE).code(), Some(128 + 15));
            let error = tokio::time::timeout(PATIENCE, task.get()).await.unwrap().unwrap_err();
            let Error::TaskFailed(error) = &error else { panic!("{error}") };
            assert!(matches!(error.failure(), TaskFailure::WorkerLost { .. }), "{error}");
        }
    }
}

#[test]
fn a_program_that_does_not_come_to_work_is_named() {
    let daemon = Daemon::start();
    let missing = ["worker", "--pool", POOL, "--exec", "./missing"];
    let error = daemon.run(&missing).failed(127);
    assert!(error.contains("./missing"), "{error}");
    let wrong = ["worker", "--pool", POOL, "--processes", "1", "--exec", "true"];
    let mut command = daemon.command(&wrong);
    let error = finish(command.env("MP_MANAGER_LOG", "error")).failed(1);
    assert!(error.contains(POOL) && error.contains("init()"), "{error}");
}

#[test]
fn an_agent_waits_for_its_manager() {
    let (home, key) = home_with_key();
    let socket = home.path("socket");
    let address = format!("unix:{}", socket.display());
    let arguments = worker("a", 1);
    let mut command = home.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let mut agent = Running::start(
        command
            .envs([("MP_MANAGER_ADDRESS", &address), ("MP_MANAGER_AUTHKEY_FILE", &key)])
            .stderr(Stdio::piped()),
    );
    assert!(agent.complaint().contains("trying again"));
    let daemon = Daemon::start_in(home, &address, &["--authkey-file", &key]);
    let status = || {
        let mut command = daemon.command(&["pool", "status", POOL, "--output", "json"]);
        finish(command.env("MP_MANAGER_AUTHKEY_FILE", &key)).stdout
    };
    while !status().contains("\"workers\":1") {}
    agent.signal(Signal::TERM);
    assert_eq!(agent.wait_at_most(PATIENCE).code(), Some(0));
}

/// Puts its process id into a queue, and stays if it is told to.
#[task]
async fn report_and_stay(processes: Queue<u32>, stays: bool) -> mp_manager::Result<()> {
    processes.put(std::process::id()).await?;
    if stays {
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_runs_on_a_host_and_ends_with_whoever_wants_it() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let mut host = agent(&daemon, "a", 1);
    let pool = Pool::open(&manager, POOL).await.unwrap();
    until(&pool, |status| status.workers == 1).await;
    let ids = manager.queue::<u32>("ids").await.unwrap();
    let process = |stays| Process::new(report_and_stay, (ids.clone(), stays)).on(&pool, "a");

    let first = process(false).start().await.unwrap();
    assert_eq!((ids.get().await.unwrap(), first.host()), (first.pid(), Some("a")));
    first.join().await.unwrap();
    assert_eq!(first.exit_code(), Some(0));

    let second = process(true).start().await.unwrap();
    assert!(is_running(ids.get().await.unwrap()) && second.is_alive());
    second.terminate().unwrap();
    assert!(second.join_timeout(PATIENCE).await.is_err());
    assert_eq!(second.exit_code(), Some(-15));
    let failing = Process::new(fail, (7,)).on(&pool, "a").start().await.unwrap();
    let error = failing.join().await.unwrap_err().to_string();
    assert!(error.contains("no luck with 7"), "{error}");

    // It ends with the session of its starter.
    let other = connect(&daemon).await;
    let theirs = Pool::open(&other, POOL).await.unwrap();
    let starts = Process::new(report_and_stay, (other.queue("ids").await.unwrap(), true));
    let _third = starts.on(&theirs, "a").start().await.unwrap();
    let pid = ids.get().await.unwrap();
    other.close().await.unwrap();
    until_gone(pid).await;

    let error = Process::command("true").on(&pool, "a").start().await.unwrap_err().to_string();
    assert!(error.contains("--allow-commands"), "{error}");
    let error = process(false).on(&pool, "z").start().await.unwrap_err().to_string();
    assert!(error.contains("\"z\"") && error.contains("its hosts: a"), "{error}");

    // And with the agent.
    let fourth = process(true).start().await.unwrap();
    let pid = ids.get().await.unwrap();
    host.signal(Signal::KILL);
    host.wait();
    until_gone(pid).await;
    assert!(tokio::time::timeout(PATIENCE, fourth.join()).await.unwrap().is_err());
}

fn is_running(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

async fn until_gone(pid: u32) {
    let begun = Instant::now();
    while is_running(pid) {
        assert!(begun.elapsed() < PATIENCE, "{pid} goes on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_allows_it_runs_any_command() {
    let daemon = Daemon::start();
    let manager = connect(&daemon).await;
    let _host = agent_for_commands(&daemon);
    let pool = Pool::open(&manager, POOL).await.unwrap();
    until(&pool, |status| status.workers == 1).await;
    let shell = |script: &str| Process::command("sh").args(["-c", script]).on(&pool, "a");
    let process = shell("test $A = b && exit 7").env("A", "b").start().await.unwrap();
    assert!(process.join().await.is_err());
    assert_eq!(process.exit_code(), Some(7));
    let process = shell("sleep 100").start().await.unwrap();
    process.kill().unwrap();
    assert!(process.join_timeout(PATIENCE).await.is_err());
    assert_eq!(process.exit_code(), Some(-9));
    let error = Process::command("./none").on(&pool, "a").start().await.unwrap_err().to_string();
    assert!(error.contains("./none"), "{error}");
}
