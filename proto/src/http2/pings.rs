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

#[cfg(test)]
mod tests {
    use std::{future::pending, pin::pin};

    use tokio::{io::duplex, select, time::Instant};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const ALLOWED: Duration = Duration::from_secs(20);

    /// When a client's pings find out that the other end does not answer, if that is polled `for_how_long`.
    async fn silent_after(for_how_long: Duration) -> Option<Duration> {
        let (here, there) = duplex(1 << 16);
        let serving = async {
            let mut server = h2::server::handshake(there).await.unwrap();
            let _ = timeout(for_how_long, server.accept()).await;
            pending::<()>().await;
        };
        let pinging = async {
            // Without it the connection would have nothing more to do.
            let (_requests, mut client) = h2::client::handshake(here).await.unwrap();
            let pings = client.ping_pong().unwrap();
            let began = Instant::now();
            select! {
                () = keep_alive(pings, INTERVAL, ALLOWED) => Some(began.elapsed()),
                _ = client => None,
                () = sleep(10 * (INTERVAL + ALLOWED)) => None,
            }
        };
        let mut serving = pin!(serving);
        select! {
            () = &mut serving => None,
            silent = pinging => silent,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed_and_answers_are_as_well() {
        assert_eq!(silent_after(Duration::MAX).await, None);
        assert_eq!(silent_after(INTERVAL / 2).await, Some(INTERVAL + ALLOWED));
        assert_eq!(silent_after(INTERVAL * 5 / 2).await, Some(INTERVAL * 3 + ALLOWED));
    }
}
