//! How many connections were turned away or closed before they were of any use, and why.

use std::sync::atomic::{AtomicU64, Ordering};

use super::policy::Refusal;

/// Why a connection was turned away or closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// There are as many connections as may be.
    Full,
    /// Its peer has as many as one may have.
    PeerFull,
    /// Its peer has failed too often.
    BackOff,
    /// It had not authenticated, and another one needed its place.
    Displaced,
    /// No TLS came about.
    Tls,
    /// It speaks plain text where TLS is spoken.
    PlainText,
    /// It made requests too often.
    RequestRate,
    /// It was not used in time.
    Overstayed,
}

impl Cause {
    const ALL: [Self; 8] = [
        Self::Full,
        Self::PeerFull,
        Self::BackOff,
        Self::Displaced,
        Self::Tls,
        Self::PlainText,
        Self::RequestRate,
        Self::Overstayed,
    ];

    /// Its name for programs.
    fn label(self) -> &'static str {
        match self {
            Self::Full => "max_connections",
            Self::PeerFull => "max_connections_per_peer",
            Self::BackOff => "back_off",
            Self::Displaced => "displaced",
            Self::Tls => "tls",
            Self::PlainText => "plain_text",
            Self::RequestRate => "request_rate",
            Self::Overstayed => "handshake_timeout",
        }
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full(_) => Self::Full,
            Refusal::PeerFull(_) => Self::PeerFull,
            Refusal::BackOff => Self::BackOff,
        }
    }
}

/// How many, for each cause.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; Cause::ALL.len()]);

impl Counts {
    pub(super) fn count(&self, cause: Cause) {
        self.0[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The causes under their names.
    pub(super) fn read(&self) -> [(&'static str, u64); Cause::ALL.len()] {
        Cause::ALL.map(|cause| (cause.label(), self.0[cause as usize].load(Ordering::Relaxed)))
    }
}
