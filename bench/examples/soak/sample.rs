//! What a daemon uses, once nobody else uses it.

use std::{
    fmt::{self, Display, Formatter},
    fs, io,
    time::Duration,
};

use mp_manager::{Manager, Statistics};
use mp_manager_bench::{
    daemon::Daemon,
    flat::{Tolerance, why_not_flat},
};
use tokio::time::{Instant, sleep};

/// A daemon's numbers.
pub(crate) struct Sample {
    kib: u64,
    descriptors: u64,
    threads: u64,
    statistics: Statistics,
}

/// One of them.
pub(crate) struct Number {
    pub(crate) name: &'static str,
    of: fn(&Sample) -> u64,
    tolerance: Tolerance,
}

/// All of them, in the order in which they are printed.
pub(crate) const NUMBERS: [Number; 6] = [
    Number {
        name: "RSS in KiB",
        of: |sample| sample.kib,
        tolerance: Tolerance { part: 0.05, least: 4096.0 },
    },
    Number {
        name: "descriptors",
        of: |sample| sample.descriptors,
        tolerance: Tolerance { part: 0.0, least: 4.0 },
    },
    Number {
        name: "threads",
        of: |sample| sample.threads,
        tolerance: Tolerance { part: 0.0, least: 4.0 },
    },
    Number {
        name: "accounted bytes",
        of: |sample| sample.statistics.bytes,
        tolerance: Tolerance { part: 0.0, least: 4096.0 },
    },
    Number { name: "objects", of: |sample| sample.statistics.objects, tolerance: Tolerance::NONE },
    Number {
        name: "sessions",
        of: |sample| sample.statistics.sessions,
        tolerance: Tolerance::NONE,
    },
];

impl Number {
    /// Why it is not flat in these samples, if it is not.
    pub(crate) fn why_not_flat(&self, samples: &[Sample]) -> Option<String> {
        let numbers: Vec<f64> = samples.iter().map(|sample| (self.of)(sample) as f64).collect();
        why_not_flat(&numbers, self.tolerance)
    }
}

impl Sample {
    /// Looks at a daemon once it has forgotten everybody but `observer`, or after so long.
    pub(crate) async fn of(
        daemon: &Daemon,
        observer: &Manager,
        patience: Duration,
    ) -> io::Result<Self> {
        let until = Instant::now() + patience;
        let statistics = loop {
            let statistics = observer.statistics().await.map_err(io::Error::other)?;
            let is_alone = statistics.sessions == 1 && statistics.objects == 0;
            if is_alone || Instant::now() >= until {
                break statistics;
            }
            sleep(Duration::from_millis(50)).await;
        };
        // Connections of sessions that are over are closed a moment later.
        sleep(Duration::from_secs(2)).await;
        let process = daemon.process().id();
        let count = |what: &str| -> io::Result<u64> {
            Ok(fs::read_dir(format!("/proc/{process}/{what}"))?.count() as u64)
        };
        let (descriptors, threads) = (count("fd")?, count("task")?);
        Ok(Self { kib: daemon.process().memory_kib()?, descriptors, threads, statistics })
    }

    /// What stands above the numbers.
    pub(crate) fn headings() -> String {
        NUMBERS.map(|number| format!("{:>16}", number.name)).concat()
    }
}

impl Display for Sample {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        NUMBERS.iter().try_for_each(|number| write!(f, "{:>16}", (number.of)(self)))
    }
}
