//! What a process does: everything at the same time, as long as its session stands.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use fastrand::Rng;
use mp_manager_core::v1::{
    DictOp, Empty, dict_op, list_op, lock_op, queue_op, reply, request, scalar_op, semaphore_op,
};
use tokio::time::sleep;

use super::{
    journal::{Asked, Session},
    world::{MAXSIZE, Name, PERMITS, Use, World},
};
use crate::{
    linear::ops,
    resource::{Access, ResourceClient},
};

/// Calls that may wait wait no longer than this, mostly. A client whose connections are cut has one again sooner, on a
/// busy machine as well: otherwise it is right to say that the manager could not be reached within that time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// What is done between two calls takes no longer.
const LONGEST_PAUSE_US: u64 = 8_000;
/// Between two rounds of a workload; several processes share a processor.
const LONGEST_REST_US: u64 = 40_000;

/// Where and as who to work.
pub(crate) struct Work<'a> {
    pub(crate) session: &'a Session,
    pub(crate) world: World,
    pub(crate) resource: SocketAddr,
    pub(crate) process: u64,
    pub(crate) stop: &'a AtomicBool,
}

impl Work<'_> {
    /// Until the session is lost, or everything is to stop.
    pub(crate) async fn all(&self, dice: &mut Rng) {
        let mut fork = || dice.fork();
        let [a, b, c, d, e, f, g] = std::array::from_fn(|_| fork());
        tokio::join!(
            self.count(a),
            self.produce(b),
            self.consume(c),
            self.stack(d),
            self.guard(e),
            self.limit(f),
            self.submit(g),
        );
    }

    pub(super) async fn goes_on(&self, dice: &mut Rng) -> bool {
        sleep(Duration::from_micros(dice.u64(..LONGEST_REST_US))).await;
        self.session.stands() && !self.stop.load(Ordering::Relaxed)
    }

    /// A number that nobody else has.
    pub(super) fn unique(&self, n: &mut u64) -> u64 {
        *n += 1;
        (self.process << 32 | self.session.number() << 20) + *n
    }

    async fn count(&self, mut dice: Rng) {
        let mut n = 0;
        while self.goes_on(&mut dice).await {
            if dice.u8(..4) == 0 {
                self.total(&mut dice).await;
                continue;
            }
            let object = self.world.name(Use::Counts);
            let dict = self.session.manager.dict::<String, u64>(object.to_string());
            let Some(dict) = self.session.open(dict).await else { continue };
            match dice.u8(..6) {
                0 => {
                    let asked = ask(object, ops::dict(dict_op::Op::Get(ops::key("n"))));
                    let told = |n: &Option<u64>| ops::value_or_absent(*n);
                    self.session.call(asked, dict.get("n"), told).await;
                }
                1 => {
                    let value = self.unique(&mut n);
                    let insert = dict_op::Op::Insert(ops::entry("last", value));
                    let told = |old: &Option<u64>| ops::value_or_absent(*old);
                    let asked = ask(object, ops::dict(insert));
                    self.session.call(asked, dict.insert("last", &value), told).await;
                }
                _ => {
                    let asked = ask(object, ops::add("n", 1));
                    self.session.call(asked, dict.add("n", &1), told_value).await;
                }
            }
        }
    }

    async fn total(&self, dice: &mut Rng) {
        let object = self.world.name(Use::Total);
        let open = self.session.manager.value::<u64>(object.to_string(), &0);
        let Some(value) = self.session.open(open).await else { return };
        if dice.u8(..5) == 0 {
            let asked = ask(object, ops::scalar(scalar_op::Op::Get(Empty {})));
            self.session.call(asked, value.get(), told_value).await;
        } else {
            let asked = ask(object, ops::scalar_add(1));
            self.session.call(asked, value.add(&1), told_value).await;
        }
    }

    async fn produce(&self, mut dice: Rng) {
        let mut n = 0;
        while self.goes_on(&mut dice).await {
            let object = self.world.name(Use::Jobs);
            let open = self.session.manager.queue::<u64>(object.to_string());
            let Some(jobs) = self.session.open(open.maxsize(MAXSIZE as usize)).await else {
                continue;
            };
            let item = self.unique(&mut n);
            let asked = ask(object, ops::put(item));
            self.session.call(asked, jobs.put_timeout(&item, PATIENCE), told_done).await;
        }
    }

    async fn consume(&self, mut dice: Rng) {
        while self.goes_on(&mut dice).await {
            let object = self.world.name(Use::Jobs);
            let open = self.session.manager.queue::<u64>(object.to_string());
            let Some(jobs) = self.session.open(open.maxsize(MAXSIZE as usize)).await else {
                continue;
            };
            if dice.bool() {
                let get = ask(object, ops::queue(queue_op::Op::Get(Empty {})));
                self.session
                    .call(get, jobs.get_counted_timeout(PATIENCE), |item| {
                        ops::item_or_absent(item.map(|item| (item.value, item.deliveries)))
                    })
                    .await;
                continue;
            }
            let lease = ask(object, ops::queue(queue_op::Op::Lease(Empty {})));
            let leased = self.session.call(lease, jobs.lease_timeout(PATIENCE), |delivery| {
                ops::item_or_absent(delivery.as_ref().map(|item| (**item, item.deliveries())))
            });
            let (about, Some(Some(delivery))) = leased.await else { continue };
            sleep(Duration::from_micros(dice.u64(..LONGEST_PAUSE_US))).await;
            let end = |op| Asked { object, op: ops::queue(op), about };
            match dice.u8(..8) {
                0 => drop(delivery),
                1 => {
                    let reject = end(queue_op::Op::Reject(0));
                    self.session.call(reject, delivery.reject(), told_done).await;
                }
                _ => {
                    let done = end(queue_op::Op::Done(0));
                    self.session.call(done, delivery.done(), told_done).await;
                }
            }
        }
    }

    async fn stack(&self, mut dice: Rng) {
        let mut n = 0;
        while self.goes_on(&mut dice).await {
            let object = self.world.name(Use::Stack);
            let open = self.session.manager.list::<u64>(object.to_string());
            let Some(stack) = self.session.open(open).await else { continue };
            if dice.u8(..5) < 2 {
                let item = self.unique(&mut n);
                let asked = ask(object, ops::list(list_op::Op::Push(ops::number(item))));
                self.session.call(asked, stack.push(&item), told_done).await;
            } else {
                let asked = ask(object, ops::list(list_op::Op::Pop(-1)));
                self.session.call(asked, stack.pop(), |item| told_popped(*item)).await;
            }
        }
    }

    /// Holds the lock, and does something with the resource behind it.
    async fn guard(&self, mut dice: Rng) {
        let mut resource = None;
        while self.goes_on(&mut dice).await {
            let object = self.world.name(Use::Lock);
            let open = self.session.manager.lock(object.to_string());
            let Some(lock) = self.session.open(open).await else { continue };
            let acquire = async {
                // For ever, now and then: what is parked must not be forgotten.
                if dice.u8(..4) == 0 {
                    return lock.acquire().await.map(Some);
                }
                lock.acquire_timeout(PATIENCE).await
            };
            let asked = ask(object, ops::lock(lock_op::Op::Acquire(Empty {})));
            let told = |guard: &Option<mp_manager::LockGuard>| {
                ops::grant_or_absent(guard.as_ref().map(mp_manager::LockGuard::token))
            };
            let (about, Some(Some(guard))) = self.session.call(asked, acquire, told).await else {
                continue;
            };
            for _ in 0..dice.u8(..4) {
                let Some(held_at_ns) = self.session.still_holds(about, || guard.is_lost()) else {
                    break;
                };
                let token = guard.token();
                let access =
                    Access { lock: object.number(), token, client: self.process, held_at_ns };
                self.access(&mut resource, access).await;
                sleep(Duration::from_micros(dice.u64(..LONGEST_PAUSE_US))).await;
            }
            self.write_guarded(object, &guard).await;
            if dice.u8(..4) > 0 {
                let release = ops::lock(lock_op::Op::Release(guard.token()));
                let asked = Asked { object, op: release, about };
                self.session.call(asked, guard.release(), told_done).await;
            }
        }
    }

    async fn access(&self, resource: &mut Option<ResourceClient>, access: Access) {
        if resource.is_none() {
            *resource = ResourceClient::connect(self.resource).await.ok();
        }
        if let Some(client) = resource
            && client.access(access).await.is_err()
        {
            *resource = None;
        }
    }

    /// Writes the token behind its own fence: nothing that was there may be of a later one.
    async fn write_guarded(&self, lock: Name, guard: &mp_manager::LockGuard) {
        let object = Name { used: Use::Guarded, ..lock };
        let open = self.session.manager.dict::<String, u64>(object.to_string());
        let Some(dict) = self.session.open(open).await else { return };
        let token = guard.token();
        let insert = dict_op::Op::Insert(ops::entry("owner", token));
        let asked = ask(object, request::Op::Dict(DictOp { op: Some(insert) }));
        let fenced = dict.fenced(guard);
        let told = |old: &Option<u64>| ops::value_or_absent(*old);
        let (_, old) = self.session.call(asked, fenced.insert("owner", &token), told).await;
        if let Some(Some(old)) = old
            && old > token
        {
            self.session.problem(format!("{object}: {token} wrote over {old}, fence or not"));
        }
    }

    async fn limit(&self, mut dice: Rng) {
        while self.goes_on(&mut dice).await {
            let object = self.world.name(Use::Permits);
            let open = self.session.manager.semaphore(object.to_string(), PERMITS as usize);
            let Some(semaphore) = self.session.open(open).await else { continue };
            let acquire = ask(object, ops::semaphore(semaphore_op::Op::Acquire(1)));
            let told = |permit: &Option<mp_manager::Permit>| {
                ops::grant_or_absent(permit.as_ref().map(mp_manager::Permit::token))
            };
            let acquired = self.session.call(acquire, semaphore.acquire_timeout(PATIENCE), told);
            let (about, Some(Some(permit))) = acquired.await else { continue };
            sleep(Duration::from_micros(dice.u64(..LONGEST_PAUSE_US))).await;
            self.session.still_holds(about, || permit.is_lost());
            if dice.u8(..4) > 0 {
                let op = ops::release_permits(permit.token());
                let asked = Asked { object, op, about };
                self.session.call(asked, permit.release(), told_done).await;
            }
        }
    }
}

fn ask(object: Name, op: request::Op) -> Asked {
    Asked { object, op, about: 0 }
}

fn told_value(n: &u64) -> reply::Result {
    ops::value_or_absent(Some(*n))
}

fn told_done((): &()) -> reply::Result {
    ops::done()
}

/// A list that is empty has no last element.
pub(crate) fn told_popped(item: Option<u64>) -> reply::Result {
    item.map_or_else(ops::no_element, |item| ops::value_or_absent(Some(item)))
}
