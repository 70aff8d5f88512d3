//! The files in `deploy` are what their tools take, and the image runs with as few rights as they give it.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Whether a command succeeds; one that is not installed does not.
fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What a command printed, which has to succeed.
#[track_caller]
fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}\n{stderr}");
    String::from_utf8(stdout).unwrap().trim().to_owned()
}

#[test]
fn compose_reads_the_files() {
    let tools: [(&str, &[&str]); 2] = [("docker-compose", &[]), ("docker", &["compose"])];
    let is_there =
        |(program, words): &(&str, &[&str])| succeeds(program, &[words, &["version"][..]].concat());
    let mut tools = tools.into_iter().filter(is_there).peekable();
    if tools.peek().is_none() {
        println!("skipped: neither docker-compose nor docker compose is here");
    }
    let files: [&[&str]; 2] =
        [&["-f", "compose.yaml"], &["-f", "compose.yaml", "-f", "compose.host.yaml"]];
    for (program, words) in tools {
        for files in files {
            let mut command = Command::new(program);
            command.args(words).args(files).args(["--profile", "submit", "config"]);
            let config = printed(command.current_dir(root().join("deploy")));
            for service in ["manager:", "worker:", "submit:"] {
                assert!(config.contains(service), "{program}: {config}");
            }
        }
    }
}

#[test]
fn systemd_takes_the_unit() {
    if !succeeds("systemd-analyze", &["--version"]) {
        println!("skipped: systemd-analyze is not here");
        return;
    }
    // It looks whether the program is there.
    let directory = TempDir::new().unwrap();
    let worker = directory.path().join("mp-manager-worker.service");
    let text = fs::read_to_string(root().join("deploy/mp-manager-worker.service")).unwrap();
    assert!(
        text.contains("ExecStart=/usr/local/bin/mp-manager worker ") && text.contains("=mixed")
    );
    fs::write(&worker, text.replace("=/usr/local/bin/mp-manager ", "=/bin/true ")).unwrap();
    let unit = directory.path().join("mp-manager.service");
    let text = fs::read_to_string(root().join("deploy/mp-manager.service")).unwrap();
    assert!(text.contains("ExecStart=/usr/local/bin/mp-manager serve "));
    fs::write(&unit, text.replace("=/usr/local/bin/mp-manager ", "=/bin/true ")).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let output = verify.args(["verify", "--man=no"]).args([&unit, &worker]).output().unwrap();
    // A line that it does not know is a warning only. What it says of other units is not about this one.
    let said = String::from_utf8_lossy(&output.stderr);
    let about_it: Vec<_> = said.lines().filter(|line| line.contains("mp-manager")).collect();
    assert!(output.status.success() && about_it.is_empty(), "{said}");

    if !succeeds(
        "systemd-analyze",
        &["security", "--offline=true", "--threshold=100", unit.to_str().unwrap()],
    ) {
        println!("exposure not measured: this systemd-analyze cannot do it for a file");
        return;
    }
    let mut security = Command::new("systemd-analyze");
    // Tenths: at most 2.0, of 10.
    security.args(["security", "--offline=true", "--no-pager", "--threshold=20"]).arg(&unit);
    let table = printed(&mut security);
    println!("{}", table.lines().last().unwrap_or_default());
}

#[test]
fn kubernetes_takes_the_manifest() {
    if !succeeds("kubernetes-validate", &["--version"]) {
        println!("skipped: kubernetes-validate is not here (`pip install kubernetes-validate`)");
        return;
    }
    let manifest = root().join("deploy/kubernetes.yaml");
    let mut validate = Command::new("kubernetes-validate");
    printed(validate.arg("--strict").arg(manifest));
}

/// Something that the engine has for a test, until that ends.
struct Made {
    remove: &'static [&'static str],
    name: String,
}

impl Drop for Made {
    fn drop(&mut self) {
        succeeds("docker", &[self.remove, &[&self.name]].concat());
    }
}

fn docker(arguments: &[&str]) -> String {
    printed(Command::new("docker").args(arguments))
}

/// Waits until the engine has found a container healthy, by what the image has it do for that.
fn wait_until_healthy(container: &str) {
    let filter = format!("container={container}");
    let last = SystemTime::now() + Duration::from_secs(60);
    let last = last.duration_since(UNIX_EPOCH).unwrap().as_secs().to_string();
    let mut events = Command::new("docker")
        .args(["events", "--since", "0", "--until", &last, "--filter", &filter])
        .args(["--filter", "event=health_status", "--format", "{{.Status}}"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
    let is_healthy = lines.any(|status| status.ends_with(" healthy"));
    events.kill().unwrap();
    events.wait().unwrap();
    let log = || Command::new("docker").args(["logs", container]).output().unwrap();
    assert!(is_healthy, "not healthy within 60 s: {:?}", log());
}

#[test]
#[ignore = "needs deploy/bin/mp-manager, which deploy/binaries builds"]
fn the_image_runs_without_rights_and_is_healthy() {
    if !succeeds("docker", &["version"]) {
        println!("skipped: no docker engine answers");
        return;
    }
    assert!(
        root().join("deploy/bin/mp-manager").exists(),
        "deploy/bin/mp-manager is not there: `PROFILE=dev deploy/binaries` builds it"
    );
    let name = format!("mp-manager-test-{}", process::id());
    let dockerfile = root().join("deploy/Dockerfile");
    let mut build = Command::new("docker");
    build.args(["build", "--target", "host", "--build-arg", "MP_MANAGER=deploy/bin/mp-manager"]);
    build.args(["-t", &name, "-f"]).arg(dockerfile).arg(root());
    printed(&mut build);
    let image = Made { remove: &["rmi"], name: name.clone() };
    let size: u64 = docker(&["image", "inspect", "-f", "{{.Size}}", &image.name]).parse().unwrap();
    println!("the image has {:.1} MB", size as f64 / 1e6);

    // As Compose mounts a secret: with the owner and the mode that the file has.
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("manager.key");
    fs::write(&key, docker(&["run", "--rm", &image.name, "keygen"])).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let secret = format!("{}:/run/secrets/authkey:ro", key.display());
    let group = fs::metadata(&key).unwrap().gid().to_string();

    docker(&["network", "create", "--internal", &name]);
    let network = Made { remove: &["network", "rm"], name: name.clone() };
    let rights: &[&str] =
        &["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let given: &[&str] = &["--network", &network.name, "-v", &secret, "--group-add", &group];
    let start: &[&str] =
        &["run", "-d", "--name", &name, "--network-alias", "manager", "--health-interval", "1s"];
    let id = docker(&[start, rights, given, &[&image.name]].concat());
    let container = Made { remove: &["rm", "-f", "-v"], name: id };
    wait_until_healthy(&container.name);

    // Another container finds it by its name in the network.
    let another: &[&str] = &["run", "--rm", "-e", "MP_MANAGER_ADDRESS=tls://manager:7117"];
    println!("{}", docker(&[another, rights, given, &[&image.name, "ping"]].concat()));

    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &container.name]);
    let status = PathBuf::from(format!("/proc/{pid}/status"));
    match fs::read_to_string(&status) {
        Ok(status) => {
            for line in
                ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"]
            {
                assert!(status.contains(line), "{line:?} is not in {status}");
            }
        }
        Err(error) => println!("its rights were not looked at: {}: {error}", status.display()),
    }

    docker(&["stop", "-t", "20", &container.name]);
    let code = docker(&["inspect", "-f", "{{.State.ExitCode}}", &container.name]);
    assert_eq!(code, "0", "SIGTERM ends process 1 in order");
}
