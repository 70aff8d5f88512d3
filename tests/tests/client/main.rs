//! What a client does when something under it is gone: its runtime, its manager, its connection, its
//! process. Every call ends, says why, and nobody else notices.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod down;
mod fork;
mod outage;
mod pause;
mod runtime;
mod silent;

use std::time::Duration;

use mp_manager_tests::daemon::{Daemon, Reach};

/// Far longer than any call here may take, and far shorter than it took when nothing ended it.
const SOON: Duration = Duration::from_secs(8);

async fn daemon(reach: Reach) -> Daemon {
    Daemon::start(env!("CARGO_BIN_EXE_victim"), reach).await
}

/// The outcome of a call, which must not be waited for any longer than this.
async fn soon<T>(what: &str, call: impl Future<Output = T>) -> T {
    let Ok(outcome) = tokio::time::timeout(SOON, call).await else { panic!("{what} hangs") };
    outcome
}
