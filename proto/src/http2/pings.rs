//! Looks whether the other end is still there.

use std::{future::poll_fn, time::Duration};

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

/// Pings the other end of a connection, with a pause of `interval` between two pings, until an answer takes longer
/// than `allowed`; for ever if the connection ends before.
pub async fn keep_alive(mut pings: PingPong, interval: Duration, allowed: Duration) {
    loop {
        sleep(interval).await;
        if pings.send_ping(Ping::opaque()).is_err() {
            break;
        }
        match timeout(allowed, poll_fn(|cx| pings.poll_pong(cx))).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) => break,
            Err(_) => return,
        }
    }
    std::future::pending().await
}
