//! Calls that cannot be sent yet, as too many are open.

use std::{collections::BTreeMap, mem, num::NonZeroU64, task::Waker, time::Duration};

/// The place of a call among those that are blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(NonZeroU64);

/// Callers that wait until fewer calls are open. They are woken in the order in which they came; a
/// call that begins just then may pass them.
#[derive(Default)]
pub(super) struct Blocked {
    callers: BTreeMap<Place, Caller>,
    /// The last place that was taken.
    last: u64,
}

struct Caller {
    waker: Waker,
    /// When its timeout passes.
    passes_at: Option<Duration>,
}

impl Blocked {
    #[cfg(feature = "simulation")]
    pub(super) fn len(&self) -> usize {
        self.callers.len()
    }

    /// Has the call wait at its place, or at the end if it has none.
    pub(super) fn wait(
        &mut self,
        place: Option<Place>,
        waker: &Waker,
        passes_at: Option<Duration>,
    ) -> Place {
        let place = place.unwrap_or(Place(NonZeroU64::MIN.saturating_add(self.last)));
        self.last = self.last.max(place.0.get());
        self.callers.insert(place, Caller { waker: waker.clone(), passes_at });
        place
    }

    /// Takes out everyone.
    pub(super) fn wake_all(&mut self, woken: &mut Vec<Waker>) {
        if !self.callers.is_empty() {
            let callers = mem::take(&mut self.callers);
            woken.extend(callers.into_values().map(|caller| caller.waker));
        }
    }

    /// Takes out those whose timeouts have passed.
    pub(super) fn wake_late(&mut self, now: Duration, woken: &mut Vec<Waker>) {
        let passed = |caller: &Caller| caller.passes_at.is_some_and(|at| at <= now);
        let late = self.callers.extract_if(.., |_, caller| passed(caller));
        woken.extend(late.map(|(_, caller)| caller.waker));
    }

    /// When the next timeout passes.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.callers.values().filter_map(|caller| caller.passes_at).min()
    }
}
