//! Frames on the socket pair between a parent and its child.
//!
//! A frame is the length of its payload (four bytes, big endian), its kind, and the payload. Descriptors come
//! with the first byte of the frame that they belong to.

use std::{
    io::{self, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// Maximum length of a payload.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 1 << 30;
/// Maximum number of descriptors with a frame.
const MAX_DESCRIPTORS: usize = 4;
/// Length of what stands before the payload.
pub(crate) const HEADER_LEN: usize = 5;
/// The version of the frames and of what is in them. The programs of parent and child may have been built with
/// different versions of this crate.
pub(crate) const VERSION: u8 = 1;

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum FrameKind {
    /// Parent to child, first: the nonce, and nothing that another program must not see.
    Hello = 1,
    /// Child to parent: it has come to `init()`, and the version of these frames that it knows.
    Ready = 2,
    /// Parent to child: the `Bootstrap`, and the `Role`.
    Role = 3,
    /// Parent to child, after the role: its arguments.
    Arguments = 4,
    /// Parent to child: end as by SIGINT, which the child ignores otherwise.
    Interrupt = 5,
    /// Child to parent: the `TaskFailure` for which it is about to end.
    Failed = 6,
    /// Child to parent: it has taken the arguments that the manager held for it.
    Taken = 8,
    /// Either way, between a worker and its pool, which alone know what is in it.
    Pool = 7,
}

impl FrameKind {
    fn of(byte: u8) -> io::Result<Self> {
        let all = [
            Self::Hello,
            Self::Ready,
            Self::Role,
            Self::Arguments,
            Self::Interrupt,
            Self::Failed,
            Self::Taken,
            Self::Pool,
        ];
        let kind = all.into_iter().find(|kind| *kind as u8 == byte);
        kind.ok_or_else(|| malformed("a frame of an unknown kind"))
    }
}

/// One frame.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: FrameKind,
    pub(crate) payload: Vec<u8>,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// One end of the socket pair.
#[derive(Debug)]
pub(crate) struct Control {
    stream: UnixStream,
    /// Frames of several threads do not mix.
    sending: Mutex<()>,
}

impl Control {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self { stream, sending: Mutex::new(()) }
    }

    /// Sends a frame. Blocks while the other side does not read.
    pub(crate) fn send(&self, kind: FrameKind, payload: &[u8]) -> io::Result<()> {
        self.send_with(kind, payload, &[])
    }

    /// Sends a frame with descriptors, which stay open here.
    pub(crate) fn send_with(
        &self,
        kind: FrameKind,
        payload: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        if payload.len() > MAX_PAYLOAD_BYTES {
            let message = format!(
                "{} bytes for a child process, and {MAX_PAYLOAD_BYTES} may be sent at once",
                payload.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut header = [0; HEADER_LEN];
        let len = u32::try_from(payload.len()).map_err(io::Error::other)?;
        header[..4].copy_from_slice(&len.to_be_bytes());
        header[4] = kind as u8;
        let _sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
        }
        let slices = [IoSlice::new(&header), IoSlice::new(payload)];
        let sent = rustix::io::retry_on_intr(|| {
            sendmsg(&self.stream, &slices, &mut ancillary, SendFlags::NOSIGNAL)
        })?;
        let mut stream = &self.stream;
        if sent < HEADER_LEN {
            stream.write_all(&header[sent..])?;
        }
        stream.write_all(&payload[sent.saturating_sub(HEADER_LEN)..])
    }

    /// Receives the next frame; `None` if the other end is closed. One thread at a time.
    pub(crate) fn receive(&self) -> io::Result<Option<Frame>> {
        let mut header = [0; HEADER_LEN];
        let mut descriptors = Vec::new();
        let mut filled = 0;
        while filled < HEADER_LEN {
            let read = self.receive_part(&mut header[filled..], &mut descriptors)?;
            match (read, filled) {
                (0, 0) => return Ok(None),
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => filled += read,
            }
        }
        let [a, b, c, d, kind] = header;
        let len = usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(io::Error::other)?;
        if len > MAX_PAYLOAD_BYTES {
            return Err(malformed("a frame that is too long"));
        }
        let kind = FrameKind::of(kind)?;
        let mut payload = Vec::new();
        // What was announced is not allocated before it arrives.
        let limit = u64::try_from(len).map_err(io::Error::other)?;
        (&self.stream).take(limit).read_to_end(&mut payload)?;
        if payload.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(Frame { kind, payload, descriptors }))
    }

    fn receive_part(&self, part: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(part)];
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(&self.stream, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Ok(received.bytes)
    }

    /// From now on sending fails with `WouldBlock` once the other side has read nothing for so long; `None` waits.
    pub(crate) fn set_send_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    /// From now on receiving fails with `WouldBlock` where it would wait.
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Control, Control) {
        let (one, other) = UnixStream::pair().unwrap();
        (Control::new(one), Control::new(other))
    }

    #[test]
    fn a_frame_arrives_with_its_descriptor() {
        let (one, other) = pair();
        let (mut read, write) = std::io::pipe().unwrap();
        one.send(FrameKind::Role, b"before").unwrap();
        one.send_with(FrameKind::Pool, b"with", &[write.as_fd()]).unwrap();
        drop((one, write));
        let before = other.receive().unwrap().unwrap();
        assert_eq!((before.kind, &*before.payload), (FrameKind::Role, &b"before"[..]));
        assert!(before.descriptors.is_empty());
        let mut with = other.receive().unwrap().unwrap();
        rustix::io::write(with.descriptors.remove(0), b"x").unwrap();
        let mut byte = [0];
        read.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert!(other.receive().unwrap().is_none());
    }

    #[test]
    fn a_frame_longer_than_the_buffer_arrives() {
        let (one, other) = pair();
        let long = vec![7; 4 << 20];
        let sender = std::thread::spawn(move || one.send(FrameKind::Arguments, &long));
        assert_eq!(other.receive().unwrap().unwrap().payload.len(), 4 << 20);
        sender.join().unwrap().unwrap();
    }

    #[test]
    fn a_frame_that_is_cut_off_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        (&one).write_all(&[0, 0, 0, 9, 3, 1, 2]).unwrap();
        drop(one);
        let error = Control::new(other).receive().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_unknown_kind_and_an_endless_frame_are_refused() {
        for header in [[0, 0, 0, 0, 99], [255, 255, 255, 255, 3]] {
            let (one, other) = UnixStream::pair().unwrap();
            (&one).write_all(&header).unwrap();
            let error = Control::new(other).receive().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
    }
}
