//! Decodes the frames of sessions: light ones where they arrive, heavy ones where nobody waits, and of
//! those no more at a time than there is memory for.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use mp_manager_core::{Error, Reason, v1::ClientFrame};
use mp_manager_proto::frame::{self, Weight};
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, spawn_blocking},
};

use crate::options::Limits;

/// What all heavy frames that are being decoded take together, at most, in longest frames: as much as the
/// heaviest value that a longest frame can carry.
const MAX_FRAMES: usize = 16;
/// The budget is counted in these.
const UNIT: usize = 1 << 10;

/// What decoding is limited by, in all sessions together.
pub(crate) struct Decoding {
    limits: frame::Limits,
    /// In units, all of which are here while nothing heavy is being decoded.
    budget: Arc<Semaphore>,
    max_units: u32,
}

/// A frame that is being decoded.
pub(crate) enum Frame {
    Decoded(Result<ClientFrame, Error>),
    Heavy(HeavyFrame),
}

/// A frame that is being decoded elsewhere.
pub(crate) struct HeavyFrame(JoinHandle<Result<ClientFrame, Error>>);

impl Decoding {
    pub(crate) fn new(limits: &Limits) -> Self {
        let max_bytes = limits.max_frame_bytes.saturating_mul(MAX_FRAMES);
        let max_units = u32::try_from(max_bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self {
            limits: frame::Limits {
                max_requests: limits.max_requests_per_frame,
                max_open_requests: limits.max_open_requests,
            },
            budget: Arc::new(Semaphore::new(max_units as usize)),
            max_units,
        }
    }

    /// Decodes a frame, or has it decoded.
    #[inline]
    pub(crate) fn decode(&self, frame: Bytes) -> Frame {
        match self.limits.look(&frame) {
            Ok(Weight::Light) => Frame::Decoded(frame::decode(frame)),
            Ok(Weight::Heavy) => Frame::Heavy(self.decode_elsewhere(frame)),
            Err(error) => Frame::Decoded(Err(error)),
        }
    }

    /// Frames have their turn in the order they come. One that is heavier than the budget has it for itself.
    fn decode_elsewhere(&self, frame: Bytes) -> HeavyFrame {
        let (limits, budget, max_units) = (self.limits, Arc::clone(&self.budget), self.max_units);
        HeavyFrame(tokio::spawn(async move {
            let weighed = frame.clone();
            let weight = off_the_worker(move || limits.weigh(&weighed)).await?;
            let units = u32::try_from(weight / UNIT).unwrap_or(u32::MAX).min(max_units);
            let units = budget.acquire_many_owned(units).await.map_err(|_| interrupted())?;
            off_the_worker(move || {
                let decoded = frame::decode(frame);
                drop(units);
                decoded
            })
            .await
        }))
    }
}

impl HeavyFrame {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<ClientFrame, Error>> {
        let joined = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(joined.unwrap_or_else(|_| Err(interrupted())))
    }
}

impl Drop for HeavyFrame {
    /// Nobody is there any more who would take it in.
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn off_the_worker<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    spawn_blocking(work).await.unwrap_or_else(|_| Err(interrupted()))
}

/// The server stops.
fn interrupted() -> Error {
    Error::new(Reason::ShuttingDown, "the manager stopped while it decoded a frame")
}
