//! An ordinary client's latency, quiet and under attack.

use std::{
    io,
    time::{Duration, Instant},
};

use clap::Args;
use mp_manager::{Dict, Manager};
use mp_manager_bench::{AUTHKEY, daemon::Daemon, statistics::median};
use tokio::time::sleep;

use crate::{kind::Kind, measured::Measured, processes::Attacker};

/// Measures an ordinary client's latency, quiet and under attack by strangers.
#[derive(Args)]
pub(crate) struct Latency {
    #[command(flatten)]
    measured: Measured,
    /// Rounds; medians are printed last.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Half-open connections.
    #[arg(long, default_value_t = 5000)]
    connections: u32,
    /// Wrong logins a second.
    #[arg(long, default_value_t = 5000)]
    logins: u32,
}

/// What a measurement found, in microseconds.
#[derive(Clone, Copy)]
struct Percentiles {
    p50: f64,
    p99: f64,
}

/// One attack in one round.
struct Round {
    quiet: Percentiles,
    attacked: Percentiles,
    control: Percentiles,
}

impl Latency {
    pub(crate) async fn measure(&self) -> io::Result<()> {
        for (kind, rate) in [(Kind::HalfOpen, self.connections), (Kind::Logins, self.logins)] {
            println!("\n{} ({rate}):", kind.name());
            let mut rounds = Vec::new();
            for n in 1..=self.rounds {
                let round = self.round(kind, rate).await?;
                println!(
                    "round {n}: p50/p99 quiet {}, attacked {}, another daemon attacked {} µs",
                    round.quiet, round.attacked, round.control
                );
                rounds.push(round);
            }
            let of = |f: fn(&Round) -> f64| median(rounds.iter().map(f));
            println!(
                "medians: p99 quiet {:.0} µs; attacked ×{:.2}; another daemon attacked ×{:.2}; \
                 attacked against another daemon attacked ×{:.2}",
                of(|round| round.quiet.p99),
                of(|round| round.attacked.p99 / round.quiet.p99),
                of(|round| round.control.p99 / round.quiet.p99),
                of(|round| round.attacked.p99 / round.control.p99),
            );
        }
        Ok(())
    }

    async fn round(&self, kind: Kind, rate: u32) -> io::Result<Round> {
        let (daemon, other) = (self.measured.start(&[])?, self.measured.start(&[])?);
        let client = Client::connect(daemon.address()).await?;
        client.latency(self.duration() / 4).await?;
        let quiet = client.latency(self.duration()).await?;
        let attacked = self.attack(kind, rate, &daemon, &client, "attacked").await?;
        // What is left of the attack is not to be measured again.
        sleep(Duration::from_millis(500)).await;
        let control = self.attack(kind, rate, &other, &client, "another").await?;
        for log in [daemon.log(), other.log()] {
            assert!(!log.contains("panicked"), "{log}");
        }
        Ok(Round { quiet, attacked, control })
    }

    async fn attack(
        &self,
        kind: Kind,
        rate: u32,
        target: &Daemon,
        client: &Client,
        name: &str,
    ) -> io::Result<Percentiles> {
        let attacker =
            Attacker::start(kind, target.socket_address()?, rate, &[], self.measured.compete)?;
        // Until it is what it will be from now on.
        sleep(Duration::from_secs(1)).await;
        let (attackers, targets) = (attacker.cpu()?, target.process().cpu()?);
        let percentiles = client.latency(self.duration()).await?;
        let share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / self.seconds;
        println!(
            "  {name}: the attacker uses {:.0} % of a processor, its target {:.0} %; {}",
            share(attacker.cpu()? - attackers),
            share(target.process().cpu()? - targets),
            attacker.stop()?,
        );
        Ok(percentiles)
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// An ordinary client, which does one thing after the other.
struct Client {
    dict: Dict<u64, String>,
    _manager: Manager,
}

impl Client {
    async fn connect(address: &str) -> io::Result<Self> {
        let manager = Manager::connect(address, AUTHKEY).await.map_err(io::Error::other)?;
        let dict = manager.dict("latency").await.map_err(io::Error::other)?;
        Ok(Self { dict, _manager: manager })
    }

    async fn latency(&self, duration: Duration) -> io::Result<Percentiles> {
        let (start, value) = (Instant::now(), "x".repeat(32));
        let mut took = Vec::new();
        while start.elapsed() < duration {
            let key = took.len() as u64 % 16;
            let begin = Instant::now();
            if key.is_multiple_of(2) {
                self.dict.insert(&key, &value).await.map_err(io::Error::other)?;
            } else {
                self.dict.get(&key).await.map_err(io::Error::other)?;
            }
            took.push(begin.elapsed());
        }
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e6;
        Ok(Percentiles { p50: at(50), p99: at(99) })
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0}/{:.0}", self.p50, self.p99)
    }
}
