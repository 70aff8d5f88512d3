//! Messages made of arbitrary bytes, by the contract's own description: so that fuzzing gets past
//! the decoder, and operations that are added later are there by themselves.

use std::{collections::BTreeMap, sync::LazyLock};

use mp_manager_proto::FILE_DESCRIPTOR_SET;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

/// Values deeper than this are left out.
const MAX_DEPTH: usize = 6;

static MESSAGES: LazyLock<BTreeMap<String, DescriptorProto>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("our own descriptors");
    set.file
        .into_iter()
        .flat_map(|file| file.message_type)
        .map(|message| (message.name().to_owned(), message))
        .collect()
});

/// Bytes that decide; when there are no more, all decisions are the first.
pub(crate) struct Source<'a>(pub(crate) &'a [u8]);

impl Source<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or_default()
    }

    /// One of `n` things.
    pub(crate) fn choose(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }

    fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=199 => u64::from(small % 8),
            200..=209 => u64::MAX,
            210..=219 => 1 << 63,
            220..=229 => u64::from(self.byte()),
            _ => (0..8).fold(0, |number, _| number << 8 | u64::from(self.byte())),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        const VALUES: [&[u8]; 12] = [
            &[1],
            &[2],
            &[0xa1, b'a'],
            &[0xa1, b'b'],
            &[0xc0],
            &[0xc3],
            &[0x92, 1, 0xa1, b'a'],
            &[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0],
            &[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0],
            &[0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],
            &[0x81, 1, 2],
        ];
        match self.choose(VALUES.len() + 2) {
            12 => (0..self.choose(12)).map(|_| self.byte()).collect(),
            13 => vec![self.byte(); 8],
            known => VALUES[known].to_vec(),
        }
    }

    /// A message of this type, encoded.
    pub(crate) fn message(&mut self, name: &str) -> Vec<u8> {
        self.message_at(name, MAX_DEPTH)
    }

    fn message_at(&mut self, name: &str, depth: usize) -> Vec<u8> {
        let message = &MESSAGES[name];
        let mut encoded = Vec::new();
        let (one_of, plain): (Vec<_>, Vec<_>) =
            message.field.iter().partition(|f| f.oneof_index.is_some() && !f.proto3_optional());
        if !one_of.is_empty() {
            let chosen = self.choose(one_of.len());
            self.field(one_of[chosen], depth, &mut encoded);
        }
        for field in plain {
            let repeated = field.label() == Label::Repeated;
            // Mostly there, for what is left out is rarely what makes sense.
            let times = if repeated { self.choose(4) } else { self.choose(6).min(1) };
            for _ in 0..times {
                self.field(field, depth, &mut encoded);
            }
        }
        encoded
    }

    fn field(&mut self, field: &FieldDescriptorProto, depth: usize, encoded: &mut Vec<u8>) {
        let tag = u32::try_from(field.number()).expect("field numbers are positive");
        let delimited = match field.r#type() {
            Type::Message if depth == 0 => return,
            Type::Message => {
                let name = field.type_name().rsplit('.').next().unwrap_or_default();
                self.message_at(name, depth - 1)
            }
            Type::Bytes => self.bytes(),
            Type::String => self.bytes().into_iter().map(|byte| byte & 0x7f).collect(),
            Type::Fixed64 => {
                encode_key(tag, WireType::SixtyFourBit, encoded);
                return encoded.extend(self.number().to_le_bytes());
            }
            _ => {
                encode_key(tag, WireType::Varint, encoded);
                return encode_varint(self.number(), encoded);
            }
        };
        encode_key(tag, WireType::LengthDelimited, encoded);
        encode_varint(delimited.len() as u64, encoded);
        encoded.extend(delimited);
    }
}
