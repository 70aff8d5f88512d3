//! Shutting a manager down: when that has returned, it is over for everybody.

use std::time::Duration;

use mp_manager::{Error, Manager, Result};
use mp_manager_tests::{AUTHKEY, TestServer};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_answered_after_a_shutdown() -> Result<()> {
    let server = TestServer::with(|options| options.shutdown_grace = Duration::from_secs(10));
    let mut others = Vec::new();
    for _ in 0..64 {
        let impatient = Manager::builder().authkey(AUTHKEY).reconnect_timeout(Duration::ZERO);
        others.push(impatient.connect(&server.address()).await?);
    }
    Manager::connect(&server.address(), AUTHKEY).await?.shutdown().await?;
    for other in others {
        let answer = other.ping().await;
        assert!(matches!(answer, Err(Error::ShuttingDown(_))), "{answer:?}");
    }
    Ok(())
}
