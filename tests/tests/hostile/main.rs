//! Whatever a client does, the server says clearly what is wrong with it, survives, and serves the
//! others as if nothing had happened.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod admission;
mod bytes;
mod frames;
mod handshake;
mod http2;
mod limits;
mod rogue;
mod room;
mod stalled;
mod values;
mod weight;

use mp_manager::{Dict, Lock, Manager};
use mp_manager_proto::v1::{DictOp, LockOp, dict_op, lock_op, request};
use mp_manager_tests::{AUTHKEY, TestServer, within};

/// Somebody else on the same server, who must not notice anything.
struct Innocent {
    manager: Manager,
    counter: Dict<String, u64>,
    lock: Lock,
}

impl Innocent {
    async fn on(server: &TestServer) -> Self {
        let manager = within(Manager::connect(&server.address(), AUTHKEY)).await.unwrap();
        let counter = manager.dict("innocent counter").await.unwrap();
        let lock = manager.lock("innocent lock").await.unwrap();
        counter.insert("n", &0).await.unwrap();
        Self { manager, counter, lock }
    }

    /// Everything still works, here and for newcomers.
    async fn is_undisturbed(&self) {
        within(async {
            let guard = self.lock.acquire().await.unwrap();
            let n = self.counter.get("n").await.unwrap().unwrap();
            self.counter.insert("n", &(n + 1)).await.unwrap();
            guard.release().await.unwrap();
            let newcomer = Manager::connect(self.manager.address(), AUTHKEY).await.unwrap();
            let counter = newcomer.dict::<String, u64>("innocent counter").await.unwrap();
            assert_eq!(counter.get("n").await.unwrap(), Some(n + 1));
            newcomer.close().await.unwrap();
        })
        .await;
    }
}

fn dict(op: dict_op::Op) -> request::Op {
    request::Op::Dict(DictOp { op: Some(op) })
}

fn lock(op: lock_op::Op) -> request::Op {
    request::Op::Lock(LockOp { op: Some(op) })
}
