//! Ordinary clients' throughput, alone and among hostile sessions.

use std::{
    io,
    time::{Duration, Instant},
};

use clap::Args;
use mp_manager::{Dict, Manager};
use mp_manager_bench::{AUTHKEY, daemon::Daemon, statistics::median, work::mixed};
use tokio::time::sleep;

use crate::{
    attacker::Word, kind::Kind, measured::Measured, processes::Attacker, sessions::Manner,
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
    #[arg(long, default_value_t = 0.3)]
    seconds: f64,
    /// How often the attack pauses and goes on in a round.
    #[arg(long, default_value_t = 24)]
    pauses: u32,
    /// What each of the thousand hostile sessions does in ten seconds.
    #[arg(long, default_value_t = 10)]
    acts: u32,
    /// What the thousand sessions do. With `busy` it is nothing wrong: how fair the server is then,
    /// and not how well it defends itself.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "reset,empty,oversized,never-reading,garbage"
    )]
    manners: Vec<Manner>,
    /// Ordinary clients.
    #[arg(long, default_value_t = 4)]
    clients: usize,
    /// Calls that each of them has in flight.
    #[arg(long, default_value_t = 64)]
    calls: u64,
}

/// Before each measurement, until everything is as it will be.
const SETTLE: Duration = Duration::from_millis(200);

/// One round.
struct Round {
    /// Operations a second without any hostile session.
    alone: f64,
    among: Rates,
    control: Rates,
    memory_kib: u64,
}

/// Operations a second.
#[derive(Clone, Copy)]
struct Rates {
    /// While the hostile sessions do nothing.
    paused: f64,
    attacked: f64,
}

impl Rates {
    fn ratio(self) -> f64 {
        self.attacked / self.paused
    }
}

impl Throughput {
    pub(crate) async fn measure(&self) -> io::Result<()> {
        let mut rounds = Vec::new();
        for n in 1..=self.rounds {
            let round = self.round().await?;
            println!(
                "round {n}: alone {:.0} operations/s; among hostile sessions {}; with these \
                 elsewhere {}; the server has {} MiB",
                round.alone,
                round.among,
                round.control,
                round.memory_kib >> 10
            );
            rounds.push(round);
        }
        let of = |f: fn(&Round) -> f64| median(rounds.iter().map(f));
        println!(
            "medians: among hostile sessions ×{:.2} of alone and ×{:.2} of their pauses; with these \
             elsewhere ×{:.2} and ×{:.2}; among them against elsewhere ×{:.2}; the server has {:.0} MiB",
            of(|round| round.among.attacked / round.alone),
            of(|round| round.among.ratio()),
            of(|round| round.control.attacked / round.alone),
            of(|round| round.control.ratio()),
            of(|round| round.among.ratio() / round.control.ratio()),
            of(|round| (round.memory_kib >> 10) as f64),
        );
        Ok(())
    }

    async fn round(&self) -> io::Result<Round> {
        let (daemon, other) = (self.measured.start(&[])?, self.measured.start(&[])?);
        let clients = Clients::connect(self.clients, daemon.address()).await?;
        clients.work(self.calls, self.duration()).await?;
        // Before and after, as the machine may have become slower or faster meanwhile.
        let before = self.alone(&clients).await?;
        let (among, memory_kib) = self.attack(&daemon, &clients, "among").await?;
        sleep(Duration::from_secs(1)).await;
        let (control, _) = self.attack(&other, &clients, "elsewhere").await?;
        sleep(Duration::from_secs(1)).await;
        let after = self.alone(&clients).await?;
        for log in [daemon.log(), other.log()] {
            assert!(!log.contains("panicked"), "{log}");
        }
        Ok(Round { alone: f64::midpoint(before, after), among, control, memory_kib })
    }

    async fn alone(&self, clients: &Clients) -> io::Result<f64> {
        let mut rate = 0.0;
        for _ in 0..self.pauses {
            sleep(SETTLE).await;
            rate += clients.work(self.calls, self.duration()).await? / f64::from(self.pauses);
        }
        Ok(rate)
    }

    async fn attack(
        &self,
        target: &Daemon,
        clients: &Clients,
        name: &str,
    ) -> io::Result<(Rates, u64)> {
        let (manners, compete) = (&self.manners, self.measured.compete);
        let mut attacker =
            Attacker::start(Kind::Sessions, target.socket_address()?, self.acts, manners, compete)?;
        sleep(Duration::from_secs(2)).await;
        let (mut attackers, mut targets) = (Duration::ZERO, Duration::ZERO);
        let mut rates = Rates { paused: 0.0, attacked: 0.0 };
        for n in 0..self.pauses {
            // In turns, as the machine becomes slower and faster; and neither is always the first.
            let turns = [Word::Pause, Word::GoOn, Word::GoOn, Word::Pause];
            for word in &turns[2 * (n as usize % 2)..][..2] {
                attacker.tell(*word)?;
                sleep(SETTLE).await;
                let (attacker_before, target_before) = (attacker.cpu()?, target.process().cpu()?);
                let rate = clients.work(self.calls, self.duration()).await?;
                if *word == Word::Pause {
                    rates.paused += rate / f64::from(self.pauses);
                } else {
                    rates.attacked += rate / f64::from(self.pauses);
                    attackers += attacker.cpu()? - attacker_before;
                    targets += target.process().cpu()? - target_before;
                }
            }
        }
        let memory_kib = target.process().memory_kib()?;
        let attacked = self.seconds * f64::from(self.pauses);
        let share = |cpu: Duration| 100.0 * cpu.as_secs_f64() / attacked;
        println!(
            "  {name}: the attacker uses {:.0} % of a processor, its target {:.0} %; {}",
            share(attackers),
            share(targets),
            attacker.stop()?,
        );
        Ok((rates, memory_kib))
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { paused, attacked } = self;
        write!(f, "{attacked:.0} operations/s, {paused:.0} in pauses: ×{:.2}", self.ratio())
    }
}

struct Clients(Vec<(Manager, Dict<u64, String>)>);

impl Clients {
    async fn connect(count: usize, address: &str) -> io::Result<Self> {
        let mut clients = Vec::new();
        for _ in 0..count {
            let manager = Manager::connect(address, AUTHKEY).await.map_err(io::Error::other)?;
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
            each.map(|(dict, call)| tokio::spawn(mixed(dict, call, start + duration))).collect();
        let mut operations = 0;
        for call in calls {
            operations += call.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
        }
        Ok(operations as f64 / start.elapsed().as_secs_f64())
    }
}
