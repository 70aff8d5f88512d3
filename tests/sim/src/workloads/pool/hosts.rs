//! A pool with hosts: some processes are hosts and keep those that are workers, the others submit runs and tell hosts
//! what to do.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use mp_manager::{
    Error,
    simulation::{Host, Pool, Standing},
};

use super::{
    Applicant, Context, Life, Living, Pools, SECOND, Staff, Submitting, badge, bury, exit,
    expect_joined, submit, work,
};
use crate::{
    client::Task, invariants::pool::hosts::Stay, network::ClientId, plan::Cluster, world::Micros,
};

/// The pool's number. It is never ended, and so is the only one.
const POOL: u64 = 0;
/// So long nothing changes any more before the pool is compared with what is known of it.
const REST: u64 = 10 * SECOND;

/// What is known outside of the manager of a pool's hosts.
#[derive(Default)]
pub(crate) struct Hosts {
    /// The names that there are.
    names: RefCell<BTreeSet<String>>,
    /// Those that processes have.
    taken: RefCell<BTreeSet<String>>,
    stays: RefCell<Vec<Rc<Stay>>>,
    operators: Cell<usize>,
    /// The pool was compared with what is known of it.
    is_inspected: Cell<bool>,
    /// Processes that are to die at once.
    condemned: RefCell<Vec<ClientId>>,
}

impl Hosts {
    pub(super) fn are_there(&self) -> bool {
        !self.names.borrow().is_empty()
    }

    /// Nobody has anything to look at any more.
    pub(super) fn are_inspected(&self) -> bool {
        !self.are_there() || self.is_inspected.get() && self.operators.get() == 0
    }

    pub(super) fn next_condemned(&self) -> Option<ClientId> {
        self.condemned.borrow_mut().pop()
    }

    fn condemn(&self, life: &Life) {
        if !life.is_dead.get() {
            self.condemned.borrow_mut().push(life.process);
        }
    }

    /// The host that attends by this name, if it knows that it does.
    fn stay(&self, name: &str) -> Option<Rc<Stay>> {
        let stays = self.stays.borrow();
        stays.iter().find(|stay| stay.name == name && stay.goes_on()).cloned()
    }
}

/// The tasks of one process: what is missing comes first.
pub(in crate::workloads) fn tasks(my: &Context, cluster: Cluster, rounds: u64) -> Vec<Task> {
    let hosts = &my.staff.hosts;
    if !hosts.are_there() {
        hosts.names.borrow_mut().extend((0..cluster.hosts).map(|number| format!("host {number}")));
    }
    if hosts.is_inspected.get() {
        // Everybody leaves.
        return Vec::new();
    }
    if hosts.operators.get() < cluster.operators {
        let operating = Operating::begin(my);
        let mut tasks: Vec<Task> = vec![Box::pin(operate(my.clone(), operating))];
        for _ in 0..=my.world.below(2) {
            let submitting = Submitting::begin(my);
            tasks.push(Box::pin(submit(my.clone(), submitting, rounds)));
        }
        return tasks;
    }
    match Duty::begin(my) {
        Some(duty) => vec![Box::pin(keep(my.clone(), duty))],
        None => vec![Box::pin(work(my.clone(), Living::begin(my), false))],
    }
}

/// As long as it lives, somebody looks after the pool.
struct Operating(Rc<Staff>);

impl Operating {
    fn begin(my: &Context) -> Self {
        my.staff.hosts.operators.update(|operators| operators + 1);
        Self(Rc::clone(&my.staff))
    }
}

impl Drop for Operating {
    fn drop(&mut self) {
        self.0.hosts.operators.update(|operators| operators - 1);
    }
}

/// A process is a host until this is dropped. Its workers die with it.
struct Duty {
    staff: Rc<Staff>,
    name: String,
    wards: RefCell<Vec<Ward>>,
}

/// A worker that a host keeps.
#[derive(Clone)]
struct Ward {
    life: Rc<Life>,
    standing: Rc<Standing>,
    is_retired: bool,
}

impl Duty {
    fn begin(my: &Context) -> Option<Self> {
        let hosts = &my.staff.hosts;
        let free = hosts.names.borrow().difference(&hosts.taken.borrow()).next().cloned();
        let name = free?;
        hosts.taken.borrow_mut().insert(name.clone());
        Some(Self { staff: Rc::clone(&my.staff), name, wards: RefCell::default() })
    }

    fn kill(&self) {
        for ward in &*self.wards.borrow() {
            self.staff.hosts.condemn(&ward.life);
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        self.kill();
        self.staff.hosts.taken.borrow_mut().remove(&self.name);
    }
}

/// Keeps workers, and does what it is told: as an agent does.
async fn keep(my: Context, duty: Duty) {
    let mut pools = Pools::default();
    let pool = pools.open(&my, POOL).await;
    let capacity = 1 + u32::try_from(my.world.below(4)).unwrap_or(0);
    let host = loop {
        match pool.host(duty.name.clone(), capacity).await {
            Ok(host) => break host,
            // Of one that has died the session may go on.
            Err(Error::AlreadyExists(_)) => {}
            Err(Error::PoolClosed(_)) => return,
            result => _ = my.expect("attend", result),
        }
        my.sleep(my.world.below(SECOND / 2)).await;
    };
    let (standing, stay) = begin_stay(&my, &duty, &pool, &host);
    let mut keeper = Keeper { my: &my, duty: &duty, pool, host, standing, stay, drains: false };
    while keeper.goes_on().await {}
    if keeper.drains {
        // Another one may come by its name.
        return exit(&my).await;
    }
    while !duty.wards.borrow().is_empty() {
        keeper.bury_the_dead().await;
        my.sleep(20_000).await;
    }
    close(&my, &keeper.pool).await;
}

/// Nothing is submitted any more.
async fn close(my: &Context, pool: &Pool) {
    my.oracle.borrow_mut().pools.closing(POOL);
    if my.expect("close", pool.close().await).is_some() {
        expect_joined(my, pool.join().await);
    }
}

fn begin_stay(my: &Context, duty: &Duty, pool: &Pool, host: &Host) -> (Rc<Standing>, Rc<Stay>) {
    let standing = Rc::new(host.standing(pool, my.world.below(u64::MAX)));
    let stay = Stay {
        name: duty.name.clone(),
        came_at: my.oracle.borrow().pools.started(),
        ..Stay::default()
    };
    stay.session.replace(Rc::downgrade(&standing));
    let stay = Rc::new(stay);
    let mut stays = my.staff.hosts.stays.borrow_mut();
    stays.retain(|stay| stay.is_last());
    stays.push(Rc::clone(&stay));
    my.note(format_args!("attends as {}, {:?}", duty.name, host.orders()));
    (standing, stay)
}

struct Keeper<'a> {
    my: &'a Context,
    duty: &'a Duty,
    pool: Rc<Pool>,
    host: Host,
    /// The session in which it attends.
    standing: Rc<Standing>,
    stay: Rc<Stay>,
    /// It was drained, if by an earlier start of the manager.
    drains: bool,
}

impl Keeper<'_> {
    /// Whether there is something to do.
    async fn goes_on(&mut self) -> bool {
        let my = self.my;
        my.sleep(500 + my.world.below(patience(my))).await;
        self.bury_the_dead().await;
        if my.staff.is_over(my) {
            return false;
        }
        let orders = self.host.orders();
        let (number, workers) = (orders.number, orders.workers as usize);
        self.drains |= orders.drain;
        let stays = self.duty.wards.borrow().iter().filter(|ward| !ward.is_retired).count();
        if self.drains {
            self.retire(stays).await;
            if self.duty.wards.borrow().is_empty() {
                return false;
            }
        } else if stays > workers {
            self.retire(stays - workers).await;
        } else if stays < workers {
            self.hire().await;
        }
        if my.world.one_in(3) {
            let timeout = Duration::from_micros(my.world.below(SECOND));
            let told = my.timed("orders", timeout, self.pool.orders(number, timeout)).await;
            if let Err(Error::PoolClosed(_)) = told {
                return false;
            }
        }
        let attended = self.host.attend(number).await;
        match attended {
            Ok(()) => {
                self.renew();
                true
            }
            Err(Error::PoolClosed(_)) => false,
            lost => {
                let _ = my.expect("attend", lost);
                self.come_back().await
            }
        }
    }

    /// Its session goes on although the manager was not heard of for long.
    fn renew(&mut self) {
        if !self.standing.is_lost() {
            return;
        }
        let my = self.my;
        self.standing = Rc::new(self.host.standing(&self.pool, my.world.below(u64::MAX)));
        self.stay.session.replace(Rc::downgrade(&self.standing));
        for ward in &mut *self.duty.wards.borrow_mut() {
            ward.standing = Rc::clone(&self.standing);
            ward.life.guardian.replace(Rc::downgrade(&self.standing));
        }
    }

    /// Its session is over, as far as it knows: attends in another one when its workers are dead.
    async fn come_back(&mut self) -> bool {
        let my = self.my;
        loop {
            self.duty.kill();
            let are_dead = || self.duty.wards.borrow().iter().all(|ward| ward.life.is_dead.get());
            while !are_dead() {
                my.sleep(1).await;
            }
            if my.world.one_in(2) {
                self.bury_the_dead().await;
            }
            // Whoever is drained has nothing to come back to.
            if self.drains {
                return false;
            }
            match self.host.come_back().await {
                Ok(()) => break,
                Err(Error::AlreadyExists(_)) => {}
                Err(Error::PoolClosed(_)) => return false,
                result => _ = my.expect("attend", result),
            }
            my.sleep(my.world.below(SECOND / 2)).await;
        }
        (self.standing, self.stay) = begin_stay(my, self.duty, &self.pool, &self.host);
        true
    }

    /// Announces a worker, if one is there to be had.
    async fn hire(&self) {
        let my = self.my;
        let Some(applicant) = Applicant::next(my) else { return };
        let (life, badge) = (&applicant.life, badge(my));
        match self.host.guard(&badge).await {
            Ok(()) if life.is_dead.get() => {
                life.badge.replace(Some(badge));
                bury(my, life, &self.pool, &self.standing).await;
            }
            Ok(()) => {
                let (life, standing) = (Rc::clone(life), Rc::clone(&self.standing));
                life.pool.set(POOL);
                life.host.set(Some(my.process));
                life.badge.replace(Some(badge));
                life.guardian.replace(Rc::downgrade(&standing));
                life.stay.replace(Some(Rc::clone(&self.stay)));
                self.duty.wards.borrow_mut().push(Ward { life, standing, is_retired: false });
            }
            Err(Error::PoolClosed(_)) => {}
            result => _ = my.expect("guard", result),
        }
    }

    /// Has so many workers leave.
    async fn retire(&self, count: usize) {
        let is_there = |ward: &&mut Ward| !ward.is_retired;
        let mut leavers = Vec::new();
        for ward in self.duty.wards.borrow_mut().iter_mut().rev().filter(is_there).take(count) {
            ward.is_retired = true;
            leavers.push(Rc::clone(&ward.life));
        }
        for life in leavers {
            let starts = self.my.oracle.borrow().pools.started();
            let badge = life.badge.borrow().clone().unwrap_or_default();
            self.my.note(format_args!("retires process {}", life.process));
            let retired = self.pool.retire(&badge).await;
            if self.my.expect("retire", retired).is_some() && !self.standing.is_lost() {
                let token = newest_token(self.my, starts).await;
                life.retired_from.set(token.filter(|_| !self.standing.is_lost()));
            }
        }
    }

    /// Says how workers have ended.
    async fn bury_the_dead(&self) {
        let (dead, alive) =
            self.duty.wards.take().into_iter().partition(|ward| ward.life.is_dead.get());
        self.duty.wards.replace(alive);
        for Ward { life, standing, .. } in dead {
            bury(self.my, &life, &self.pool, &standing).await;
        }
    }
}

/// How long somebody waits who looks again and again. There is little to see once nothing goes wrong any more.
pub(super) fn patience(my: &Context) -> Micros {
    if my.world.now() < my.times.calm_from { 20_000 } else { 2 * SECOND }
}

/// A token that comes after all that have been handed out, if the manager has not started again for the number of
/// `starts`.
async fn newest_token(my: &Context, starts: usize) -> Option<u64> {
    if my.world.one_in(2) {
        return None;
    }
    let lock = my.open(|manager| manager.lock("tokens").open()).await;
    let guard = my.expect("acquire", lock.acquire().await)?;
    let token = guard.token();
    let _ = guard.release().await;
    (my.oracle.borrow().pools.started() == starts).then_some(token)
}

/// Tells hosts what to do and asks what is going on, until all has come to rest and is as it should be.
async fn operate(my: Context, _operating: Operating) {
    let mut pools = Pools::default();
    let pool = pools.open(&my, POOL).await;
    while my.world.now() < my.times.calm_from || my.staff.submitters.get() > 0 {
        my.sleep(my.world.below(2 * SECOND)).await;
        let names = my.staff.hosts.names.borrow().clone();
        let is_calm = my.world.now() >= my.times.calm_from;
        match my.world.below(8) {
            0 | 1 => resize(&my, &pool, is_calm).await,
            2 if !is_calm => drain(&my, &pool).await,
            3 => {
                let failed = my.world.one_in(2);
                let listed = my.patiently(pool.tasks(failed, None)).await;
                if let Some(tasks) = listed.and_then(|result| my.expect("tasks", result)) {
                    my.oracle.borrow_mut().pools.lists(&tasks, &names);
                }
            }
            _ => {
                let asked = my.patiently(pool.status()).await;
                if let Some(status) = asked.and_then(|result| my.expect("status", result)) {
                    my.oracle.borrow_mut().pools.says(&status, &names);
                }
            }
        }
    }
    inspect(&my, &pool).await;
}

/// Compares the pool with what is known of it, once nothing changes any more.
async fn inspect(my: &Context, pool: &Pool) {
    let census = || {
        let (stays, oracle) = (my.staff.hosts.stays.borrow(), my.oracle.borrow());
        (oracle.pools.census(&stays), oracle.pools.workers())
    };
    loop {
        let before = census();
        my.sleep(REST + 3 * my.times.lease).await;
        let Some(status) = my.expect("status", pool.status().await) else { continue };
        // Hosts still hire, or have sessions that they have lost.
        if before == census() {
            my.staff.hosts.is_inspected.set(true);
            return my.oracle.borrow_mut().pools.says_at_rest(&status, &before.0);
        }
    }
}

/// In the end there are some workers.
async fn resize(my: &Context, pool: &Pool, is_calm: bool) {
    let least = if is_calm { 2 } else { 0 };
    let workers = least + u32::try_from(my.world.below(5)).unwrap_or(0);
    let names: Vec<String> = my.staff.hosts.names.borrow().iter().cloned().collect();
    let is_one = !is_calm && my.world.one_in(2);
    let name = my.world.pick(&names).cloned().filter(|_| is_one).unwrap_or_default();
    my.note(format_args!("resizes \"{name}\" to {workers}"));
    match my.patiently(pool.resize(workers, &name)).await {
        // Nobody of this name is there, or all of them are drained.
        Some(Err(Error::InvalidArgument(_))) | None => {}
        Some(result) => _ = my.expect("resize", result),
    }
}

async fn drain(my: &Context, pool: &Pool) {
    let hosts = &my.staff.hosts;
    let names: Vec<String> = hosts.names.borrow().iter().cloned().collect();
    let Some(name) = my.world.pick(&names).cloned() else { return };
    let (starts, stay) = (my.oracle.borrow().pools.started(), hosts.stay(&name));
    my.note(format_args!("drains {name}"));
    match pool.drain(&name).await {
        Err(Error::InvalidArgument(_)) => return,
        result => {
            if my.expect("drain", result).is_none() {
                return;
            }
        }
    }
    // It has attended all the while, in this start of the manager.
    let Some(stay) = stay.filter(|stay| stay.goes_on() && stay.came_at == starts) else { return };
    if my.oracle.borrow().pools.started() != starts {
        return;
    }
    stay.is_drained.set(true);
    let token = newest_token(my, starts).await;
    stay.drained_from.set(stay.drained_from.get().or(token));
}
