//! What clients of other libraries call a unix socket.
//!
//! gRPC's core sends the socket's path as `:authority`, percent-encoded, and the HTTP library resets every
//! request whose authority has a percent sign. Nobody asks what a unix socket is called, so the sign
//! becomes a full stop where it arrives. Nothing gets longer or shorter by that, and everything else about
//! HTTP/2 is left to the library.

/// Rewrites what a client says on a connection, from its first byte on.
#[derive(Debug, Default)]
pub(crate) struct Authorities {
    at: At,
    /// What is left of the payload of the frame.
    left: usize,
    /// And how much of that is padding.
    padding: usize,
    has_priority: bool,
    field: Field,
    /// The field that is being read is the authority.
    is_authority: bool,
}

/// ```text
///   preface ──► header ──HEADERS──► pad length ──► priority ──► fields ──► skip ──► header …
///                 └──CONTINUATION───────────────────────────────►┘          ▲
///                 └──any other frame────────────────────────────────────────┘
/// ```
#[derive(Debug)]
enum At {
    Preface {
        left: usize,
    },
    Header {
        bytes: [u8; HEADER_LEN],
        have: usize,
    },
    PadLength,
    Priority {
        left: usize,
    },
    Fields,
    Skip,
    /// It is no HTTP/2: the library will say so.
    Lost,
}

/// Where in a list of fields (HPACK, RFC 7541) it is. A list goes on in the next frame as it was.
#[derive(Debug, Default)]
enum Field {
    #[default]
    Begin,
    NameLength,
    ValueLength,
    /// In a number of several bytes.
    Number {
        value: usize,
        shift: u32,
        what: Number,
    },
    Name {
        left: usize,
        matches: usize,
    },
    Value {
        left: usize,
        is_plain: bool,
    },
}

/// What a number says.
#[derive(Debug, Clone, Copy)]
enum Number {
    /// A field that both sides know, or how large the table of those may be.
    Whole,
    /// The name of a field, 0 if it follows.
    NameIndex,
    NameLength {
        is_plain: bool,
    },
    ValueLength {
        is_plain: bool,
    },
}

const PREFACE_LEN: usize = 24;
const HEADER_LEN: usize = 9;
const PRIORITY_LEN: usize = 5;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
const NAME: &[u8] = b":authority";
/// The name's place in HPACK's static table.
const NAME_INDEX: usize = 1;

impl Default for At {
    fn default() -> Self {
        Self::Preface { left: PREFACE_LEN }
    }
}

impl At {
    const HEADER: Self = Self::Header { bytes: [0; HEADER_LEN], have: 0 };
}

impl Authorities {
    /// Rewrites the bytes that have arrived, wherever they begin and end.
    pub(crate) fn rewrite(&mut self, mut bytes: &mut [u8]) {
        while let Some((first, rest)) = bytes.split_first_mut() {
            match &mut self.at {
                At::Lost => return,
                At::Skip => {
                    // All that is not about fields: most of it.
                    let skipped = self.left.min(1 + rest.len());
                    bytes = &mut rest[skipped - 1..];
                    self.left -= skipped;
                    self.end_payload();
                    continue;
                }
                At::Preface { left } => {
                    *left -= 1;
                    if *left == 0 {
                        self.at = At::HEADER;
                    }
                }
                At::Header { bytes, have } => {
                    bytes[*have] = *first;
                    *have += 1;
                    if *have == HEADER_LEN {
                        let header = *bytes;
                        self.begin_payload(header);
                    }
                }
                At::PadLength => {
                    self.padding = usize::from(*first);
                    self.at = self.after_pad_length();
                    self.end_of_byte();
                }
                At::Priority { left } => {
                    *left -= 1;
                    if *left == 0 {
                        self.at = At::Fields;
                    }
                    self.end_of_byte();
                }
                At::Fields => {
                    self.field(first);
                    self.end_of_byte();
                }
            }
            bytes = rest;
        }
    }

    fn begin_payload(&mut self, header: [u8; HEADER_LEN]) {
        let [long, middle, short, kind, flags, ..] = header;
        self.left = usize::from(long) << 16 | usize::from(middle) << 8 | usize::from(short);
        self.padding = 0;
        self.at = match kind {
            HEADERS => {
                self.field = Field::Begin;
                self.has_priority = flags & PRIORITY != 0;
                if flags & PADDED != 0 { At::PadLength } else { self.after_pad_length() }
            }
            CONTINUATION => At::Fields,
            _ => At::Skip,
        };
        self.end_payload();
    }

    fn after_pad_length(&self) -> At {
        if self.has_priority { At::Priority { left: PRIORITY_LEN } } else { At::Fields }
    }

    fn end_of_byte(&mut self) {
        self.left -= 1;
        if self.left == self.padding && !matches!(self.at, At::Lost) {
            self.at = At::Skip;
        }
        self.end_payload();
    }

    fn end_payload(&mut self) {
        if self.left == 0 && !matches!(self.at, At::Lost) {
            self.at = At::HEADER;
        }
    }

    /// Takes in a byte of a list of fields.
    fn field(&mut self, byte: &mut u8) {
        self.field = match std::mem::take(&mut self.field) {
            Field::Begin => match *byte {
                first if first & 0x80 != 0 => self.number(first, 7, Number::Whole),
                first if first & 0x40 != 0 => self.number(first, 6, Number::NameIndex),
                first if first & 0x20 != 0 => self.number(first, 5, Number::Whole),
                first => self.number(first, 4, Number::NameIndex),
            },
            Field::NameLength => {
                self.number(*byte, 7, Number::NameLength { is_plain: *byte & 0x80 == 0 })
            }
            Field::ValueLength => {
                self.number(*byte, 7, Number::ValueLength { is_plain: *byte & 0x80 == 0 })
            }
            Field::Number { value, shift, what } => {
                let value = value + (usize::from(*byte & 0x7f) << shift);
                match (*byte & 0x80 == 0, shift) {
                    (true, _) => self.know(value, what),
                    (false, 0..21) => Field::Number { value, shift: shift + 7, what },
                    // No list of fields is that long.
                    (false, _) => {
                        self.at = At::Lost;
                        Field::Begin
                    }
                }
            }
            Field::Name { left, matches } => {
                let is_next = NAME.get(matches) == Some(byte);
                let matches = if is_next { matches + 1 } else { NAME.len() + 1 };
                if left > 1 {
                    Field::Name { left: left - 1, matches }
                } else {
                    self.is_authority = matches == NAME.len();
                    Field::ValueLength
                }
            }
            Field::Value { left, is_plain } => {
                if self.is_authority && is_plain && *byte == b'%' {
                    *byte = b'.';
                }
                if left > 1 { Field::Value { left: left - 1, is_plain } } else { Field::Begin }
            }
        };
    }

    /// Begins to read a number in the last `bits` of a byte.
    fn number(&mut self, first: u8, bits: u32, what: Number) -> Field {
        let all = (1 << bits) - 1;
        match usize::from(first) & all {
            value if value == all => Field::Number { value, shift: 0, what },
            value => self.know(value, what),
        }
    }

    /// A number is known: what comes next.
    fn know(&mut self, value: usize, what: Number) -> Field {
        match (what, value) {
            (Number::Whole, _) | (Number::ValueLength { .. }, 0) => Field::Begin,
            (Number::NameIndex, 0) => Field::NameLength,
            (Number::NameIndex, index) => {
                self.is_authority = index == NAME_INDEX;
                Field::ValueLength
            }
            (Number::NameLength { .. }, 0) => {
                self.is_authority = false;
                Field::ValueLength
            }
            (Number::NameLength { is_plain }, left) => {
                Field::Name { left, matches: if is_plain { 0 } else { NAME.len() + 1 } }
            }
            (Number::ValueLength { is_plain }, left) => Field::Value { left, is_plain },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOCKET: &[u8] = b"%2Frun%2Fmanager.sock";
    const PLAIN: &[u8] = b".2Frun.2Fmanager.sock";

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn text(text: &[u8]) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        assert!(length < 0x7f);
        [&[length], text].concat()
    }

    /// A list of fields: POST, a path with a percent sign, the authority, and another field.
    fn fields(authority: &[u8]) -> Vec<u8> {
        let path = [&[0x44][..], &text(b"/a%2Fb")].concat();
        let other = [&[0x00][..], &text(b"x"), &text(b"100%")].concat();
        [&[0x83][..], &path, authority, &other].concat()
    }

    /// How gRPC's core writes the authority, and how most others do.
    fn authorities(value: &[u8]) -> [Vec<u8>; 3] {
        [
            [&[0x40][..], &text(NAME), &text(value)].concat(),
            [&[0x41][..], &text(value)].concat(),
            [&[0x11][..], &text(value)].concat(),
        ]
    }

    /// A connection on which the same is said in frames of several forms.
    fn connection(authority: &[u8]) -> Vec<u8> {
        let list = fields(authority);
        let (one, two) = list.split_at(list.len() / 2);
        let padded = [&[3][..], &[0; PRIORITY_LEN], &list, b"%%%"].concat();
        [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, b""),
            frame(HEADERS, 0x4, &list),
            frame(0, 0, b"100% data, \x41\x02%%"),
            frame(HEADERS, 0, one),
            frame(CONTINUATION, 0, b""),
            frame(CONTINUATION, 0x4, two),
            frame(HEADERS, 0x4 | PADDED | PRIORITY, &padded),
            frame(HEADERS, 0x4, &list),
        ]
        .concat()
    }

    fn rewritten(bytes: &[u8], pieces: usize) -> Vec<u8> {
        let (mut authorities, mut bytes) = (Authorities::default(), bytes.to_vec());
        bytes.chunks_mut(pieces).for_each(|piece| authorities.rewrite(piece));
        bytes
    }

    #[test]
    fn the_path_of_a_socket_becomes_a_name() {
        for (said, heard) in authorities(SOCKET).into_iter().zip(authorities(PLAIN)) {
            for pieces in [1, 2, 3, 7, 10_000] {
                assert_eq!(rewritten(&connection(&said), pieces), connection(&heard));
            }
        }
    }

    #[test]
    fn what_is_no_path_stays() {
        let long = [&[0x41, 0x7f, 0x81, 0x00][..], &[b'a'; 128]].concat();
        let compressed = [&[0x41, 0x80 | 2][..], b"%%"].concat();
        for authority in [authorities(b"localhost:1")[0].clone(), long, compressed] {
            assert_eq!(rewritten(&connection(&authority), 5), connection(&authority));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_only_percent_signs_change(
            after in prop::collection::vec(any::<u8>(), 0..200),
            in_fields in any::<bool>(),
            pieces in 1_usize..50,
        ) {
            let said = match in_fields {
                true => [vec![0; PREFACE_LEN], frame(HEADERS, 0, &after)].concat(),
                false => [vec![0; PREFACE_LEN], after].concat(),
            };
            let heard = rewritten(&said, pieces);
            prop_assert!(said.iter().zip(&heard).all(|(a, b)| a == b || (*a, *b) == (b'%', b'.')));
            prop_assert_eq!(heard, rewritten(&said, said.len()));
        }
    }
}
