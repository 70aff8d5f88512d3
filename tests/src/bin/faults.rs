//! Real processes under every fault there is: see `tests/README.md`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mp_manager_tests::{
    faults::{self, Options, Plan},
    linear::{Budget, History, Verdict},
};
use tokio::sync::oneshot;

const USAGE: &str = "\
usage: faults [--cycles N] [--seed S] [--workers N] [--lease-ms MS] [--no-namespaces]
       faults --cut-every-ms MS [--minutes M] …
       faults --handover RUNS [--lease-ms MS]
       faults --history FILE [--minutes M]

  --cycles N         kills, stops and cuts, 200 unless said
  --seed S           what is drawn from it is drawn again; timing is not
  --workers N        client processes at a time, 16 unless said
  --lease-ms MS      their lease, 1000 unless said
  --no-namespaces    does without network namespaces, which only root may use
  --cut-every-ms MS  only cuts, of every connection and so often: nobody may notice
  --minutes M        for so long, 10 unless said
  --handover RUNS    how long until the next waiter has the lock of a holder that is gone
  --history FILE     prints a history that did not pass, and checks it again";

/// Of a history that is checked again: more than three gigabytes are not to be spent on it.
const MOST_STEPS: u64 = 100_000_000;

struct Arguments {
    cycles: u64,
    seed: u64,
    workers: u64,
    lease: Duration,
    namespaces: bool,
    cut_every: Option<Duration>,
    time: Duration,
    handover: Option<usize>,
    history: Option<PathBuf>,
}

#[mp_manager::main]
#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let Some(result) = faults::run_child(&words).await {
        return or_say(result.map(|()| true));
    }
    let Some(arguments) = parse(words.into_iter()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let interrupted = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::select! {
        result = run(&arguments) => or_say(result),
        () = interrupted => ExitCode::from(130),
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn or_say(result: Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut arguments = Arguments {
        cycles: 200,
        seed: u64::from(now.subsec_nanos()),
        workers: 16,
        lease: Duration::from_secs(1),
        namespaces: true,
        cut_every: None,
        time: Duration::from_secs(600),
        handover: None,
        history: None,
    };
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse::<u64>().ok();
        match word.as_str() {
            "--cycles" => arguments.cycles = number()?,
            "--seed" => arguments.seed = number()?,
            "--workers" => arguments.workers = number()?,
            "--lease-ms" => arguments.lease = Duration::from_millis(number()?),
            "--no-namespaces" => arguments.namespaces = false,
            "--cut-every-ms" => arguments.cut_every = Some(Duration::from_millis(number()?)),
            "--minutes" => {
                let minutes: f64 = words.next()?.parse().ok()?;
                arguments.time = Duration::try_from_secs_f64(60.0 * minutes).ok()?;
            }
            "--handover" => arguments.handover = Some(usize::try_from(number()?).ok()?),
            "--history" => arguments.history = Some(words.next()?.into()),
            _ => return None,
        }
    }
    Some(arguments)
}

/// Whether everything held.
async fn run(arguments: &Arguments) -> Result<bool> {
    let program = env::current_exe()?;
    let &Arguments { cycles, seed, workers, lease, namespaces, .. } = arguments;
    if let Some(path) = &arguments.history {
        return check(path, arguments.time).await;
    }
    if let Some(runs) = arguments.handover {
        let all = faults::handover(&program, runs, lease).await?;
        all.iter().for_each(|handover| println!("{handover}"));
        return Ok(all.iter().all(faults::Handover::is_good));
    }
    let plan = match arguments.cut_every {
        None => Plan::Blows(cycles),
        Some(every) => Plan::Cuts { every, time: arguments.time },
    };
    println!("seed {seed}");
    let options = Options { program, seed, lease, workers, namespaces, plan };
    let report = faults::run(&options).await?;
    print!("{report}");
    let held = report.violations().is_empty();
    if !held {
        let words: Vec<String> = env::args().skip(1).collect();
        println!(
            "again: cargo run --release -p mp-manager-tests --bin faults -- --seed {seed} {}",
            words.join(" ")
        );
    }
    Ok(held)
}

/// Prints a history, and whether it is linearizable: there is more time for that than in a run.
async fn check(path: &Path, time: Duration) -> Result<bool> {
    let read = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let history = History::from_bytes(&read)
        .ok_or_else(|| format!("{}: this is no history", path.display()))?;
    let mut operations: Vec<_> = history.operations.iter().collect();
    operations.sort_by_key(|operation| operation.start);
    operations.iter().for_each(|operation| println!("{operation}"));
    let began = Instant::now();
    let object = history.object.clone();
    let (done, verdict) = oneshot::channel();
    // Of its own, so that it can be interrupted.
    thread::spawn(move || done.send(history.check(Budget { steps: MOST_STEPS, time })));
    let verdict = verdict.await?;
    println!("{object}, checked in {:.1?}:", began.elapsed());
    match &verdict {
        Verdict::Linearizable => println!("it is linearizable"),
        Verdict::Violation(why) => println!("it is not linearizable: {why}"),
        Verdict::Unknown(Some(why)) => println!("nobody knows whether it is; so far: {why}"),
        Verdict::Unknown(None) => println!("nobody knows whether it is linearizable"),
    }
    Ok(matches!(verdict, Verdict::Linearizable))
}
