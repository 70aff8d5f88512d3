//! Ordinary clients' throughput, alone and among hostile sessions.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use clap::Args;
use mp_manager::{Dict, Manager};
use mp_manager_tests::AUTHKEY;
use tokio::time::sleep;

use crate::{
    Measured,
    attack::Kind,
    median,
    processes::{Attacker, Daemon},
};

/// Measures ordinary clients' throughput, alone and among hostile sessions.
#[derive(Args)]
pub(crate) struct Throughput {
    #[command(flatten)]
    measured: Measured,
    /// Rounds; medians are printed last.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// What each of the thousand hostile sessions does in ten seconds.
    #[arg(long, default_value_t = 10)]
    acts: u32,
    /// Ordinary clients.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// The thousand sessions do nothing wrong, but much: how fair the server is, and not how well
    /// it defends itself.
    #[arg(long)]
    busy: bool,
    /// Calls that each of them has in flight.
    #[arg(long, default_value_t = 64)]
    calls: u64,
}

/// Operations a second.
struct Round {
    alone: f64,
    among: f64,
    control: f64,
    memory_kib: u64,
}

impl Throughput {
    pub(crate) async fn measure(&self) -> io::Result<()> {
        let mut rounds = Vec::new();
        for n in 1..=self.rounds {
            let round = self.round().await?;
            println!(
                "round {n}: alone {:.0}, among hostile sessions {:.0}, with these elsewhere {:.0} \
                 operations/s; the server has {} MiB",
                round.alone,
                round.among,
                round.control,
                round.memory_kib >> 10
            );
            rounds.push(round);
        }
        let of = |f: fn(&Round) -> f64| median(rounds.iter().map(f));
        println!(
            "medians: alone {:.0} operations/s; among hostile sessions ×{:.2}; with these elsewhere \
             ×{:.2}; among them against elsewhere ×{:.2}; the server has {:.0} MiB",
            of(|round| round.alone),
            of(|round| round.among / round.alone),
            of(|round| round.control / round.alone),
            of(|round| round.among / round.control),
            of(|round| (round.memory_kib >> 10) as f64),
        );
        Ok(())
    }

    async fn round(&self) -> io::Result<Round> {
        let program = self.measured.program()?;
        let (daemon, other) = (Daemon::start(&program, &[])?, Daemon::start(&program, &[])?);
        let clients = Clients::connect(self.clients, daemon.address).await?;
        clients.work(self.calls, self.duration() / 4).await?;
        // Before and after, as the machine may have become slower or faster meanwhile.
        let before = clients.work(self.calls, self.duration() / 2).await?;
        let (among, memory_kib) = self.attack(&daemon, &clients, "among").await?;
        sleep(Duration::from_secs(1)).await;
        let (control, _) = self.attack(&other, &clients, "elsewhere").await?;
        sleep(Duration::from_secs(1)).await;
        let after = clients.work(self.calls, self.duration() / 2).await?;
        for log in [daemon.log(), other.log()] {
            assert!(!log.contains("panicked"), "{log}");
        }
        Ok(Round { alone: f64::midpoint(before, after), among, control, memory_kib })
    }

    async fn attack(
        &self,
        target: &Daemon,
        clients: &Clients,
        name: &str,
    ) -> io::Result<(f64, u64)> {
        let kind = if self.busy { Kind::Busy } else { Kind::Sessions };
        let attacker = Attacker::start(kind, target.address, self.acts)?;
        sleep(Duration::from_secs(2)).await;
        let (attackers, targets) = (attacker.cpu()?, target.cpu()?);
        let rate = clients.work(self.calls, self.duration()).await?;
        let memory_kib = target.memory_kib()?;
        let share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / self.seconds;
        println!(
            "  {name}: the attacker uses {:.0} % of a processor, its target {:.0} %; {}",
            share(attacker.cpu()? - attackers),
            share(target.cpu()? - targets),
            attacker.stop()?,
        );
        Ok((rate, memory_kib))
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

struct Clients(Vec<(Manager, Dict<u64, String>)>);

impl Clients {
    async fn connect(count: usize, address: SocketAddr) -> io::Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let manager =
                Manager::connect(&address.to_string(), AUTHKEY).await.map_err(io::Error::other)?;
            let dict = manager.dict("throughput").await.map_err(io::Error::other)?;
            clients.push((manager, dict));
        }
        Ok(Self(clients))
    }

    /// Operations a second.
    async fn work(&self, calls: u64, duration: Duration) -> io::Result<f64> {
        let start = Instant::now();
        let dicts = self.0.iter().map(|(_, dict)| dict);
        let each = dicts.flat_map(|dict| (0..calls).map(move |call| (dict.clone(), call)));
        let calls: Vec<_> =
            each.map(|(dict, call)| tokio::spawn(work(dict, call, start + duration))).collect();
        let mut operations = 0;
        for call in calls {
            operations += call.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        Ok(operations as f64 / start.elapsed().as_secs_f64())
    }
}

async fn work(dict: Dict<u64, String>, call: u64, end: Instant) -> mp_manager::Result<u64> {
    let value = "x".repeat(32);
    let mut operations = 0;
    while Instant::now() < end {
        for n in 0..16 {
            let key = call * 16 + n;
            if n % 2 == 0 {
                dict.insert(&key, &value).await?;
            } else {
                dict.get(&key).await?;
            }
            operations += 1;
        }
    }
    Ok(operations)
}
