//! Reads messages from a connection.

use bytes::{Bytes, BytesMut};
use mp_manager_proto::connection::{FrameError, FrameKind, HEADER_LEN, Header};
use tokio::io::{AsyncReadExt, ReadHalf};

use super::Io;

/// The buffer grows by so many bytes at least.
const MIN_ROOM: usize = 8 << 10;

/// A buffer that has grown beyond this is given back once it is empty.
const MAX_KEPT: usize = 256 << 10;

/// Why nothing more will come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// The other end is closed.
    Closed,
    /// It was closed in the middle of a message.
    Truncated,
    /// The connection failed.
    Broken(String),
    /// The other end does not keep to the protocol.
    Frame(FrameError),
}

/// The receiving half.
pub(super) struct Reader {
    half: ReadHalf<Io>,
    /// Bytes that have arrived and belong to no message that was received. They outlast a call that is cancelled.
    buffer: BytesMut,
    max_message_bytes: u32,
    end: Option<End>,
}

impl Reader {
    pub(super) fn new(half: ReadHalf<Io>, max_message_bytes: u32) -> Self {
        Self { half, buffer: BytesMut::new(), max_message_bytes, end: None }
    }

    /// Waits until a whole message is there, and returns its header. Cancel safe.
    pub(super) async fn message(&mut self) -> Result<Header, End> {
        loop {
            let header = match self.header() {
                Ok(header) => header,
                Err(error) => return Err(self.give_up(End::Frame(error))),
            };
            match header {
                Some(header) if self.buffer.len() >= header.frame_len() => return Ok(header),
                _ => {}
            }
            if let Some(end) = &self.end {
                return Err(end.clone());
            }
            self.fill(header).await;
        }
    }

    /// Takes the message that [`message`](Self::message) has found.
    pub(super) fn take(&mut self, header: Header) -> Bytes {
        let payload = header.take_from(&mut self.buffer);
        if self.buffer.is_empty() && header.frame_len() > MAX_KEPT {
            self.buffer = BytesMut::new();
        }
        payload
    }

    fn header(&self) -> Result<Option<Header>, FrameError> {
        let header = Header::peek(&self.buffer, self.max_message_bytes)?;
        match header {
            Some(Header { kind: kind @ FrameKind::Handshake, .. }) => {
                Err(FrameError::UnknownKind(kind as u8))
            }
            header => Ok(header),
        }
    }

    /// Reads what there is; waits until there is something.
    async fn fill(&mut self, header: Option<Header>) {
        // The buffer grows with the bytes that arrive, and not by the length that a header announces.
        let missing = header.map_or(HEADER_LEN, Header::frame_len) - self.buffer.len();
        self.buffer.reserve(missing.min(self.buffer.len()).max(MIN_ROOM));
        match self.half.read_buf(&mut self.buffer).await {
            Ok(0) if self.buffer.is_empty() => self.end = Some(End::Closed),
            Ok(0) => self.end = Some(End::Truncated),
            Ok(_) => {}
            Err(error) => self.end = Some(End::Broken(error.to_string())),
        }
    }

    fn give_up(&mut self, end: End) -> End {
        self.buffer = BytesMut::new();
        self.end.get_or_insert(end).clone()
    }
}
