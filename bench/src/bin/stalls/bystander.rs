//! A process that pings a daemon, and notes how long that takes.

use std::{
    fmt,
    io::{self, BufRead, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use mp_manager::blocking::Manager;
use mp_manager_bench::{AUTHKEY, process::Process};

/// How long it waits between two pings.
const PAUSE: Duration = Duration::from_micros(200);

/// The process, to whom it is another one.
pub(crate) struct Bystander {
    process: Process,
    metrics: String,
}

/// The durations of its pings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pings {
    count: usize,
    median: Duration,
    /// 99 of 100 took no longer.
    p99: Duration,
    pub(crate) longest: Duration,
}

impl Bystander {
    /// One of the daemon at this address, which serves metrics at `metrics`.
    pub(crate) fn start(address: &str, metrics: &str) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--bystander", address]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(&mut command)?;
        process.line()?;
        Ok(Self { process, metrics: metrics.to_owned() })
    }

    /// Where its daemon serves metrics, as HOST:PORT.
    pub(crate) fn metrics(&self) -> &str {
        &self.metrics
    }

    /// From now on its pings count.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.process.tell("begin")?;
        self.process.line().map(drop)
    }

    /// The durations of the pings since then.
    pub(crate) fn end(&mut self) -> io::Result<Pings> {
        self.process.tell("end")?;
        let line = self.process.line()?;
        let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [count, median, p99, longest] = numbers[..] else {
            return Err(io::Error::other(format!("the bystander says {line:?}")));
        };
        let [median, p99, longest] = [median, p99, longest].map(Duration::from_micros);
        Ok(Pings { count: count as usize, median, p99, longest })
    }
}

/// Pings until its input ends.
pub(crate) fn be_one(address: &str) -> io::Result<()> {
    let manager = Manager::connect(address, AUTHKEY).map_err(io::Error::other)?;
    let pings: Arc<Mutex<Vec<u64>>> = Arc::default();
    let noted = Arc::clone(&pings);
    std::thread::spawn(move || {
        loop {
            let began = Instant::now();
            if manager.ping().is_err() {
                std::process::exit(1);
            }
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            noted.lock().unwrap_or_else(PoisonError::into_inner).push(took);
            std::thread::sleep(PAUSE);
        }
    });
    let take = || std::mem::take(&mut *pings.lock().unwrap_or_else(PoisonError::into_inner));
    let say = |what: &str| {
        println!("{what}");
        io::stdout().flush()
    };
    say("ready")?;
    for line in io::stdin().lock().lines() {
        if line? == "begin" {
            take();
            say("begun")?;
            continue;
        }
        // One that is under way has its end yet to come.
        std::thread::sleep(10 * PAUSE);
        let mut all = take();
        while all.is_empty() {
            std::thread::sleep(PAUSE);
            all = take();
        }
        all.sort_unstable();
        let (count, last) = (all.len(), all.len() - 1);
        say(&format!("{count} {} {} {}", all[count / 2], all[count * 99 / 100], all[last]))?;
    }
    Ok(())
}

impl fmt::Display for Pings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, .. } = self;
        let [median, p99, longest] =
            [self.median, self.p99, self.longest].map(|time| time.as_secs_f64() * 1e3);
        write!(f, "{count:>8}{median:>9.2}{p99:>9.2}{longest:>9.2}")
    }
}
