//! A memfd that a parent shares with its child: the child notes what it is about to start, and the parent
//! reads it when the child has died.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    io::{Errno, pread, pwrite},
};

/// What a worker started last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Note {
    /// The chunk's ticket; 0 before the first one.
    pub(crate) ticket: u64,
    /// The task's index in the chunk.
    pub(crate) index: u64,
}

/// The shared memory. Neither side maps it, so neither can crash the other by truncating it.
#[derive(Debug)]
pub(crate) struct Recorder(OwnedFd);

impl Recorder {
    /// Makes an empty one.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(memfd_create(c"mp-manager-recorder", MemfdFlags::CLOEXEC)?))
    }

    /// The one whose descriptor came over the control socket.
    pub(crate) fn from_descriptor(descriptor: OwnedFd) -> Self {
        Self(descriptor)
    }

    /// What to send to the child.
    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Notes what is about to start: one system call.
    pub(crate) fn note(&self, note: Note) -> io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&note.ticket.to_le_bytes());
        bytes[8..].copy_from_slice(&note.index.to_le_bytes());
        let written = rustix::io::retry_on_intr(|| pwrite(&self.0, &bytes, 0))?;
        if written == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads the last note.
    pub(crate) fn read(&self) -> io::Result<Note> {
        let mut bytes = [0; 16];
        let read = loop {
            match pread(&self.0, &mut bytes[..], 0) {
                Err(Errno::INTR) => {}
                read => break read?,
            }
        };
        if read < bytes.len() {
            return Ok(Note::default());
        }
        let number = |at: usize| {
            bytes[at..at + 8]
                .iter()
                .rev()
                .fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        Ok(Note { ticket: number(0), index: number(8) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_note_is_read() {
        let recorder = Recorder::new().unwrap();
        assert_eq!(recorder.read().unwrap(), Note::default());
        let other = Recorder::from_descriptor(recorder.descriptor().try_clone().unwrap());
        for index in 0..3 {
            other.note(Note { ticket: 1 << 40, index }).unwrap();
        }
        assert_eq!(recorder.read().unwrap(), Note { ticket: 1 << 40, index: 2 });
    }
}
