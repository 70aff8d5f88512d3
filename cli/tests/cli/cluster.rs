//! The deployment's Compose file, with programs of this build: workers in containers that are killed, paused and cut
//! off while they execute a map.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    sync::{Mutex, MutexGuard},
    thread::sleep,
    time::{Duration, Instant},
};

use mp_manager::{Dict, Fence, List, Manager, Pool, process, task};
use serde_json::Value;
use tempfile::TempDir;

/// Nothing takes so long, on any machine.
const PATIENCE: Duration = Duration::from_secs(150);
const TASKS: u32 = 100_000;
/// Every so many tasks write their result; the others take as long, and leave the processors to those.
const WRITES: u32 = 8;
const WORKERS: &str = "mp_manager_pool_workers{name=\"cluster\"}";
/// Beyond the lease, which is 10 s.
const PAUSE: Duration = Duration::from_secs(14);
/// Well within it.
const CUT: Duration = Duration::from_secs(3);

/// Where workers begin.
#[mp_manager::test]
#[ignore = "it is for workers"]
fn place() {}

/// Prints that the attempt has started, which outlasts its container, and writes the square as long as the attempt is
/// the current one. On the host that is to be held, some do not end.
#[task(idempotent, attempts = 20)]
async fn square(n: u32) -> mp_manager::Result<u64> {
    let fence = process::fence().unwrap();
    println!("START {n} {}", token(&fence));
    let manager = Manager::current().await?;
    if n.is_multiple_of(32) {
        let held = manager.value("held", &String::new()).await?;
        if held.get().await? == host() {
            if let Some(writer) = lock(&WRITER).get_or_insert_with(start_late_writer) {
                let _ = writeln!(writer, "{n} {fence}");
            }
            println!("{HELD} {n}");
            tokio::time::sleep(PATIENCE).await;
        }
    }
    let square = u64::from(n) * u64::from(n);
    if n.is_multiple_of(WRITES) {
        let squares: Dict<u32, u64> = manager.dict("squares").await?;
        squares.fenced(fence).insert(&n, &square).await?;
    } else {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(square)
}

fn token(fence: &Fence) -> u64 {
    fence.to_string().rsplit('-').next().and_then(|token| token.parse().ok()).unwrap_or_default()
}

fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// A task prints this when it is held.
const HELD: &str = "HELD";

/// A process that outlives this worker, and hears of the attempt that is held.
static WRITER: Mutex<Option<Option<ChildStdin>>> = Mutex::new(None);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// Starts what the worker would be if it went on after its container was paused: a process that nobody kills with it.
fn start_late_writer() -> Option<ChildStdin> {
    let mut writer = Command::new(std::env::current_exe().unwrap());
    writer.args(place_of("cluster::late_writer")).env("LATE", "");
    writer.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    writer.spawn().ok()?.stdin
}

/// Writes, once its worker is gone, what the last attempt of that would have written.
#[tokio::test]
#[ignore = "it is for workers"]
async fn late_writer() {
    if std::env::var_os("LATE").is_none() {
        return;
    }
    let last = std::io::stdin().lines().map_while(Result::ok).last().unwrap();
    let (n, fence) = last.split_once(' ').unwrap();
    let (n, fence) = (n.parse::<u32>().unwrap(), fence.parse::<Fence>().unwrap());
    let manager = Manager::from_env().await.unwrap();
    let squares: Dict<u32, u64> = manager.dict("squares").await.unwrap();
    let wrote = squares.fenced(fence).insert(&n, &0).await;
    let came_of_it: List<String> = manager.list("late").await.unwrap();
    let text = wrote.map_or_else(|error| error.to_string(), |_| "written".into());
    came_of_it.push(format!("{n} {}: {text}", token(&fence))).await.unwrap();
}

#[mp_manager::test]
#[ignore = "it is for workers"]
async fn submitter() {
    let manager = Manager::from_env().await.unwrap();
    let pool = Pool::open(&manager, "cluster").await.unwrap();
    let squares = pool.map(square, 0..TASKS).await.unwrap();
    let right = |n: u32| u64::from(n) * u64::from(n);
    assert!(squares.into_iter().eq((0..TASKS).map(right)), "the result is not exact");
    let written: Dict<u32, u64> = manager.dict("squares").await.unwrap();
    assert_eq!(written.len().await.unwrap(), TASKS.div_ceil(WRITES) as usize);
    let late: List<String> = manager.list("late").await.unwrap();
    let begun = Instant::now();
    while late.is_empty().await.unwrap() && begun.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for late in late.copy().await.unwrap() {
        println!("\nLATE {late}");
    }
    for (n, value) in written.items().await.unwrap() {
        assert_eq!(value, right(n), "a late write was taken");
    }
    println!("\nEXACT");
}

/// The arguments with which this program comes to one of its tests.
fn place_of(test: &str) -> [&str; 5] {
    [test, "--exact", "--include-ignored", "--nocapture", "-q"]
}

/// A project of Compose, which is gone with this.
struct Project {
    directory: TempDir,
    tool: Vec<String>,
    name: String,
}

impl Project {
    /// `None` where there is no engine: says why.
    fn new() -> Option<Self> {
        if !succeeds(Command::new("docker").arg("info")) {
            println!("skipped: no Docker engine answers here");
            return None;
        }
        let tools = [vec!["docker", "compose"], vec!["docker-compose"]];
        let works =
            |tool: &Vec<&str>| succeeds(Command::new(tool[0]).args(&tool[1..]).arg("version"));
        let Some(tool) = tools.into_iter().find(works) else {
            println!("skipped: there is no Compose tool here");
            return None;
        };
        let tool = tool.into_iter().map(str::to_owned).collect();
        let name = format!("mp-manager-test-{}", std::process::id());
        Some(Self { directory: TempDir::new().unwrap(), tool, name })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file system with this build's programs, and the libraries that they are linked to.
    fn lay_out(&self) {
        let root = self.path("root");
        let programs = [
            (Path::new(env!("CARGO_BIN_EXE_mp-manager")).to_owned(), "mp-manager"),
            (std::env::current_exe().unwrap(), "app/cluster"),
        ];
        fs::create_dir_all(root.join("app")).unwrap();
        fs::create_dir_all(self.path("state")).unwrap();
        // An empty directory would not be copied.
        fs::write(self.path("state/README"), "").unwrap();
        let mut libraries = BTreeSet::new();
        for (program, place) in programs {
            let output = Command::new("ldd").arg(&program).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let paths = text.split_whitespace().filter(|word| word.starts_with('/'));
            libraries.extend(paths.map(str::to_owned));
            // They are large for what a debugger needs.
            let mut strip = Command::new("strip");
            strip.arg("-o").arg(root.join(place)).arg(&program);
            if !succeeds(&mut strip) {
                fs::copy(&program, root.join(place)).unwrap();
            }
        }
        for library in libraries {
            let place = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::copy(&library, place).unwrap();
        }
        let dockerfile = "FROM scratch AS ours\nCOPY root /\nCOPY --chown=65532:65532 state /state\n\
                          ENV MP_MANAGER_ADDRESS=tls://0.0.0.0:7117 \
                          MP_MANAGER_AUTHKEY_FILE=/run/secrets/authkey STATE_DIRECTORY=/state\n\
                          USER 65532:65532\nENTRYPOINT [\"/mp-manager\"]\n";
        fs::write(self.path("Dockerfile"), dockerfile).unwrap();
        let key = self.path("key");
        let mut keygen = Command::new(env!("CARGO_BIN_EXE_mp-manager"));
        assert!(succeeds(keygen.arg("keygen").arg(&key)));
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
        let build = format!(
            "{{context: {}, dockerfile: Dockerfile, target: ours}}",
            self.directory.path().display()
        );
        let arguments = |test: &str| place_of(test).map(|word| format!("{word:?}")).join(", ");
        let (place, submitter) = (arguments("cluster::place"), arguments("cluster::submitter"));
        let image = format!("image: {}", self.name);
        let ours = format!(
            "services:\n  manager:\n    {image}\n    build: {build}\n  worker:\n    {image}\n    build: {build}\n    \
             command: [worker, --pool, cluster, --processes, '2', --exec, /app/cluster, --, {place}]\n  \
             submit:\n    {image}\n    build: {build}\n    command: [{submitter}]\n"
        );
        fs::write(self.path("ours.yaml"), ours).unwrap();
    }

    fn compose(&self, arguments: &[&str]) -> Command {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose.yaml");
        let mut command = Command::new(&self.tool[0]);
        command.args(&self.tool[1..]).args(["-p", &self.name, "--project-directory"]);
        command.arg(deploy.parent().unwrap()).arg("-f").arg(&deploy);
        command.arg("-f").arg(self.path("ours.yaml")).args(arguments);
        command.env("AUTHKEY_FILE", self.path("key")).env("KEY_GROUP", group().to_string());
        command.stdin(Stdio::null());
        command
    }

    fn workers(&self) -> Vec<String> {
        let listed = self.compose(&["ps", "-q", "worker"]).output().unwrap();
        let text = String::from_utf8(listed.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn status(&self) -> Value {
        let ask = ["exec", "-T", "manager", "/mp-manager", "pool", "status", "cluster"];
        let arguments = [&ask[..], &["--output", "json"]].concat();
        let output = self.compose(&arguments).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    /// Waits until the pool is as far as that.
    fn until(&self, what: &str, is_there: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if is_there(&status) {
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: the pool stays at {status}\n{}",
                self.logs()
            );
            sleep(Duration::from_millis(100));
        }
    }

    /// From now on tasks on this host do not end.
    fn hold(&self, host: &str) {
        let set = ["exec", "-T", "manager", "/mp-manager", "value", "set", "held"];
        let quoted = format!("{host:?}");
        let set = self.compose(&[&set[..], &[&quoted]].concat()).output().unwrap();
        assert!(set.status.success(), "{set:?}");
    }

    /// Waits until a task is held in a container: what happens to that then hits a task which has started.
    fn until_held(&self, container: &str) {
        let begun = Instant::now();
        while !docker(&["logs", "--tail", "50", container]).contains(HELD) {
            assert!(begun.elapsed() < PATIENCE, "no task is held\n{}", self.logs());
            sleep(Duration::from_millis(50));
        }
    }

    /// What a series of the manager's metrics is at; 0 if it has none.
    fn metric(&self, series: &str) -> u64 {
        let listed = self.compose(&["ps", "-q", "manager"]).output().unwrap();
        let id = String::from_utf8(listed.stdout).unwrap();
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        let mut stream =
            TcpStream::connect((docker(&["inspect", "-f", format, id.trim()]), 7118)).unwrap();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nhost: manager\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let value = |line: &str| line.strip_prefix(series)?.trim().parse().ok();
        text.lines().find_map(value).unwrap_or_default()
    }

    /// While nothing changes, metrics and `inspect` say the same.
    fn compare_metrics(&self, when: &str) {
        for _ in 0..50 {
            let sides =
                [self.inspected_workers(), Some(self.metric(WORKERS)), self.inspected_workers()];
            if sides[0].is_some() && sides[0] == sides[2] {
                println!("{when}: inspect and {WORKERS} say {}", sides[0].unwrap());
                assert_eq!(sides[0], sides[1]);
                return;
            }
        }
        panic!("{when}: nothing stands still");
    }

    /// The workers that `inspect` shows.
    fn inspected_workers(&self) -> Option<u64> {
        let ask =
            ["exec", "-T", "manager", "/mp-manager", "inspect", "cluster", "--output", "json"];
        let output = self.compose(&ask).output().unwrap();
        let shown: Value = serde_json::from_slice(&output.stdout).ok()?;
        shown["objects"][0]["state"].as_str()?.split(' ').next()?.parse().ok()
    }

    fn logs(&self) -> String {
        let output = self.compose(&["logs", "--no-color", "--tail", "40"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let mut down = self.compose(&["down", "--volumes", "--remove-orphans", "--timeout", "1"]);
        succeeds(&mut down);
        succeeds(Command::new("docker").args(["image", "rm", "-f", &self.name]));
    }
}

fn succeeds(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// This process's group, which owns the key.
fn group() -> u32 {
    rustix::process::getgid().as_raw()
}

/// The task and the token in a line that says that an attempt has started.
fn attempt(line: &str) -> Option<(u32, u64)> {
    let (n, token) = line.split_once("START ")?.1.split_once(' ')?;
    Some((n.parse().ok()?, token.parse().ok()?))
}

fn done(status: &Value) -> u64 {
    status["done"].as_u64().unwrap_or_default()
}

#[test]
fn a_cluster_bears_a_kill_a_pause_and_a_cut_network() {
    let Some(project) = Project::new() else { return };
    project.lay_out();
    let up = project.compose(&["up", "-d", "--build", "--scale", "worker=3"]).output().unwrap();
    assert!(up.status.success(), "{}\n{}", String::from_utf8_lossy(&up.stderr), project.logs());
    project.until("the start", |status| status["workers"] == 6);
    let workers = project.workers();
    let [killed, paused, cut] = [0, 1, 2].map(|at| &*workers[at]);
    let [killed_host, paused_host] =
        [killed, paused].map(|id| docker(&["inspect", "-f", "{{.Config.Hostname}}", id]));

    let submit = project.compose(&["run", "--rm", "-T", "submit"]).stdout(Stdio::piped()).spawn();
    let submit = submit.unwrap();
    let since = |count: u64| move |status: &Value| done(status) >= count;
    let before = project.until("the map", since(2_000));
    // For less than the lease: nobody notices.
    let network = format!("{}_cluster", project.name);
    docker(&["network", "disconnect", &network, cut]);
    sleep(CUT);
    docker(&["network", "connect", &network, cut]);
    let after = project.until("the network", since(done(&before) + 4_000));
    let hosts = |status: &Value| {
        let name = |host: &Value| host["name"].as_str().unwrap_or_default().to_owned();
        status["hosts"].as_array().unwrap().iter().map(name).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&before), hosts(&after));
    println!("after {} tasks a container was cut off for {CUT:?}", done(&before));

    println!("after {} tasks {killed_host} is killed", done(&after));
    project.hold(&killed_host);
    project.until_held(killed);
    docker(&["kill", killed]);
    project.compare_metrics("during the map");
    let killed_at = done(&project.until("the kill", since(done(&after) + 3_000)));
    println!("after {killed_at} tasks {paused_host} is paused for {PAUSE:?}");
    project.hold(&paused_host);
    project.until_held(paused);
    docker(&["pause", paused]);
    // What comes after them is not.
    project.hold("");
    sleep(PAUSE);
    docker(&["unpause", paused]);

    let ended = submit.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(text.contains("\nEXACT"), "{text}\n{}", project.logs());
    let late: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("LATE ")).collect();
    // Which attempts at each task were started, and where.
    let mut starts: BTreeMap<u32, BTreeSet<(u64, &str)>> = BTreeMap::new();
    let logs: Vec<String> = workers.iter().map(|worker| docker(&["logs", worker])).collect();
    for (log, worker) in logs.iter().zip(&workers) {
        for (n, token) in log.lines().filter_map(attempt) {
            starts.entry(n).or_default().insert((token, worker));
        }
    }
    assert_eq!(starts.len(), TASKS as usize);
    for (worker, what) in [(killed, "killed"), (paused, "paused")] {
        let ran_again = |(_, attempts): &(&u32, &BTreeSet<(u64, &str)>)| {
            let first = attempts.first().filter(|_| attempts.len() > 1);
            first.is_some_and(|(_, host)| *host == worker)
        };
        let again: Vec<_> = starts.iter().filter(ran_again).collect();
        println!("the {what} one had started {} tasks that ran again: {again:?}", again.len());
        assert!(!again.is_empty());
    }
    println!("late writes of the paused one: {late:?}");
    assert!(!late.is_empty() && late.iter().all(|line| !line.ends_with("written")), "{late:?}");
    // One at least was of an attempt that another one has followed.
    let was_followed = |line: &&&str| {
        let (n, token) = line.split_once(':').unwrap().0.split_once(' ').unwrap();
        let attempts = &starts[&n.parse().unwrap()];
        attempts.first().unwrap().0 == token.parse::<u64>().unwrap() && attempts.len() > 1
    };
    assert!(late.iter().any(|line| was_followed(&line)), "{late:?}");
    project.compare_metrics("after it");
    let lost = project.metric("mp_manager_sessions_ended_total{cause=\"lease_expired\"}");
    println!("{lost} sessions have ended with their leases");
    // Of two agents, and of the two workers of each.
    assert!(lost >= 6);
    let ended = project.until("the end", |status| status["hosts"].as_array().is_some());
    println!("{ended}");
}
