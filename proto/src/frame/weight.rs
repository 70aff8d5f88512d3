//! What a client's frame takes once it is decoded, found on its bytes: before it is, and without memory.
//!
//! Two bytes on the wire can be a request of hundreds in memory. Whoever sends frames must not decide how
//! much memory their decoding takes: what is out of proportion is refused as it is.

use bytes::Bytes;

use crate::error::{Error, Reason};

/// A frame that is no longer becomes less than [`LIGHT_BYTES`], whatever is in it, and is not looked at: an
/// empty request becomes the most, less than 512 bytes of two.
const SHORT: usize = 4 << 10;
/// A frame that becomes no more than this is decoded where it arrives.
const LIGHT_BYTES: usize = 1 << 20;
/// Nor if it has more fields than this, each of which takes its time.
const LIGHT_FIELDS: usize = 20_000;
/// A byte on the wire may become so many. Items of a queue of one byte each are the heaviest that make
/// sense: seven bytes become twice 112.
const PER_BYTE: usize = 32;
/// And each request so many beside that: itself, and room for four of what it may have many of.
const PER_REQUEST: usize = 2 << 10;
/// As many acks and cancels as a short frame can have are not too many.
const MIN_SETTLED: usize = SHORT / 2;
/// A text takes no less, unless it is empty.
const MIN_TEXT: usize = 8;
/// A vector has room for so many elements when it has one.
const FIRST: usize = 4;
/// And beyond that for up to so many times as many as it has.
const GROWTH: usize = 2;

/// What a frame may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests in it.
    pub max_requests: usize,
    /// Requests that a session may have open. It has no more than twice as many to acknowledge, to cancel
    /// or to reconcile.
    pub max_open_requests: usize,
}

/// Whether a frame can be decoded where it arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// That takes no more than a millisecond and a megabyte.
    Light,
    /// That may take long, and as much memory as [`Limits::weigh`] says.
    Heavy,
}

impl Limits {
    /// Looks at a frame for as long as it may be light.
    ///
    /// # Errors
    /// If it is no frame, or has more in it than it may.
    #[inline]
    pub fn look(&self, frame: &[u8]) -> Result<Weight, Error> {
        if frame.len() <= SHORT {
            return Ok(Weight::Light);
        }
        let mut scale = Scale::new(self, LIGHT_BYTES, LIGHT_FIELDS);
        match scale.message(CLIENT_FRAME, frame) {
            Ok(()) => Ok(Weight::Light),
            Err(Stop::Full) => Ok(Weight::Heavy),
            Err(Stop::Malformed) => Err(malformed()),
            Err(Stop::TooMany(counter)) => Err(self.too_many(counter)),
        }
    }

    /// The memory that a frame takes once it is decoded, its own bytes aside: no less than it does.
    ///
    /// # Errors
    /// If it is no frame, or has more in it than it may: more requests, more acks or cancels than can be
    /// open, or more elements than make sense in its length.
    pub fn weigh(&self, frame: &[u8]) -> Result<usize, Error> {
        let max = LIGHT_BYTES.saturating_add(frame.len().saturating_mul(PER_BYTE));
        let mut scale = Scale::new(self, max, usize::MAX);
        scale.per_request = PER_REQUEST;
        match scale.message(CLIENT_FRAME, frame) {
            Ok(()) => Ok(scale.bytes),
            Err(Stop::Full) => Err(out_of_proportion(frame.len(), scale.max_bytes)),
            Err(Stop::Malformed) => Err(malformed()),
            Err(Stop::TooMany(counter)) => Err(self.too_many(counter)),
        }
    }

    fn max(&self, counter: Counter) -> usize {
        match counter {
            Counter::Requests => self.max_requests,
            Counter::Acks | Counter::Cancels | Counter::Open | Counter::Cancelled => {
                self.max_open_requests.saturating_mul(2).max(MIN_SETTLED)
            }
            Counter::Elements => usize::MAX,
        }
    }

    #[cold]
    fn too_many(&self, counter: Counter) -> Error {
        let max = self.max(counter);
        let what = match counter {
            Counter::Requests => {
                return Error::new(
                    Reason::Protocol,
                    format!("a frame has more requests than {max}, which is the limit"),
                )
                .with_hint("the server's --max-requests-per-frame raises the limit");
            }
            Counter::Acks => "acknowledges more replies",
            Counter::Cancels => "cancels more requests",
            Counter::Open | Counter::Cancelled => "reconciles more requests",
            Counter::Elements => "has more elements",
        };
        Error::new(
            Reason::LimitExceeded,
            format!("a frame {what} than {max}, twice what a session may have open"),
        )
        .with_hint("the server's --max-open-requests raises the limit")
    }
}

#[cold]
fn malformed() -> Error {
    Error::new(Reason::Protocol, "a frame cannot be read: it is no encoded ClientFrame")
}

#[cold]
fn out_of_proportion(len: usize, max: usize) -> Error {
    Error::new(
        Reason::LimitExceeded,
        format!(
            "a frame of {len} bytes would take more than {max} bytes of memory, {PER_BYTE} times its length"
        ),
    )
    .with_hint("elements that are empty are none: leave them out")
}

/// What there may be many of. Those with a limit of their own are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    Requests,
    Acks,
    Cancels,
    Open,
    Cancelled,
    Elements,
}

const COUNTERS: usize = Counter::Elements as usize + 1;

/// What a field takes beside the message that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    /// Nothing: a number, or bytes, which stay in the frame's buffer.
    Inline,
    /// Its bytes, which are copied.
    Text,
    /// What is in this message.
    Message(usize),
    /// What is in this message, in a place of its own of so many bytes.
    Boxed(usize, usize),
    /// Elements that are this message, of so many bytes each.
    Messages(usize, usize, Counter),
    /// Elements that are bytes.
    Bytes,
    /// Elements that are texts.
    Texts,
    /// Elements that are numbers.
    Numbers(Counter),
}

/// The fields of each message by their numbers, from the .proto files. A message contains only those after
/// it, or there would be no end to them.
const CLIENT_FRAME: usize = 0;
include!(concat!(env!("OUT_DIR"), "/frame_fields.rs"));

/// Why weighing stops before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The decoder does not take it, either.
    Malformed,
    TooMany(Counter),
    /// It is heavier, or takes longer, than was asked for.
    Full,
}

/// Weighs one frame.
struct Scale {
    bytes: usize,
    max_bytes: usize,
    fields_left: usize,
    /// What a request may take beyond `max_bytes`.
    per_request: usize,
    left: [usize; COUNTERS],
}

impl Scale {
    fn new(limits: &Limits, max_bytes: usize, max_fields: usize) -> Self {
        use Counter as C;
        let counters = [C::Requests, C::Acks, C::Cancels, C::Open, C::Cancelled, C::Elements];
        let left = counters.map(|counter| limits.max(counter));
        Self { bytes: 0, max_bytes, fields_left: max_fields, per_request: 0, left }
    }

    /// Puts a message's fields on the scale, and those of the messages in it: the recursion is as deep as
    /// the .proto files nest.
    fn message(&mut self, message: usize, mut rest: &[u8]) -> Result<(), Stop> {
        let fields = MESSAGES[message];
        // By number, whether a field has had an element.
        let mut had = 0_u64;
        while !rest.is_empty() {
            self.fields_left = self.fields_left.checked_sub(1).ok_or(Stop::Full)?;
            let key = varint(&mut rest)?;
            let number = usize::try_from(key >> 3).unwrap_or(usize::MAX);
            let field = fields.get(number).copied().unwrap_or(Field::Inline);
            match key & 7 {
                VARINT => {
                    varint(&mut rest)?;
                    if let Field::Numbers(counter) = field {
                        self.elements(1, size_of::<u64>(), counter, number, &mut had)?;
                    }
                }
                FIXED64 => skip(&mut rest, 8)?,
                DELIMITED => {
                    let len = usize::try_from(varint(&mut rest)?).unwrap_or(usize::MAX);
                    let inner = take(&mut rest, len)?;
                    self.delimited(field, inner, number, &mut had)?;
                }
                GROUP => self.skip_group(&mut rest)?,
                FIXED32 => skip(&mut rest, 4)?,
                _ => return Err(Stop::Malformed),
            }
        }
        Ok(())
    }

    fn delimited(
        &mut self,
        field: Field,
        inner: &[u8],
        number: usize,
        had: &mut u64,
    ) -> Result<(), Stop> {
        match field {
            Field::Inline => Ok(()),
            Field::Text => self.put(inner.len().max(MIN_TEXT)),
            Field::Message(message) => self.message(message, inner),
            Field::Boxed(message, size) => {
                self.put(size)?;
                self.message(message, inner)
            }
            Field::Messages(message, size, counter) => {
                self.elements(1, size, counter, number, had)?;
                self.message(message, inner)
            }
            Field::Bytes => {
                // An empty one is no key, so that many of them make no sense: it counts twice.
                let count = if inner.is_empty() { 2 } else { 1 };
                self.elements(count, size_of::<Bytes>(), Counter::Elements, number, had)
            }
            Field::Texts => {
                self.elements(1, size_of::<String>(), Counter::Elements, number, had)?;
                self.put(inner.len().max(MIN_TEXT))
            }
            Field::Numbers(counter) => {
                // A number takes ten bytes at most: what is far too long need not be counted.
                if inner.len() / 10 > self.left[counter as usize] {
                    return Err(Stop::TooMany(counter));
                }
                let ends = inner.iter().filter(|byte| **byte < 0x80).count();
                self.elements(ends, size_of::<u64>(), counter, number, had)
            }
        }
    }

    /// Puts elements of a vector on the scale.
    fn elements(
        &mut self,
        count: usize,
        size: usize,
        counter: Counter,
        number: usize,
        had: &mut u64,
    ) -> Result<(), Stop> {
        if count == 0 {
            return Ok(());
        }
        let left = &mut self.left[counter as usize];
        *left = left.checked_sub(count).ok_or(Stop::TooMany(counter))?;
        if counter == Counter::Requests {
            self.max_bytes = self.max_bytes.saturating_add(self.per_request);
        }
        let bit = 1 << (number & 63);
        let first = if *had & bit == 0 { FIRST - GROWTH } else { 0 };
        *had |= bit;
        self.put(count.saturating_mul(GROWTH).saturating_add(first).saturating_mul(size))
    }

    fn put(&mut self, bytes: usize) -> Result<(), Stop> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.max_bytes { Err(Stop::Full) } else { Ok(()) }
    }

    /// Passes over a group, which nobody has sent for years and every decoder takes.
    fn skip_group(&mut self, rest: &mut &[u8]) -> Result<(), Stop> {
        let mut depth = 1_usize;
        while depth > 0 {
            self.fields_left = self.fields_left.checked_sub(1).ok_or(Stop::Full)?;
            match varint(rest)? & 7 {
                VARINT => drop(varint(rest)?),
                FIXED64 => skip(rest, 8)?,
                DELIMITED => {
                    let len = usize::try_from(varint(rest)?).unwrap_or(usize::MAX);
                    skip(rest, len)?;
                }
                GROUP => depth += 1,
                GROUP_END => depth -= 1,
                FIXED32 => skip(rest, 4)?,
                _ => return Err(Stop::Malformed),
            }
        }
        Ok(())
    }
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const DELIMITED: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED32: u64 = 5;

fn varint(rest: &mut &[u8]) -> Result<u64, Stop> {
    let mut value = 0;
    for (at, byte) in rest.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            *rest = &rest[at + 1..];
            return Ok(value);
        }
    }
    Err(Stop::Malformed)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Stop> {
    let (head, tail) = rest.split_at_checked(len).ok_or(Stop::Malformed)?;
    *rest = tail;
    Ok(head)
}

fn skip(rest: &mut &[u8], len: usize) -> Result<(), Stop> {
    take(rest, len).map(drop)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::v1::{
        ClientFrame, DictOp, DirectoryOp, Empty, Entries, Entry, Keys, ListOp, QueueItem, QueueOp,
        QueuePutMany, Reconcile, Ref, Request, SeqRange, Value, Values, dict_op, directory_op,
        list_op, queue_op, request,
    };

    const LIMITS: Limits = Limits { max_requests: 1024, max_open_requests: 65_536 };

    /// A field with this content: wire type 2.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        prost::encoding::encode_key(
            number.into(),
            prost::encoding::WireType::LengthDelimited,
            &mut bytes,
        );
        prost::encoding::encode_varint(content.len() as u64, &mut bytes);
        [&bytes[..], content].concat()
    }

    /// The fields within each other, the innermost with this content.
    fn nested(path: &[u8], content: &[u8]) -> Vec<u8> {
        path.iter().rev().fold(content.to_vec(), |content, number| field(*number, &content))
    }

    /// Every field of the contract that a frame can have many of, by the numbers on the way there.
    fn repeated_fields() -> Vec<Vec<u8>> {
        fn walk(message: usize, path: &[u8], found: &mut Vec<Vec<u8>>) {
            for (number, field) in MESSAGES[message].iter().enumerate() {
                let path = [path, &[number as u8]].concat();
                match field {
                    Field::Inline | Field::Text => {}
                    Field::Message(inner) | Field::Boxed(inner, _) => walk(*inner, &path, found),
                    Field::Messages(inner, ..) => {
                        found.push(path.clone());
                        walk(*inner, &path, found);
                    }
                    Field::Bytes | Field::Texts | Field::Numbers(_) => found.push(path),
                }
            }
        }
        let mut found = Vec::new();
        walk(CLIENT_FRAME, &[], &mut found);
        found
    }

    #[test]
    fn no_field_becomes_more_than_a_frame_may() {
        let fields = repeated_fields();
        assert!(fields.len() > 40, "only {} were found", fields.len());
        let anything = Limits { max_requests: usize::MAX, max_open_requests: usize::MAX };
        for path in fields {
            let (last, on_the_way) = path.split_last().unwrap();
            let frame = |times| nested(on_the_way, &field(*last, &[]).repeat(times));
            // A short frame is light, whatever is in it.
            let short = frame((SHORT - 32) / 2);
            assert!(short.len() > SHORT - 64 && short.len() <= SHORT);
            assert!(anything.weigh(&short).unwrap() <= LIGHT_BYTES, "{path:?}");
            assert_eq!(anything.look(&short), Ok(Weight::Light));
            let long = frame(1 << 16);
            match LIMITS.weigh(&long) {
                Ok(bytes) => assert!(bytes <= LIGHT_BYTES + PER_BYTE * long.len() + PER_REQUEST),
                Err(error) => assert_ne!(error, malformed(), "{path:?}"),
            }
            assert_ne!(LIMITS.look(&long), Ok(Weight::Light), "{path:?}");
        }
    }

    #[test]
    fn a_frame_of_empty_requests_is_refused_by_their_number() {
        let error = LIMITS.weigh(&[0x2a, 0].repeat(1 << 24)).unwrap_err();
        assert_eq!(error.reason(), Reason::Protocol);
        assert!(error.message.contains("1024"), "{error}");
        assert!(error.hint.contains("--max-requests-per-frame"), "{error}");
        assert_eq!(LIMITS.look(&[0x2a, 0].repeat(1 << 24)).unwrap_err(), error);
    }

    #[test]
    fn empty_elements_are_refused_and_small_ones_are_not() {
        let request = |op| Request { seq: 1, object: 1, op: Some(op), ..Request::default() };
        let frame = |op| ClientFrame { requests: vec![request(op)], ..ClientFrame::default() };
        let many = 100_000;
        let small = Value { data: vec![1].into(), refs: Vec::new() };
        let lists = |value: Value| {
            request::Op::List(ListOp {
                op: Some(list_op::Op::Extend(Values { values: vec![value; many] })),
            })
        };
        let dicts = |entry: Entry| {
            request::Op::Dict(DictOp {
                op: Some(dict_op::Op::Extend(Entries { entries: vec![entry; many] })),
            })
        };
        let queues = |item: QueueItem| {
            let items = QueuePutMany { items: vec![item; many] };
            request::Op::Queue(QueueOp { op: Some(queue_op::Op::PutMany(items)) })
        };
        let keys = request::Op::Dict(DictOp {
            op: Some(dict_op::Op::RemoveMany(Keys { keys: vec![vec![1].into(); many] })),
        });
        for op in [
            lists(small.clone()),
            dicts(Entry { key: vec![1].into(), value: Some(small.clone()) }),
            queues(QueueItem { value: Some(small.clone()), priority: None }),
            queues(QueueItem { value: Some(small.clone()), priority: Some(small) }),
            keys,
        ] {
            assert!(LIMITS.weigh(&frame(op).encode_to_vec()).is_ok());
        }
        for op in [dicts(Entry::default()), queues(QueueItem::default()), lists(Value::default())] {
            let error = LIMITS.weigh(&frame(op).encode_to_vec()).unwrap_err();
            assert_eq!(error.reason(), Reason::LimitExceeded, "{error}");
        }
    }

    #[test]
    fn many_small_requests_are_light_as_far_as_there_may_be_so_many() {
        let one = QueuePutMany {
            items: vec![QueueItem {
                value: Some(Value { data: vec![1].into(), refs: vec![Ref::default()] }),
                priority: None,
            }],
        };
        let put = request::Op::Queue(QueueOp { op: Some(queue_op::Op::PutMany(one)) });
        let ping =
            request::Op::Directory(DirectoryOp { op: Some(directory_op::Op::Ping(Empty {})) });
        for op in [put, ping] {
            for requests in [1024, 65_536] {
                let request = Request { seq: 1, op: Some(op.clone()), ..Request::default() };
                let frame =
                    ClientFrame { requests: vec![request; requests], ..ClientFrame::default() };
                let limits = Limits { max_requests: requests, ..LIMITS };
                assert!(limits.weigh(&frame.encode_to_vec()).is_ok());
            }
        }
    }

    #[test]
    fn acks_and_cancels_are_as_many_as_can_be_open() {
        let limits = Limits { max_open_requests: 5000, ..LIMITS };
        let frames = |n: usize| {
            let seqs: Vec<u64> = (0..n as u64).collect();
            let acks = vec![SeqRange { first: 1, last: u64::MAX }; n];
            let reconcile = |open, cancelled| Some(Reconcile { open, cancelled });
            [
                ClientFrame { acks, ..ClientFrame::default() },
                ClientFrame { cancels: seqs.clone(), ..ClientFrame::default() },
                ClientFrame {
                    reconcile: reconcile(seqs.clone(), Vec::new()),
                    ..ClientFrame::default()
                },
                ClientFrame { reconcile: reconcile(Vec::new(), seqs), ..ClientFrame::default() },
            ]
        };
        for frame in frames(10_000) {
            assert!(limits.weigh(&frame.encode_to_vec()).is_ok(), "{}", frame.acks.len());
        }
        for frame in frames(10_001) {
            let error = limits.weigh(&frame.encode_to_vec()).unwrap_err();
            assert!(error.message.contains("10000"), "{error}");
            assert!(error.hint.contains("--max-open-requests"), "{error}");
        }
    }

    #[test]
    fn what_lies_about_its_length_is_no_frame() {
        for bytes in
            [&[0x2a, 5, 1][..], &[0x2a, 2, 0x82, 5], &[0x80; 11], &[0x0f], &[0x0c], &[0x09, 1]]
        {
            let error = LIMITS.weigh(bytes).unwrap_err();
            assert_eq!(error.reason(), Reason::Protocol);
            assert!(ClientFrame::decode(bytes).is_err(), "{bytes:?}");
        }
        // Unknown fields of every kind, a group among them.
        let unknown = [
            0xf8, 7, 1, 0xf9, 7, 1, 2, 3, 4, 5, 6, 7, 8, 0xfa, 7, 1, 0, 0xfb, 7, 0x08, 1, 0xfc, 7,
            0xfd, 7, 1, 2, 3, 4,
        ];
        assert!(ClientFrame::decode(&unknown[..]).is_ok());
        assert_eq!(LIMITS.weigh(&unknown), Ok(0));
    }

    #[test]
    fn messages_do_not_contain_themselves() {
        fn depth(message: usize) -> usize {
            let inner = MESSAGES[message].iter().filter_map(|field| match field {
                Field::Message(inner) | Field::Boxed(inner, _) | Field::Messages(inner, ..) => {
                    Some(depth(*inner))
                }
                _ => None,
            });
            1 + inner.max().unwrap_or(0)
        }
        assert!(depth(CLIENT_FRAME) < 10);
    }
}
