//! Processes of this program, and what becomes of them.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use mp_manager::{
    Error, Manager, Queue, Result, TaskFailure, blocking,
    process::{Outcome, Process, active_children, current, parent},
    task,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[task]
fn nothing() {}

#[task]
fn leave(code: i32) {
    std::process::exit(code);
}

#[task]
fn fail(what: String) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    Err(format!("no {what}").into())
}

#[task]
fn panic_with(message: String) {
    panic!("{message}");
}

/// Waits for ever, and says so first.
#[task]
fn linger(ready: String) {
    fs::write(ready, "here").expect("the directory is there");
    loop {
        std::thread::park();
    }
}

#[task]
async fn put_name(names: Queue<(String, u32, Option<String>)>) -> Result<()> {
    let parent = parent().map(|parent| parent.name().to_owned());
    names.put((current().name().to_owned(), std::process::id(), parent)).await
}

async fn start(builder: mp_manager::process::ProcessBuilder) -> Process {
    builder.start().await.expect("it starts")
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} in {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The state of a process: `None` when there is none, `Z` for a zombie.
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn is_gone(pid: u32) -> bool {
    matches!(state(pid), None | Some('Z' | 'X'))
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.expect("there is a kill").success());
}

#[mp_manager::test]
async fn a_process_that_succeeds_has_exit_code_0() -> Result<()> {
    let process = Process::new(nothing, ()).name("quiet").start().await?;
    assert_eq!(process.name(), "quiet");
    process.join().await?;
    assert!(!process.is_alive());
    assert_eq!(process.exit_code(), Some(0));
    assert_eq!(process.outcome(), Some(Outcome::Succeeded));
    process.close()
}

#[mp_manager::test]
async fn an_exit_code_is_what_the_task_left_with() {
    let process = start(Process::new(leave, (3,))).await;
    let error = process.join().await.unwrap_err();
    assert!(matches!(error, Error::ProcessFailed { exit_code: 3, .. }), "{error}");
    assert_eq!(process.outcome(), Some(Outcome::Exited(3)));
}

#[mp_manager::test]
async fn the_error_of_a_task_travels() {
    let process = start(Process::new(fail, ("luck".into(),))).await;
    let error = process.join().await.unwrap_err();
    assert!(error.to_string().contains("no luck"), "{error}");
    let failure = TaskFailure::Failed { chain: vec!["no luck".into()] };
    assert_eq!(process.outcome(), Some(Outcome::Failed { failure, exit_code: 1 }));
}

#[mp_manager::test]
async fn a_panic_has_its_message_and_place() {
    let process = start(Process::new(panic_with, ("boom".into(),))).await;
    let error = process.join().await.unwrap_err();
    assert!(matches!(error, Error::ProcessFailed { exit_code: 101, .. }), "{error}");
    let Some(Outcome::Failed { failure: TaskFailure::Panicked { message, location }, .. }) =
        process.outcome()
    else {
        panic!("{process:?}")
    };
    assert_eq!(message, "boom");
    assert!(location.contains("process.rs:"), "{location}");
}

#[mp_manager::test]
async fn signals_are_negative_exit_codes() -> Result<()> {
    let directory = tempfile::tempdir().expect("there is room");
    let ready = directory.path().join("ready").display().to_string();
    for (send, number) in [
        (Process::terminate as fn(&Process) -> Result<()>, 15),
        (Process::kill, 9),
        (Process::interrupt, 2),
    ] {
        let process = Process::new(linger, (ready.clone(),)).start().await?;
        assert!(process.is_alive());
        assert_eq!(process.exit_code(), None);
        send(&process)?;
        assert!(process.join().await.is_err());
        assert_eq!(process.exit_code(), Some(-number));
        assert_eq!(process.outcome(), Some(Outcome::Killed(number)));
        send(&process)?;
    }
    Ok(())
}

#[mp_manager::test]
async fn ctrl_c_is_left_to_the_parent() -> Result<()> {
    let directory = tempfile::tempdir().expect("there is room");
    let ready = directory.path().join("ready");
    let process = Process::new(linger, (ready.display().to_string(),)).start().await?;
    // The handler is there before the task begins.
    wait_until("the task begins", || ready.exists());
    signal(process.pid(), "INT");
    assert!(!process.join_timeout(Duration::from_millis(100)).await?);
    process.kill()?;
    assert!(process.join().await.is_err());
    Ok(())
}

#[mp_manager::test]
async fn a_process_that_runs_is_among_the_children_and_cannot_be_closed() -> Result<()> {
    let directory = tempfile::tempdir().expect("there is room");
    let ready = directory.path().join("ready").display().to_string();
    let process = Process::new(linger, (ready,)).daemon(true).start().await?;
    assert!(process.daemon());
    assert!(active_children().iter().any(|child| child.pid() == process.pid()));
    assert!(process.clone().close().is_err());
    mp_manager::process::finish();
    assert!(!process.is_alive());
    assert_eq!(process.exit_code(), Some(-15));
    assert!(active_children().iter().all(|child| child.pid() != process.pid()));
    Ok(())
}

#[mp_manager::test]
async fn the_sentinel_is_ready_when_the_process_has_ended() -> Result<()> {
    let process = Process::new(nothing, ()).start().await?;
    process.sentinel().await;
    assert!(!process.is_alive());
    Ok(())
}

#[mp_manager::test]
async fn many_start_at_once() -> Result<()> {
    let mut starts = tokio::task::JoinSet::new();
    for code in 0..12 {
        starts.spawn(async move {
            let process = Process::new(leave, (code,)).start().await?;
            let _ = process.join().await;
            Ok::<_, Error>((code, process.exit_code()))
        });
    }
    while let Some(ended) = starts.join_next().await {
        let (code, exit_code) = ended.expect("no panic")?;
        assert_eq!(exit_code, Some(code));
    }
    Ok(())
}

#[mp_manager::test]
async fn long_arguments_arrive() -> Result<()> {
    let process = Process::new(measure, ("x".repeat(5 << 20),)).start().await?;
    process.join().await
}

#[task]
fn measure(text: String) {
    assert_eq!(text.len(), 5 << 20);
}

#[mp_manager::test]
async fn a_proxy_among_the_arguments_works_in_the_child() -> Result<()> {
    let manager = Manager::start().await?;
    let names = manager.queue("names").await?;
    let process = Process::new(put_name, (names.clone(),)).name("child").start().await?;
    let (name, pid, parent) = names.get().await?;
    assert_eq!((name.as_str(), pid), ("child", process.pid()));
    assert_eq!(parent.as_deref(), Some("MainProcess"));
    process.join().await?;
    assert_eq!(manager.list_objects("").await?.len(), 1, "what held the arguments is gone");
    Ok(())
}

#[task]
async fn use_unnamed(list: mp_manager::List<u64>) -> Result<()> {
    list.push(7).await
}

#[mp_manager::test]
async fn an_unnamed_object_lives_until_the_child_has_it() -> Result<()> {
    let manager = Manager::start().await?;
    let list = manager.list::<u64>(mp_manager::Unnamed).await?;
    let process = Process::new(use_unnamed, (list.clone(),)).start().await?;
    process.join().await?;
    assert_eq!(list.pop().await?, Some(7));
    Ok(())
}

#[task]
async fn use_current() -> Result<()> {
    Manager::current().await?.value("hits", &0_u64).await?.add(&1).await?;
    Ok(())
}

#[mp_manager::test]
async fn a_child_finds_its_manager() -> Result<()> {
    let manager = Manager::start().await?;
    Process::new(use_current, ()).manager(&manager).start().await?.join().await?;
    assert_eq!(manager.value("hits", &0_u64).await?.get().await?, 1);
    let error = Process::new(use_current, ()).start().await?.join().await.unwrap_err();
    assert!(error.to_string().contains(".manager(&manager)"), "{error}");
    Ok(())
}

#[task]
async fn nested() -> Result<()> {
    let process = Process::new(leave, (0,)).start().await?;
    let name = process.name().to_owned();
    process.join().await?;
    assert_eq!(name, format!("{}:1", current().name()));
    Ok(())
}

#[mp_manager::test]
async fn a_child_has_children_of_its_own() -> Result<()> {
    Process::new(nested, ()).start().await?.join().await
}

#[task]
fn check_environment() {
    assert_eq!(env::var("COLOUR").as_deref(), Ok("green"));
    assert!(env::var_os("PATH").is_none());
    assert_eq!(env::current_dir().expect("there is one"), Path::new("/"));
}

#[mp_manager::test]
async fn a_child_lives_without_its_parents_environment() -> Result<()> {
    let process = Process::new(check_environment, ())
        .env_clear()
        .env("COLOUR", "green")
        .current_dir("/")
        .start()
        .await?;
    process.join().await
}

#[mp_manager::test]
async fn no_secret_is_in_the_environment_or_the_arguments() -> Result<()> {
    let directory = tempfile::tempdir().expect("there is room");
    let ready = directory.path().join("ready");
    let manager = Manager::builder().authkey("a-most-secret-authkey").start().await?;
    let process = Process::new(linger, (ready.display().to_string(),));
    let process = process.manager(&manager).start().await?;
    wait_until("the task begins", || ready.exists());
    for file in ["environ", "cmdline"] {
        let bytes = fs::read(format!("/proc/{}/{file}", process.pid())).expect("it runs");
        assert!(!String::from_utf8_lossy(&bytes).contains("most-secret"), "{file}");
    }
    process.kill()
}

#[mp_manager::test]
async fn a_start_that_is_cancelled_leaves_nobody() -> Result<()> {
    let directory = tempfile::tempdir().expect("there is room");
    let mark = directory.path().display().to_string();
    let ready = directory.path().join("ready").display().to_string();
    for _ in 0..5 {
        let start = Process::new(linger, (ready.clone(),)).env("MARK", &mark).start();
        tokio::select! {
            biased;
            started = start => panic!("{started:?} at once"),
            () = std::future::ready(()) => {}
        }
    }
    // Children are started one after the other.
    Process::new(nothing, ()).start().await?.join().await?;
    wait_until("nobody is left", || with_environment(&mark).is_empty());
    Ok(())
}

/// A program that a child starts inherits the variable, and a stdin that is not ours.
#[task]
fn start_grandchild(test: String) {
    let exe = env::current_exe().expect("it is there");
    let output = Command::new(exe)
        .args([&test, "--exact", "--nocapture", "--ignored", "--test-threads=1"])
        .env("GRANDCHILD", "1")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("i ran as a plain program"), "{said}");
}

#[mp_manager::test]
#[ignore = "a program for other tests"]
async fn grandchild() {
    if env::var_os("GRANDCHILD").is_some() {
        println!("i ran as a plain program");
    }
}

#[mp_manager::test]
async fn a_grandchild_runs_its_plain_main() -> Result<()> {
    Process::new(start_grandchild, ("grandchild".into(),)).start().await?.join().await
}

#[mp_manager::test]
async fn a_command_is_another_program() -> Result<()> {
    // A shell ignores SIGINT for a script's background commands, and children would inherit that.
    signal_hook::flag::register_conditional_shutdown(2, 128 + 2, Arc::new(true.into()))
        .expect("it can be handled");
    let process = Process::command("sh").args(["-c", "exit 5"]).start().await?;
    assert!(process.join().await.is_err());
    assert_eq!(process.exit_code(), Some(5));
    let process = Process::command("sh").args(["-c", "kill -INT $$"]).start().await?;
    assert!(process.join().await.is_err());
    assert_eq!(process.exit_code(), Some(-2), "its SIGINT is an ordinary one");
    Ok(())
}

#[mp_manager::test]
async fn a_command_that_is_not_there_does_not_start() {
    let error = Process::command("./no-such-program").start().await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
    assert!(error.to_string().contains("./no-such-program"), "{error}");
    let error = Process::new(nothing, ()).arg("x").start().await.unwrap_err();
    assert!(matches!(error, Error::Start { .. }), "{error}");
}

#[mp_manager::test]
fn a_child_outlives_the_thread_that_started_it() {
    let directory = tempfile::tempdir().expect("there is room");
    let ready = directory.path().join("ready");
    let arguments = (ready.display().to_string(),);
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("there is a runtime").block_on(start(Process::new(linger, arguments)))
    });
    let process = process.join().expect("it does not panic");
    wait_until("the task begins", || ready.exists());
    assert!(process.is_alive());
    signal(process.pid(), "0");
    process.kill().expect("it may be killed");
}

/// The parent of the tests that kill one.
#[mp_manager::test]
#[ignore = "a program for other tests"]
async fn a_parent() {
    let Some(directory) = env::var_os("PARENT_DIRECTORY") else { return };
    let mut children = Vec::new();
    for n in 0..3 {
        let ready = Path::new(&directory).join(n.to_string()).display().to_string();
        let child = start(Process::new(linger, (ready,))).await;
        println!("child {}", child.pid());
        children.push(child);
    }
    let sleep = start(Process::command("sleep").arg("1000")).await;
    println!("child {}", sleep.pid());
    println!("complete");
    std::future::pending::<()>().await;
}

struct Parent {
    process: std::process::Child,
    said: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Parent {
    fn start(directory: &Path) -> Self {
        let exe = env::current_exe().expect("it is there");
        let mut process = Command::new(exe)
            .args(["a_parent", "--exact", "--nocapture", "--ignored", "--test-threads=1"])
            .env("PARENT_DIRECTORY", directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdout = process.stdout.take().expect("it is piped");
        Self { process, said: BufReader::new(stdout).lines() }
    }

    /// The children that it has started, up to a number of them.
    fn children(&mut self, at_most: usize) -> Vec<u32> {
        let mut children = Vec::new();
        while children.len() < at_most {
            let line = self.said.next().expect("it goes on").expect("it is text");
            match line.split_once("child ") {
                Some((_, pid)) => children.push(pid.parse().expect("a number")),
                None if line.contains("complete") => break,
                None => {}
            }
        }
        children
    }

    fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        let status = self.process.wait().expect("it is ours");
        assert_eq!(status.signal(), Some(9));
    }
}

/// The processes whose environment has this text.
fn with_environment(text: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("it is there").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        String::from_utf8_lossy(&environment).contains(text) && !is_gone(*pid)
    })
    .collect()
}

#[mp_manager::test]
fn parents_that_are_killed_at_any_moment_leave_nobody() {
    let directory = tempfile::tempdir().expect("there is room");
    let mark = directory.path().display().to_string();
    for round in 0..40 {
        let mut parent = Parent::start(directory.path());
        // In the middle of starting a child, which is at another point in every round.
        parent.children(round % 4);
        std::thread::sleep(Duration::from_micros(
            u64::try_from(round).expect("small") * 311 % 7000,
        ));
        parent.kill();
        wait_until("nobody is left", || with_environment(&mark).is_empty());
    }
}

#[mp_manager::test]
fn a_stopped_child_dies_with_its_parent() {
    let directory = tempfile::tempdir().expect("there is room");
    let mut parent = Parent::start(directory.path());
    let children = parent.children(usize::MAX);
    assert_eq!(children.len(), 4);
    children.iter().for_each(|&pid| signal(pid, "STOP"));
    wait_until("all are stopped", || children.iter().all(|&pid| state(pid) == Some('T')));
    parent.kill();
    wait_until("nobody is left", || children.iter().all(|&pid| is_gone(pid)));
}

#[task]
fn square(x: i64, results: blocking::Queue<i64>) -> Result<()> {
    results.put(x * x)
}

#[mp_manager::test]
fn threads_start_processes() -> Result<()> {
    let manager = blocking::Manager::start()?;
    let results = manager.queue("results").open()?;
    let process = blocking::Process::new(square, (3, results.clone())).start()?;
    assert_eq!(results.get()?, 9);
    process.join()?;
    assert_eq!(process.exit_code(), Some(0));

    let sleep = blocking::Process::command("sleep").arg("1000").start()?;
    assert!(!sleep.join_timeout(Duration::from_millis(10))?);
    sleep.terminate()?;
    assert!(sleep.join_timeout(PATIENCE).is_err());
    assert_eq!(sleep.exit_code(), Some(-15));
    Ok(())
}

/// Attributes and patterns of a function stay what they are.
#[task(name = "of another name", idempotent, attempts = 7, signature = "2")]
#[allow(clippy::needless_pass_by_value, reason = "it is what is tested")]
pub(crate) fn sum((a, b): (u64, u64), mut more: Vec<u64>) -> u64 {
    more.push(a);
    more.push(b);
    more.iter().sum()
}

#[task]
#[cfg(any())]
fn absent(what: NoSuchType) {}

#[test]
fn a_task_is_a_function_with_a_name() {
    fn parts<T: mp_manager::Task>(_: T) -> (&'static str, &'static str, bool, u32) {
        (T::NAME, T::SIGNATURE, T::IDEMPOTENT, T::ATTEMPTS)
    }
    assert_eq!(sum((1, 2), vec![3]), 6);
    assert_eq!(parts(sum), ("of another name", "2", true, 7));
    let name = "process::put_name";
    let signature = "(Queue<(String,u32,Option<String>)>)->Result<()>";
    assert_eq!(parts(put_name), (name, signature, false, 3));
}

mod submodule {
    use super::*;

    #[mp_manager::test]
    async fn children_begin_in_a_test_of_a_submodule() -> Result<()> {
        Process::new(nothing, ()).start().await?.join().await
    }

    #[mp_manager::test]
    #[should_panic(expected = "wanted")]
    async fn children_begin_in_a_test_that_should_panic() {
        start(Process::new(nothing, ())).await.join().await.expect("it succeeds");
        panic!("wanted");
    }

    #[mp_manager::test]
    #[ignore = "run by `children_begin_in_an_ignored_test`"]
    async fn ignored() -> Result<()> {
        Process::new(nothing, ()).start().await?.join().await
    }

    /// As nextest calls tests.
    #[test]
    fn children_begin_in_an_ignored_test() {
        let exe = env::current_exe().expect("it is there");
        let output = Command::new(exe)
            .args(["--exact", "submodule::ignored", "--nocapture", "--ignored"])
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}
