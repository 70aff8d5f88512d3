//! A client's frame, as it is built and as it arrives. Its requests are written into it one by one, and
//! stay where they are until they have been answered; at the other end it is weighed before it is decoded.

mod weight;

use bytes::{BufMut, Bytes};
use prost::Message;

pub use weight::{Limits, Weight};

use crate::{
    error::{Error, Reason},
    v1::{ClientFrame, Request},
};

/// The number of the field that requests are in.
const REQUESTS: u32 = 5;

/// A [`ClientFrame`], encoded.
#[derive(Debug, Default)]
pub struct EncodedFrame(Vec<u8>);

impl EncodedFrame {
    /// A frame that is going to take about so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Adds a request after those that are there.
    pub fn request(&mut self, request: &Request) {
        prost::encoding::message::encode(REQUESTS, request, &mut self.0);
    }

    /// Adds what a frame says; it comes after the requests, which makes no difference to those who
    /// read it.
    pub fn finish(&mut self, frame: &ClientFrame) {
        frame.encode_raw(&mut self.0);
    }

    /// The frame itself, for those that do not send it: simulations and tests.
    #[must_use]
    pub fn decoded(&self) -> ClientFrame {
        ClientFrame::decode(&self.0[..]).unwrap_or_default()
    }

    /// The bytes, for those that do not send them.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0.into()
    }

    /// Copies it to where it is sent from.
    pub fn put(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
    }
}

/// Decodes a frame that was [weighed](Limits::look).
///
/// # Errors
/// If it is none.
pub fn decode(frame: Bytes) -> Result<ClientFrame, Error> {
    ClientFrame::decode(frame)
        .map_err(|error| Error::new(Reason::Protocol, format!("a frame cannot be read: {error}")))
}

/// What a `Session` call is made with, from frames that are encoded already.
#[cfg(feature = "grpc")]
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameCodec;

/// What a `Session` call is served with: frames arrive as they are.
#[cfg(feature = "grpc")]
#[derive(Debug, Clone, Copy, Default)]
pub struct RawCodec;

#[cfg(feature = "grpc")]
mod codec {
    use bytes::{Buf, Bytes};
    use tonic::{
        Status,
        codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    };
    use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

    use super::{EncodedFrame, FrameCodec, RawCodec};
    use crate::v1::{ClientFrame, ServerFrame};

    impl Codec for FrameCodec {
        type Encode = EncodedFrame;
        type Decode = ServerFrame;
        type Encoder = Self;
        type Decoder = ProstDecoder<ServerFrame>;

        fn encoder(&mut self) -> Self {
            *self
        }

        fn decoder(&mut self) -> Self::Decoder {
            ProstCodec::<ClientFrame, ServerFrame>::default().decoder()
        }
    }

    impl Encoder for FrameCodec {
        type Item = EncodedFrame;
        type Error = Status;

        fn encode(&mut self, frame: EncodedFrame, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
            frame.put(into);
            Ok(())
        }
    }

    impl Codec for RawCodec {
        type Encode = ServerFrame;
        type Decode = Bytes;
        type Encoder = ProstEncoder<ServerFrame>;
        type Decoder = Self;

        fn encoder(&mut self) -> Self::Encoder {
            ProstCodec::<ServerFrame, ClientFrame>::default().encoder()
        }

        fn decoder(&mut self) -> Self {
            *self
        }
    }

    impl Decoder for RawCodec {
        type Item = Bytes;
        type Error = Status;

        fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
            Ok(Some(frame.copy_to_bytes(frame.remaining())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Empty, Fence, Reconcile, SeqRange};

    #[test]
    fn it_is_read_as_the_frame_it_is() {
        let request = |seq| Request {
            seq,
            object: 1 << 40,
            fence: Some(Fence { lock: 1, token: 2 }),
            ..Request::default()
        };
        let requests = vec![request(1), Request::default(), request(u64::MAX)];
        let frame = ClientFrame {
            number: 7,
            reconcile: Some(Reconcile { open: vec![1, 2], cancelled: vec![3] }),
            acks: vec![SeqRange { first: 1, last: 9 }],
            cancels: vec![4, 5],
            losses: 3,
            goodbye: Some(Empty {}),
            requests: Vec::new(),
        };
        let mut encoded = EncodedFrame::with_capacity(100);
        requests.iter().for_each(|request| encoded.request(request));
        encoded.finish(&frame);
        assert_eq!(encoded.decoded(), ClientFrame { requests, ..frame });
    }
}
