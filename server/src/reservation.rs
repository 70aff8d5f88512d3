//! Writes down which fencing tokens are reserved, on disk and beside those who need tokens.
//!
//! While the disk fails the rest of a block is handed out; should it fail for so long that a block is used
//! up, nothing is granted until it works again.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use mp_manager_core::engine;
use tokio::{sync::Notify, task::spawn_blocking, time::sleep};

use crate::{error::ServeError, state_dir::StateDir};

/// Tokens in a block: minutes' worth at the highest rate.
const BLOCK: u64 = 1 << 26;

/// How long after a failure to try again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Where tokens are written down, if anywhere.
#[derive(Debug)]
pub(crate) struct Reservation {
    /// Notified when the next block is due.
    pub(crate) is_low: Notify,
    state: Option<Arc<StateDir>>,
}

impl Reservation {
    /// Reserves the first block. Its tokens are larger than `now_us`, the Unix time in microseconds, and
    /// with a state directory larger than those of all servers that have used it.
    pub(crate) fn new(
        state: Option<Arc<StateDir>>,
        now_us: u64,
    ) -> Result<(Self, engine::Reservation), ServeError> {
        match state {
            Some(state) => Self::in_blocks(state, now_us, BLOCK),
            None => {
                let tokens = engine::Reservation::unrecorded(now_us);
                Ok((Self { is_low: Notify::new(), state: None }, tokens))
            }
        }
    }

    fn in_blocks(
        state: Arc<StateDir>,
        now_us: u64,
        block: u64,
    ) -> Result<(Self, engine::Reservation), ServeError> {
        let failed = |problem| ServeError::StateDir { path: state.path().into(), problem };
        let ceiling = state.ceiling()?;
        let tokens = engine::Reservation::recorded(ceiling, now_us, block).ok_or_else(|| {
            failed(format!("no fencing tokens are left above {}", ceiling.unwrap_or(now_us)))
        })?;
        state
            .set_ceiling(tokens.ceiling())
            .map_err(|error| failed(format!("cannot reserve fencing tokens: {error}")))?;
        Ok((Self { is_low: Notify::new(), state: Some(state) }, tokens))
    }

    /// Reserves block after block as they are needed, until this is dropped.
    pub(crate) async fn keep(&self, tokens: &engine::Reservation) -> Infallible {
        let Some(state) = &self.state else { return std::future::pending().await };
        loop {
            self.is_low.notified().await;
            while tokens.is_low() {
                if let Err(error) = reserve(tokens, state).await {
                    tracing::error!(
                        "cannot reserve fencing tokens in {}: {error}; {} are left, and nothing can be \
                         granted after them",
                        state.path().display(),
                        tokens.left()
                    );
                    sleep(RETRY_INTERVAL).await;
                }
            }
        }
    }
}

/// Reserves one more block. Tokens go on up to the old ceiling meanwhile.
async fn reserve(tokens: &engine::Reservation, state: &Arc<StateDir>) -> io::Result<()> {
    let ceiling = tokens.next_ceiling().ok_or_else(|| io::Error::other("there are no more"))?;
    let state = Arc::clone(state);
    spawn_blocking(move || state.set_ceiling(ceiling)).await.map_err(io::Error::other)??;
    tokens.reserve(ceiling);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, iter};

    use tempfile::TempDir;

    use super::*;

    const NOW_US: u64 = 1_000_000;

    fn open(directory: &TempDir, now_us: u64, block: u64) -> (Reservation, engine::Reservation) {
        let state = Arc::new(StateDir::open(directory.path()).unwrap());
        Reservation::in_blocks(state, now_us, block).unwrap()
    }

    fn on_disk(directory: &TempDir) -> u64 {
        let text = fs::read_to_string(directory.path().join("fencing-tokens")).unwrap();
        text.trim_end().rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn tokens_rise_across_a_start_with_the_clock_set_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut last = 0;
        for now_us in [NOW_US, NOW_US - 500_000, 0, NOW_US + 10, 1] {
            let (_state, tokens) = open(&directory, now_us, 100);
            for token in iter::from_fn(|| tokens.next_token()) {
                assert!(token > last && token > now_us && token <= on_disk(&directory));
                last = token;
            }
        }
    }

    #[test]
    fn without_a_state_directory_tokens_start_at_the_clocks_time() {
        let (_, tokens) = Reservation::new(None, NOW_US).unwrap();
        assert_eq!(tokens.next_token(), Some(NOW_US + 1));
        assert!(!tokens.is_low());
    }

    #[test]
    fn a_ceiling_without_room_above_it_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let state = Arc::new(StateDir::open(directory.path()).unwrap());
        state.set_ceiling(u64::MAX - 5).unwrap();
        let error = Reservation::in_blocks(state, NOW_US, 10).unwrap_err().to_string();
        assert!(error.contains(&directory.path().display().to_string()), "{error}");
    }

    #[tokio::test]
    async fn the_next_block_is_on_disk_before_its_first_token_is_drawn() {
        let directory = tempfile::tempdir().unwrap();
        let (reservation, tokens) = open(&directory, NOW_US, 10);
        let draw = || {
            let token = tokens.next_token();
            if tokens.is_low() {
                reservation.is_low.notify_one();
            }
            token
        };
        let drawing = async {
            for drawn in 1..=100 {
                let token = loop {
                    if let Some(token) = draw() {
                        break token;
                    }
                    tokio::task::yield_now().await;
                };
                assert_eq!(token, NOW_US + drawn);
                assert!(token <= on_disk(&directory), "{token}");
            }
        };
        tokio::select! {
            never = reservation.keep(&tokens) => match never {},
            () = drawing => {}
        }
    }

    #[tokio::test]
    async fn while_the_disk_fails_no_token_above_the_ceiling_is_drawn() {
        let directory = tempfile::tempdir().unwrap();
        let (reservation, tokens) = open(&directory, NOW_US, 10);
        // No file can be made there.
        let obstacle = directory.path().join("fencing-tokens.new");
        fs::create_dir(&obstacle).unwrap();
        let state = reservation.state.as_ref().unwrap();
        assert!(reserve(&tokens, state).await.is_err());
        assert_eq!(iter::from_fn(|| tokens.next_token()).count(), 10);
        assert_eq!(on_disk(&directory), NOW_US + 10);

        fs::remove_dir(&obstacle).unwrap();
        reserve(&tokens, state).await.unwrap();
        assert_eq!(tokens.next_token(), Some(NOW_US + 11));
        assert_eq!(on_disk(&directory), NOW_US + 20);
    }
}
