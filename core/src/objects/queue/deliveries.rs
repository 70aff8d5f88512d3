//! What a queue has handed out and may have to take back.

use std::collections::BTreeMap;

use mp_manager_proto::v1::{Holding, ObjectInfo};

use super::items::Taken;
use crate::{
    call::{CallId, SessionId},
    description::add_holders,
    memory::{block, tree},
};

/// Deliveries by the call they answered, and leases also by their item.
#[derive(Debug, Default, Clone)]
pub(super) struct Deliveries {
    by_call: BTreeMap<CallId, Handed>,
    leases: BTreeMap<u64, CallId>,
    items: usize,
}

/// What one call was given.
#[derive(Debug, Clone)]
pub(super) struct Handed {
    pub(super) items: Vec<Taken>,
    pub(super) leased: bool,
    acknowledged: bool,
}

impl Deliveries {
    pub(super) fn record(&mut self, call: CallId, items: Vec<Taken>, leased: bool) {
        if leased {
            self.leases.extend(items.iter().map(|taken| (taken.ticket(), call)));
        }
        self.items += items.len();
        self.by_call.insert(call, Handed { items, leased, acknowledged: false });
    }

    /// The caller has them; returns those that cannot come back any more.
    pub(super) fn acknowledge(&mut self, call: CallId) -> Vec<Taken> {
        match self.by_call.get_mut(&call) {
            Some(handed) if handed.leased => {
                handed.acknowledged = true;
                Vec::new()
            }
            Some(_) => self.remove(call).map(|handed| handed.items).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    /// Takes back what the caller has not acknowledged.
    pub(super) fn undo(&mut self, call: CallId) -> Option<Handed> {
        let handed = self.by_call.get(&call)?;
        if handed.acknowledged { None } else { self.remove(call) }
    }

    /// Ends the lease of an item, if that session holds it.
    pub(super) fn end_lease(&mut self, ticket: u64, session: SessionId) -> Option<Handed> {
        let call = *self.leases.get(&ticket)?;
        if call.session == session { self.remove(call) } else { None }
    }

    /// Takes back everything one session has.
    pub(super) fn end_session(&mut self, session: SessionId) -> Vec<Handed> {
        let all = CallId { session, seq: 0 }..=CallId { session, seq: u64::MAX };
        let calls: Vec<_> = self.by_call.range(all).map(|(call, _)| *call).collect();
        calls.into_iter().filter_map(|call| self.remove(call)).collect()
    }

    /// How many items are handed out.
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// How many items a call was given.
    pub(super) fn items_of(&self, call: CallId) -> usize {
        self.by_call.get(&call).map_or(0, |handed| handed.items.len())
    }

    /// How many of them are on lease.
    pub(super) fn leased(&self) -> usize {
        self.leases.len()
    }

    /// The memory it takes beside the items, about.
    pub(super) fn bytes(&self) -> usize {
        let calls = self.by_call.len();
        calls * block(1) + tree::<CallId, Handed>(calls) + tree::<u64, CallId>(self.leases.len())
    }

    pub(super) fn describe(&self, info: &mut ObjectInfo) {
        add_holders(
            info,
            self.by_call.iter().map(|(call, handed)| Holding {
                session: call.session,
                token: 0,
                what: match &handed.items[..] {
                    [taken] => format!("item {}", taken.ticket()),
                    items => format!("{} items", items.len()),
                },
            }),
        );
    }

    fn remove(&mut self, call: CallId) -> Option<Handed> {
        let handed = self.by_call.remove(&call)?;
        self.items -= handed.items.len();
        for taken in &handed.items {
            self.leases.remove(&taken.ticket());
        }
        Some(handed)
    }
}
