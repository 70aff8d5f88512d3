//! The replies of a session that are not acknowledged.

use slab::Slab;

use crate::memory::row;

/// Something for each reply, in a place that is used again once it is free. A reply takes several times
/// as much as a call that waits, so calls are not kept together with their replies.
#[derive(Debug)]
pub(crate) struct Replies<T> {
    places: Slab<T>,
    /// The places before this one were used.
    used: usize,
}

/// Where a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// Fewer places are never sparse.
const ROOMY: usize = 1024;

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Self { places: Slab::new(), used: 0 }
    }
}

impl<T> Replies<T> {
    /// The place that the next reply is put into.
    pub(crate) fn next(&self) -> Place {
        Place(self.places.vacant_key())
    }

    pub(crate) fn insert(&mut self, reply: T) -> Place {
        let place = self.places.insert(reply);
        self.used = self.used.max(place + 1);
        Place(place)
    }

    pub(crate) fn get(&self, place: Place) -> Option<&T> {
        self.places.get(place.0)
    }

    pub(crate) fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.places.get_mut(place.0)
    }

    pub(crate) fn remove(&mut self, place: Place) -> Option<T> {
        self.places.try_remove(place.0)
    }

    /// Whether few of many places are taken: then the replies are to be [moved](Self::move_from) together.
    pub(crate) fn are_sparse(&self) -> bool {
        self.places.capacity() > ROOMY && self.places.capacity() / 8 > self.places.len()
    }

    /// Takes over a reply, whose place is another one from then on.
    pub(crate) fn move_from(&mut self, sparse: &mut Self, place: &mut Place) {
        if let Some(reply) = sparse.remove(*place) {
            *place = self.insert(reply);
        }
    }

    /// The memory they take beside what they refer to, about.
    pub(crate) fn bytes(&self) -> usize {
        row::<(usize, T)>(self.used, self.places.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let mut replies = Replies::default();
        let (first, second) = (replies.insert("first"), replies.insert("second"));
        assert_eq!(replies.remove(first), Some("first"));
        assert_eq!((replies.remove(first), replies.next()), (None, first));
        assert_eq!(replies.insert("third"), first);
        assert_eq!((replies.get(first), replies.get(second)), (Some(&"third"), Some(&"second")));
    }

    #[test]
    fn few_replies_of_many_are_moved_together() {
        let mut replies = Replies::default();
        let mut places: Vec<_> = (0..100_000).map(|n: u64| replies.insert(n)).collect();
        let full = replies.bytes();
        let mut last = places.split_off(99_990);
        for place in places {
            replies.remove(place);
        }
        assert!(replies.are_sparse());
        let mut moved = Replies::default();
        for place in &mut last {
            moved.move_from(&mut replies, place);
        }
        assert!(!moved.are_sparse() && moved.bytes() < full / 1000);
        assert!(last.into_iter().zip(99_990..).all(|(place, n)| moved.remove(place) == Some(n)));
    }
}
