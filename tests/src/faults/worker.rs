//! A client process: works until its lifeline ends, in as many sessions as it takes.

use std::{
    io::{self, Read},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use fastrand::Rng;
use mp_manager::{Manager, Result};
use serde::{Deserialize, Serialize};
use tokio::time::{sleep, timeout};

use super::{
    journal::{Journal, Session},
    workloads::Work,
    world::World,
};
use crate::AUTHKEY;

/// How long saying goodbye may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// What a worker is told on its command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) address: String,
    pub(crate) resource: SocketAddr,
    pub(crate) process: u64,
    pub(crate) world: World,
    pub(crate) lease_ms: u64,
    pub(crate) seed: u64,
}

/// Works until nothing more comes from standard input.
pub(crate) async fn run(orders: Orders) {
    let (journal, stop) = (Journal::new(io::stdout()), lifeline());
    let mut dice = Rng::with_seed(orders.seed ^ orders.process.rotate_left(32));
    let mut sessions = 0;
    while !stop.load(Ordering::Relaxed) {
        let manager = match connect(&orders, &mut dice).await {
            Ok(manager) => manager,
            Err(error) => {
                journal.failed(&error);
                sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        // A manager may go on with a new session by itself; now and then one is asked for.
        while !stop.load(Ordering::Relaxed) {
            sessions += 1;
            match Session::begin(&journal, &manager, orders.process, sessions).await {
                Ok(session) => work(&orders, &session, &stop, &mut dice).await,
                Err(error) => {
                    journal.failed(&error);
                    break;
                }
            }
            if dice.bool() {
                break;
            }
        }
        if timeout(FAREWELL, manager.close()).await.is_err() {
            journal.problem("a manager does not close".into());
        }
    }
}

async fn work(orders: &Orders, session: &Session, stop: &AtomicBool, dice: &mut Rng) {
    let &Orders { world, resource, process, .. } = orders;
    Work { session, world, resource, process, stop }.all(dice).await;
}

async fn connect(orders: &Orders, dice: &mut Rng) -> Result<Manager> {
    let mut builder = Manager::builder()
        .authkey(AUTHKEY)
        .lease(Duration::from_millis(orders.lease_ms))
        .process_name(format!("worker {}", orders.process));
    if dice.bool() {
        builder = builder.session_must_last();
    }
    if dice.bool() {
        builder = builder.background_thread();
    }
    builder.connect(&orders.address).await
}

/// True once standard input has ended: nobody wants the work any more.
pub(crate) fn lifeline() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let end = Arc::clone(&ended);
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        end.store(true, Ordering::Relaxed);
    });
    ended
}
