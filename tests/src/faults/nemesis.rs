//! What is done to the workers, again and again, to each on its own.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use rustix::process::Signal;
use tokio::time::sleep;

use super::{children::Worker, netns::Link, worker::Orders};
use crate::fault_proxy::{Cut, Direction, Fault, FaultProxy};

/// One thing that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Blow {
    /// SIGKILL; another process takes its place.
    Kill,
    /// SIGSTOP, beyond the lease or for less.
    Stop,
    /// Every connection is reset.
    Reset,
    /// Every connection is finished.
    Finish,
    /// Every connection is half-open for a while, and then reset.
    HalfOpen,
    /// Data is slow for a while.
    Throttle,
    /// Data is late for a while.
    Delay,
    /// Connections are reset, and refused for a while.
    Refuse,
    /// The link is down for a while.
    LinkDown,
}

impl Blow {
    /// How often each comes, of a hundred.
    const SHARES: [(Self, u8); 8] = [
        (Self::Kill, 25),
        (Self::Stop, 25),
        (Self::Reset, 15),
        (Self::Finish, 10),
        (Self::HalfOpen, 10),
        (Self::Throttle, 5),
        (Self::Delay, 5),
        (Self::Refuse, 5),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "killed",
            Self::Stop => "stopped",
            Self::Reset => "reset",
            Self::Finish => "finished",
            Self::HalfOpen => "half-open",
            Self::Throttle => "throttled",
            Self::Delay => "delayed",
            Self::Refuse => "refused",
            Self::LinkDown => "link down",
        }
    }

    fn draw(dice: &mut Rng, has_link: bool) -> Self {
        if has_link && dice.u8(..3) == 0 {
            return Self::LinkDown;
        }
        let mut n = dice.u8(..100);
        for (blow, share) in Self::SHARES {
            match n.checked_sub(share) {
                Some(rest) => n = rest,
                None => return blow,
            }
        }
        Self::Kill
    }
}

/// What all victims have in common.
pub(crate) struct Nemesis {
    pub(crate) program: PathBuf,
    pub(crate) lease: Duration,
    /// Blows that are still to be dealt.
    pub(crate) left: AtomicU64,
    /// The number of the last process.
    pub(crate) last_process: AtomicU64,
    pub(crate) dealt: Mutex<BTreeMap<Blow, u64>>,
    pub(crate) journals: Mutex<Vec<(u64, Vec<u8>)>>,
    pub(crate) problems: Mutex<Vec<String>>,
}

/// A worker, whichever process it is at the moment.
pub(crate) struct Victim {
    pub(crate) proxy: FaultProxy,
    pub(crate) link: Option<Link>,
    orders: Orders,
    worker: Worker,
}

impl Nemesis {
    pub(crate) fn dealt(&self, blow: Blow) {
        *lock(&self.dealt).entry(blow).or_default() += 1;
    }

    pub(crate) fn problem(&self, problem: String) {
        lock(&self.problems).push(problem);
    }

    fn take(&self) -> bool {
        self.left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
    }

    fn start(&self, orders: &Orders, link: Option<&Link>) -> io::Result<Worker> {
        let process = self.last_process.fetch_add(1, Ordering::SeqCst) + 1;
        let orders = Orders { process, ..orders.clone() };
        Worker::start(&self.program, &orders, link.map(|link| link.namespace.as_str()))
    }

    pub(crate) fn victim(
        &self,
        orders: Orders,
        proxy: FaultProxy,
        link: Option<Link>,
    ) -> io::Result<Victim> {
        let worker = self.start(&orders, link.as_ref())?;
        Ok(Victim { proxy, link, orders, worker })
    }

    /// Deals blows to a victim until there are none left.
    pub(crate) async fn plague(
        self: Arc<Self>,
        mut victim: Victim,
        mut dice: Rng,
    ) -> io::Result<Victim> {
        loop {
            sleep(Duration::from_millis(dice.u64(100..1_500))).await;
            if !self.take() {
                return Ok(victim);
            }
            if let Some(why) = victim.worker.process.has_ended() {
                self.problem(format!("worker {} ended by itself: {why}", victim.worker.number));
                self.replace(&mut victim).await?;
            }
            let blow = Blow::draw(&mut dice, victim.link.is_some());
            self.deal(blow, &mut victim, &mut dice).await?;
            self.dealt(blow);
        }
    }

    async fn deal(&self, blow: Blow, victim: &mut Victim, dice: &mut Rng) -> io::Result<()> {
        let proxy = &victim.proxy;
        // Half of them beyond the lease.
        let while_ = self.lease.mul_f64(0.1 + 1.9 * dice.f64());
        match blow {
            Blow::Kill => {
                victim.worker.process.kill().await?;
                self.replace(victim).await?;
            }
            Blow::Stop => {
                victim.worker.process.signal(Signal::STOP);
                sleep(while_).await;
                victim.worker.process.signal(Signal::CONT);
            }
            Blow::Reset => drop(proxy.cut_all(Cut::Reset)),
            Blow::Finish => drop(proxy.cut_all(Cut::Finish)),
            Blow::HalfOpen => {
                let directions = [Direction::ToServer, Direction::ToClient, Direction::Both];
                let direction = *dice.choice(&directions).unwrap_or(&Direction::Both);
                proxy.set(Fault::Swallow(direction));
                sleep(while_).await;
                proxy.set(Fault::None);
                proxy.cut_all(Cut::Reset);
            }
            Blow::Throttle => during(proxy, Fault::Throttle(dice.u64(500..20_000)), while_).await,
            Blow::Delay => {
                let delay = Duration::from_millis(dice.u64(5..300));
                during(proxy, Fault::Delay(delay), while_).await;
            }
            Blow::Refuse => {
                proxy.set(Fault::Refuse);
                proxy.cut_all(Cut::Reset);
                sleep(while_).await;
                proxy.set(Fault::None);
            }
            Blow::LinkDown => {
                if let Some(link) = &victim.link {
                    link.set_up(false).await?;
                    sleep(while_).await;
                    link.set_up(true).await?;
                }
            }
        }
        Ok(())
    }

    /// Starts another process in the place of one that is gone.
    async fn replace(&self, victim: &mut Victim) -> io::Result<()> {
        let next = self.start(&victim.orders, victim.link.as_ref())?;
        let gone = std::mem::replace(&mut victim.worker, next);
        let journal = gone.journal().await;
        lock(&self.journals).push(journal);
        Ok(())
    }

    /// Lets a worker come to its end.
    pub(crate) async fn finish(self: Arc<Self>, mut victim: Victim) {
        let patience = 5 * self.lease + Duration::from_secs(30);
        if let Err(why) = victim.worker.process.finish(patience).await {
            self.problem(format!("worker {}: {why}", victim.worker.number));
        }
        let journal = victim.worker.journal().await;
        lock(&self.journals).push(journal);
    }
}

async fn during(proxy: &FaultProxy, fault: Fault, time: Duration) {
    proxy.set(fault);
    sleep(time).await;
    proxy.set(Fault::None);
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
