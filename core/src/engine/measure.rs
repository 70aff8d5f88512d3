//! What is measured from time to time: sums over sessions, and what is said of queues and pools in numbers. It comes
//! in pages, so that whoever asks lets others have their turn in between.

use std::sync::Arc;

use mp_manager_proto::v1::Kind;

use super::{Engine, cell::Cell, counters::Tally};
use crate::{Object, ObjectId, SessionId, object::Measured};

/// What a page of sessions adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SessionPage {
    /// Requests that are not acknowledged.
    pub open: usize,
    /// Those of them that wait inside objects.
    pub parked: usize,
    /// What replies weigh that are not acknowledged, about.
    pub unacknowledged_bytes: usize,
    /// The session after which the next page begins, if there may be more.
    pub next: Option<SessionId>,
}

/// A queue or a pool with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredObject {
    /// Its name.
    pub name: String,
    /// Which of both it is.
    pub kind: Kind,
    /// Its numbers; `None` while a heavy operation has it.
    pub measured: Option<Measured>,
}

/// The named queues and pools on a page.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ObjectPage {
    /// In the order in which they were made.
    pub objects: Vec<MeasuredObject>,
    /// The object after which the next page begins, if there may be more.
    pub next: Option<ObjectId>,
}

impl Engine {
    /// What has been counted since it began.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.counters.tally()
    }

    /// Number of objects of a kind, with and without a name.
    #[must_use]
    pub fn objects_of(&self, kind: Kind) -> usize {
        self.objects.count_of(kind)
    }

    /// What the sessions after this one add up to, `max` at most.
    #[must_use]
    pub fn measure_sessions(&self, after: SessionId, max: usize) -> SessionPage {
        let page = self.clients.page(after, max, |client| Some(Arc::clone(client)));
        let sum = SessionPage { next: page.next, ..SessionPage::default() };
        page.values.into_iter().fold(sum, |sum, (_, client)| {
            let load = client.load();
            SessionPage {
                open: sum.open + load.open,
                parked: sum.parked + load.parked,
                unacknowledged_bytes: sum.unacknowledged_bytes + load.unacknowledged_bytes,
                ..sum
            }
        })
    }

    /// The named queues and pools among the objects after this one, of which `max` are looked at.
    #[must_use]
    pub fn measure_objects(&self, after: ObjectId, max: usize) -> ObjectPage {
        let page = self.objects.page(after, max);
        let measure = |(_, cell): (ObjectId, Arc<Cell>)| {
            let name = cell.name.clone().filter(|_| Object::is_measured(cell.kind))?;
            let measured = cell.look(Object::measure).flatten();
            // What is deleted may still be referred to, and its name be another object's.
            let is_there = measured.is_some() || cell.is_busy();
            is_there.then_some(MeasuredObject { name, kind: cell.kind, measured })
        };
        ObjectPage {
            objects: page.values.into_iter().filter_map(measure).collect(),
            next: page.next,
        }
    }
}
