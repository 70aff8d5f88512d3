//! Long replies, a page at a time.

use mp_manager_proto::{
    parts::Parts,
    v1::{Page, PageRequest},
};

use crate::{
    call::Answer,
    compact::Compact,
    stored::{Pin, Stored},
};

/// How many elements a page has at most: small ones take longer than their bytes tell.
const MAX_ELEMENTS: u32 = 4096;

/// Collects elements until the page is full.
pub(crate) struct PageBuilder {
    page: Page,
    pins: Vec<Pin>,
    parts: Parts,
    room: usize,
    elements: u32,
}

impl PageBuilder {
    /// A page with room for `bytes`, and for as many elements as were asked for, up to a limit.
    pub(crate) fn new(request: &PageRequest, bytes: usize) -> Self {
        let elements = if request.max == 0 { MAX_ELEMENTS } else { request.max.min(MAX_ELEMENTS) };
        let parts = Parts::default();
        Self { page: Page::default(), pins: Vec::new(), parts, room: bytes, elements }
    }

    /// Whether another element has a place; the first always has.
    pub(crate) fn has_room(&self) -> bool {
        self.room > 0 && self.elements > 0
    }

    pub(crate) fn push(&mut self, key: Option<&Compact>, value: Option<&Stored>) {
        self.elements = self.elements.saturating_sub(1);
        let bytes = 8 + key.map_or(0, |key| key.len()) + value.map_or(0, Stored::length);
        self.room = self.room.saturating_sub(bytes);
        self.page.keys.extend(key.map(|key| key.share_by(&mut self.parts)));
        if let Some(value) = value {
            self.page.values.push(value.to_wire_by(&mut self.parts));
            self.pins.extend(value.pins().iter().cloned());
        }
    }

    /// The page, with where the next one begins.
    pub(crate) fn finish(mut self, next: Option<u64>) -> Answer {
        self.page.next = next;
        Answer::page(self.page, self.pins)
    }

    /// Fills a page from elements that come with their cursors.
    pub(crate) fn fill<T>(
        mut self,
        elements: impl IntoIterator<Item = (u64, T)>,
        mut push: impl FnMut(&mut Self, T),
    ) -> Answer {
        for (cursor, element) in elements {
            if !self.has_room() {
                return self.finish(Some(cursor));
            }
            push(&mut self, element);
        }
        self.finish(None)
    }
}
