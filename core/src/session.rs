//! What a session owes its client, and what its client has not yet confirmed.

use std::collections::BTreeMap;

use mp_manager_proto::v1::{Error, Lost, Reply, Value, reply};

use crate::{
    call::{Answer, ObjectId, Seq},
    stored::{self, Pin},
};

/// The outgoing half of a session: calls that are parked or unacknowledged, replies that have not
/// been sent, and the references its client holds.
///
/// It is a leaf: other sessions' operations put replies in, under its own lock, and nothing is
/// called from inside. `H` is how the driver names an object.
///
/// ```text
///            ┌────────► parked ───────┐
///   request ─┤                        ├─► replied, owned ──ack────► (forgotten)
///            └────────────────────────┘         └────────cancel──► taken back by the object
/// ```
///
/// A reply for a call that is not open any more (it was cancelled) is dropped here, whoever sent it.
#[derive(Debug)]
pub struct Outbox<H> {
    open: BTreeMap<Seq, Open<H>>,
    parked: usize,
    replies: Vec<Unsent>,
    unsent_bytes: usize,
    lost: Vec<Lost>,
    references: BTreeMap<ObjectId, (u64, Pin)>,
    ended: Option<Option<Error>>,
}

#[derive(Debug)]
enum Open<H> {
    Parked(H),
    /// An ownership answer on its way; the object hears what became of it.
    Owned(H),
}

#[derive(Debug)]
struct Unsent {
    reply: Reply,
    pins: Vec<Pin>,
    bytes: usize,
}

/// What to do about a call that its caller has given up.
#[derive(Debug, PartialEq, Eq)]
pub enum Cancelled<H> {
    /// Tell this object.
    Tell(H),
    /// Nothing is undecided any more.
    Nothing,
}

impl<H> Default for Outbox<H> {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            parked: 0,
            replies: Vec::new(),
            unsent_bytes: 0,
            lost: Vec::new(),
            references: BTreeMap::new(),
            ended: None,
        }
    }
}

impl<H> Outbox<H> {
    /// A call waits inside `object`. Called with the object's lock held, so that its answer cannot
    /// come first.
    pub fn park(&mut self, seq: Seq, object: H) {
        if self.ended.is_none() && self.open.insert(seq, Open::Parked(object)).is_none() {
            self.parked += 1;
        }
    }

    /// The reply to a call that was not parked.
    pub fn reply(&mut self, seq: Seq, result: Result<Answer, Error>, object: impl FnOnce() -> H) {
        if self.ended.is_none() && result.as_ref().is_ok_and(|answer| answer.ownership) {
            self.open.insert(seq, Open::Owned(object()));
        }
        self.conclude(seq, result);
    }

    /// The reply to a call that hands nothing over.
    pub fn conclude(&mut self, seq: Seq, result: Result<Answer, Error>) {
        if self.ended.is_some() {
            return;
        }
        let (result, pins) = match result {
            Ok(answer) => (answer.result, answer.pins),
            Err(error) => (reply::Result::Error(error), Vec::new()),
        };
        let reply = Reply { seq, result: Some(result) };
        let bytes = weight(&reply);
        self.unsent_bytes += bytes;
        self.replies.push(Unsent { reply, pins, bytes });
    }

    /// Where an open call is parked, or who waits for its acknowledgement.
    #[must_use]
    pub fn object(&self, seq: Seq) -> Option<&H> {
        self.open.get(&seq).map(|open| match open {
            Open::Parked(object) | Open::Owned(object) => object,
        })
    }

    /// The reply to a parked call, from whoever's turn it was. False if nobody waits for it.
    pub fn deliver(&mut self, seq: Seq, result: Result<Answer, Error>) -> bool {
        let Some(Open::Parked(object)) = self.open.remove(&seq) else { return false };
        self.parked -= 1;
        self.reply(seq, result, || object);
        true
    }

    /// A grant is gone without its holder's doing.
    pub fn lose(&mut self, object: ObjectId, token: u64) {
        if self.ended.is_none() {
            self.lost.push(Lost { object, token });
        }
    }

    /// Replies that reached their caller; the objects to tell.
    pub fn acknowledge(&mut self, first: Seq, last: Seq) -> Vec<(Seq, H)> {
        if first > last {
            return Vec::new();
        }
        let owned: Vec<Seq> = self
            .open
            .range(first..=last)
            .filter(|(_, open)| matches!(open, Open::Owned(_)))
            .map(|(seq, _)| *seq)
            .collect();
        owned
            .into_iter()
            .filter_map(|seq| match self.open.remove(&seq)? {
                Open::Owned(object) | Open::Parked(object) => Some((seq, object)),
            })
            .collect()
    }

    /// The caller of `seq` has gone.
    pub fn cancel(&mut self, seq: Seq) -> Cancelled<H> {
        match self.open.remove(&seq) {
            Some(Open::Parked(object)) => {
                self.parked -= 1;
                Cancelled::Tell(object)
            }
            Some(Open::Owned(object)) => Cancelled::Tell(object),
            None => Cancelled::Nothing,
        }
    }

    /// Takes out the replies to send, at most about `max_bytes` of them but one at least. From now
    /// on the client holds what they refer to.
    pub fn take_replies(&mut self, into: &mut Vec<Reply>, max_bytes: usize) {
        let (mut bytes, mut count) = (0, 0);
        for unsent in &self.replies {
            if bytes >= max_bytes {
                break;
            }
            bytes += unsent.bytes;
            count += 1;
        }
        self.unsent_bytes -= bytes;
        for Unsent { reply, pins, .. } in self.replies.drain(..count) {
            for pin in pins {
                let id = pin.reference().object;
                self.references.entry(id).or_insert((0, pin)).0 += 1;
            }
            into.push(reply);
        }
    }

    /// What the replies weigh that were not taken out yet, about.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// Takes out the notices of lost grants.
    pub fn take_lost(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.lost)
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.replies.is_empty() || !self.lost.is_empty() || matches!(self.ended, Some(Some(_)))
    }

    /// The client let go of `count` of the references it was handed; the last one's pin comes back
    /// to be dropped outside all locks.
    #[must_use = "drop it outside all locks"]
    pub fn release(&mut self, object: ObjectId, count: u64) -> Option<Pin> {
        let held = self.references.get_mut(&object)?;
        held.0 = held.0.saturating_sub(count);
        if held.0 == 0 { self.references.remove(&object).map(|(_, pin)| pin) } else { None }
    }

    /// Requests without a final word: parked, or replied to and not acknowledged.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Calls that wait inside an object.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.parked
    }

    /// Objects the client refers to.
    #[must_use]
    pub fn references(&self) -> usize {
        self.references.len()
    }

    /// Ends the session: nothing goes in any more. `why` is said to the client, if it listens.
    /// What the session kept alive comes back, to be dropped outside all locks.
    #[must_use = "drop it outside all locks"]
    pub fn end(&mut self, why: Option<Error>) -> Vec<Pin> {
        if self.ended.is_some() {
            return Vec::new();
        }
        self.ended = Some(why);
        self.open.clear();
        self.parked = 0;
        self.unsent_bytes = 0;
        let unsent = std::mem::take(&mut self.replies).into_iter().flat_map(|unsent| unsent.pins);
        let held = std::mem::take(&mut self.references).into_values().map(|(_, pin)| pin);
        unsent.chain(held).collect()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Takes out why it ended, to be said once.
    pub fn take_farewell(&mut self) -> Option<Error> {
        self.ended.as_mut().and_then(Option::take)
    }
}

/// What a reply weighs in a frame, about.
fn weight(reply: &Reply) -> usize {
    use mp_manager_proto::v1::pipe_message::Content;
    use reply::Result as R;
    const SMALL: usize = 16;
    let length = |value: &Value| stored::length(&value.data, value.refs.len());
    let value = |value: &Option<Value>| value.as_ref().map_or(0, length);
    SMALL
        + match &reply.result {
            Some(R::Value(value)) => length(value),
            Some(R::Entry(entry)) => entry.key.len() + value(&entry.value),
            Some(R::Raw(bytes)) => bytes.len(),
            Some(R::Page(page)) => {
                page.keys.iter().map(|key| SMALL + key.len()).sum::<usize>()
                    + page.values.iter().map(|value| SMALL + length(value)).sum::<usize>()
            }
            Some(R::Optionals(all)) => {
                all.items.iter().map(|item| SMALL + value(&item.value)).sum()
            }
            Some(R::Swap(swap)) => value(&swap.current),
            Some(R::Delivery(delivery)) => value(&delivery.value),
            Some(R::Deliveries(all)) => {
                all.deliveries.iter().map(|delivery| SMALL + value(&delivery.value)).sum()
            }
            Some(R::Error(error)) => error.message.len() + error.hint.len(),
            Some(R::Message(message)) => match &message.content {
                Some(Content::Value(value)) => length(value),
                Some(Content::Raw(bytes)) => bytes.len(),
                None => 0,
            },
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(outbox: &mut Outbox<u64>) -> Vec<Seq> {
        let mut replies = Vec::new();
        outbox.take_replies(&mut replies, 1 << 20);
        replies.into_iter().map(|reply| reply.seq).collect()
    }

    #[test]
    fn a_reply_to_a_cancelled_call_goes_nowhere() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        assert_eq!(outbox.cancel(1), Cancelled::Tell(7));
        assert!(!outbox.deliver(1, Ok(Answer::grant(1, 1))));
        assert!(sent(&mut outbox).is_empty());
    }

    #[test]
    fn ownership_stays_open_until_it_is_acknowledged() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        assert!(outbox.deliver(1, Ok(Answer::grant(1, 1))));
        outbox.reply(2, Ok(Answer::done()), || 8);
        assert_eq!(sent(&mut outbox), [1, 2]);
        assert_eq!((outbox.open(), outbox.parked()), (1, 0));
        assert_eq!(outbox.acknowledge(1, 2), [(1, 7)]);
        assert_eq!(outbox.acknowledge(1, 2), []);
        assert_eq!(outbox.cancel(1), Cancelled::Nothing);
    }

    #[test]
    fn what_is_unsent_is_weighed() {
        let mut outbox = Outbox::<u64>::default();
        assert_eq!(outbox.unsent_bytes(), 0);
        outbox.conclude(1, Ok(Answer::raw(vec![0; 1000])));
        outbox.conclude(2, Ok(Answer::done()));
        let both = outbox.unsent_bytes();
        assert!(both > 1000);
        outbox.take_replies(&mut Vec::new(), 1);
        assert!((1..both - 1000).contains(&outbox.unsent_bytes()));
        outbox.take_replies(&mut Vec::new(), 1);
        assert_eq!(outbox.unsent_bytes(), 0);
    }

    #[test]
    fn nothing_goes_into_an_ended_session() {
        let mut outbox = Outbox::default();
        outbox.park(1, 7);
        assert!(outbox.end(None).is_empty());
        assert!(!outbox.deliver(1, Ok(Answer::done())));
        outbox.reply(2, Ok(Answer::done()), || 8);
        outbox.park(3, 9);
        assert!(!outbox.has_news());
        assert_eq!(outbox.open(), 0);
    }
}
