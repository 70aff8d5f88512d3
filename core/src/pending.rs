//! Requests that were read and not yet started.

use std::{
    collections::{BTreeSet, VecDeque},
    vec,
};

use mp_manager_proto::{encoded_len, v1::Request};

use crate::call::Seq;

/// The requests of a stream in their order, frame by frame: a request keeps the bytes of its whole
/// frame in memory.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    frames: VecDeque<Frame>,
    len: usize,
    bytes: usize,
    /// Those of them that are never to be started.
    cancelled: BTreeSet<Seq>,
}

/// It has at least one request left.
#[derive(Debug)]
struct Frame {
    requests: vec::IntoIter<Request>,
    last: Seq,
    bytes: usize,
}

impl Pending {
    /// Adds a frame's requests. `bytes` is the frame's length, which is looked at only when it has
    /// to queue up: nearly all frames are the only one.
    pub(crate) fn push(&mut self, requests: Vec<Request>, bytes: Option<usize>) {
        let Some(last) = requests.last().map(|request| request.seq) else { return };
        if bytes.is_some() && self.bytes == 0 {
            for frame in &mut self.frames {
                frame.bytes = frame.requests.as_slice().iter().map(encoded_len).sum();
                self.bytes += frame.bytes;
            }
        }
        let bytes = bytes.unwrap_or(0);
        self.len += requests.len();
        self.bytes += bytes;
        self.frames.push_back(Frame { requests: requests.into_iter(), last, bytes });
    }

    /// Takes out the oldest that is not cancelled.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Request> {
        loop {
            let frame = self.frames.front_mut()?;
            let request = frame.requests.next()?;
            if frame.requests.as_slice().is_empty() {
                self.bytes -= frame.bytes;
                self.frames.pop_front();
            }
            self.len -= 1;
            if self.cancelled.is_empty() || !self.cancelled.remove(&request.seq) {
                return Some(request);
            }
        }
    }

    /// Puts back what was taken out last: it is the oldest again.
    pub(crate) fn put_back(&mut self, request: Request) {
        let (last, bytes) = (request.seq, 0);
        self.len += 1;
        self.frames.push_front(Frame { requests: vec![request].into_iter(), last, bytes });
    }

    /// It is not to be started, if it is here.
    pub(crate) fn cancel(&mut self, seq: Seq) {
        let frame = self.frames.partition_point(|frame| frame.last < seq);
        let is_here = self.frames.get(frame).is_some_and(|frame| {
            frame.requests.as_slice().binary_search_by_key(&seq, |request| request.seq).is_ok()
        });
        if is_here {
            self.cancelled.insert(seq);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The memory they take, about; 0 as long as there is only one frame.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(seqs: &[Seq]) -> Vec<Request> {
        seqs.iter().map(|&seq| Request { seq, object: 1, ..Request::default() }).collect()
    }

    fn pop(pending: &mut Pending) -> Vec<Seq> {
        std::iter::from_fn(|| pending.pop()).map(|request| request.seq).collect()
    }

    #[test]
    fn they_come_out_in_their_order_but_for_what_is_cancelled() {
        let mut pending = Pending::default();
        pending.push(requests(&[1, 2, 4]), None);
        pending.push(requests(&[]), Some(50));
        pending.push(requests(&[7, 9]), Some(100));
        for seq in [2, 3, 7, 10, 0] {
            pending.cancel(seq);
        }
        assert_eq!(pending.len(), 5);
        assert_eq!(pop(&mut pending), [1, 4, 9]);
        assert!(pending.is_empty() && pending.cancelled.is_empty());
        assert_eq!((pending.len(), pending.bytes()), (0, 0));
    }

    #[test]
    fn what_queues_up_is_weighed_by_the_frame() {
        let mut pending = Pending::default();
        pending.push(requests(&[1, 2]), None);
        assert_eq!(pending.bytes(), 0);
        pending.push(requests(&[3, 4]), Some(1000));
        assert_eq!(pending.bytes(), 1000 + 2 * encoded_len(&requests(&[1])[0]));
        pending.pop();
        pending.pop();
        assert_eq!(pending.bytes(), 1000);
        pending.pop();
        assert_eq!(pending.bytes(), 1000);
        pending.pop();
        assert_eq!(pending.bytes(), 0);
    }
}
