//! What a server keeps on disk, so that its next start knows of this one.
//!
//! A directory of its own, with three files. `lock` is `flock`ed while a server uses the directory.
//! `tls-identity.pem` has the private key and the certificate that a server made for itself.
//! `fencing-tokens` has the ceiling up to which fencing tokens may have been handed out:
//!
//! ```text
//! mp-manager fencing-tokens 1
//! ceiling 1764341234567890
//! ```

use std::{
    fs::{DirBuilder, File, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, Mode, OFlags, openat, renameat, unlinkat};
use zeroize::Zeroizing;

use crate::error::ServeError;

const LOCK: &str = "lock";
const TOKENS: &str = "fencing-tokens";
const NEW_TOKENS: &str = "fencing-tokens.new";
pub(crate) const IDENTITY: &str = "tls-identity.pem";
const NEW_IDENTITY: &str = "tls-identity.pem.new";
const MAGIC: &str = "mp-manager fencing-tokens ";
const VERSION: &str = "1";
/// More than a file has.
const MAX_BYTES: u64 = 64 << 10;

/// A directory that this server alone uses.
///
/// It is used through one descriptor: another directory that takes its place is another server's.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    directory: File,
    /// The lock ends with the descriptor, even if the process is killed.
    #[expect(dead_code, reason = "kept to be dropped")]
    lock: File,
}

impl StateDir {
    /// Opens a directory, or creates it in one that exists, and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, ServeError> {
        let failed = |problem: String| ServeError::StateDir { path: path.into(), problem };
        create(path).map_err(|error| failed(format!("cannot create it: {error}")))?;
        let directory = File::open(path).map_err(|error| failed(error.to_string()))?;
        let flags = OFlags::RDWR | OFlags::CREATE;
        let lock = open_at(&directory, LOCK, flags)
            .map_err(|error| failed(format!("cannot open its file \"{LOCK}\": {error}")))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), directory, lock }),
            Err(TryLockError::WouldBlock) => {
                Err(failed("another manager uses it: give each its own --state-dir".into()))
            }
            Err(TryLockError::Error(error)) => Err(failed(format!("cannot lock it: {error}"))),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The ceiling that was set last; `None` if none was.
    pub(crate) fn ceiling(&self) -> Result<Option<u64>, ServeError> {
        match self.read(TOKENS) {
            Ok(Some(bytes)) => parse(&bytes).map(Some).map_err(|problem| self.unreadable(problem)),
            Ok(None) => Ok(None),
            Err(error) => Err(self.unreadable(&error.to_string())),
        }
    }

    /// Returns once the ceiling would outlast a crash of the machine. After an error either ceiling may
    /// be there.
    pub(crate) fn set_ceiling(&self, ceiling: u64) -> io::Result<()> {
        let text = format!("{MAGIC}{VERSION}\nceiling {ceiling}\n");
        self.replace(TOKENS, NEW_TOKENS, text.as_bytes())
    }

    /// The private key and certificate that a server has made, if one has.
    pub(crate) fn identity(&self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        Ok(self.read(IDENTITY)?.map(Zeroizing::new))
    }

    /// Returns once they would outlast a crash of the machine.
    pub(crate) fn set_identity(&self, text: &str) -> io::Result<()> {
        self.replace(IDENTITY, NEW_IDENTITY, text.as_bytes())
    }

    /// What is in a file, if there is one.
    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match open_at(&self.directory, name, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Puts a file in the place of another: whoever reads it sees one or the other.
    fn replace(&self, name: &str, new_name: &str, bytes: &[u8]) -> io::Result<()> {
        // Never the file of an attempt that failed: after a failed fsync nobody knows what is in it.
        let _ = unlinkat(&self.directory, new_name, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = open_at(&self.directory, new_name, flags)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        renameat(&self.directory, new_name, &self.directory, name)?;
        self.directory.sync_all()
    }

    fn unreadable(&self, problem: &str) -> ServeError {
        let file = self.path.join(TOKENS);
        let problem = format!(
            "cannot read {}: {problem}; restore it, or remove it if the clock has never been set back: \
             fencing tokens then start at the clock's time",
            file.display()
        );
        ServeError::StateDir { path: self.path.clone(), problem }
    }
}

/// Creates a directory that only this user can enter, if there is none.
fn create(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        created => created?,
    }
    // What is in the directory does not outlast a crash if the directory does not.
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn open_at(directory: &File, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(openat(directory, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

fn parse(bytes: &[u8]) -> Result<u64, &'static str> {
    const DAMAGED: &str = "it is damaged";
    let text = std::str::from_utf8(bytes).map_err(|_| DAMAGED)?;
    let (version, rest) =
        text.strip_prefix(MAGIC).and_then(|text| text.split_once('\n')).ok_or(DAMAGED)?;
    if version != VERSION {
        return Err("a newer mp-manager wrote it: run that one");
    }
    let ceiling = rest.strip_prefix("ceiling ").and_then(|rest| rest.strip_suffix('\n'));
    ceiling.and_then(|ceiling| ceiling.parse().ok()).ok_or(DAMAGED)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_ceiling_is_read_as_it_was_set() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("state");
        for ceiling in [0, 1, u64::MAX] {
            let state = StateDir::open(&path).unwrap();
            state.set_ceiling(ceiling).unwrap();
            drop(state);
            assert_eq!(StateDir::open(&path).unwrap().ceiling().unwrap(), Some(ceiling));
        }
    }

    #[test]
    fn a_directory_has_one_user() {
        let path = tempfile::tempdir().unwrap();
        let first = StateDir::open(path.path()).unwrap();
        let error = StateDir::open(path.path()).unwrap_err().to_string();
        assert!(error.contains("another manager uses it"), "{error}");
        drop(first);
        StateDir::open(path.path()).unwrap();
    }

    #[test]
    fn a_file_that_is_damaged_is_named_with_the_way_out() {
        let path = tempfile::tempdir().unwrap();
        let state = StateDir::open(path.path()).unwrap();
        for damaged in [
            &b""[..],
            b"mp-manager fencing-tokens 1\n",
            b"mp-manager fencing-tokens 1\nceiling 12",
            b"mp-manager fencing-tokens 1\nceiling -12\n",
            b"mp-manager fencing-tokens 1\nceiling 12\nceiling 13\n",
            b"mp-manager fencing-tokens 1\nceiling 99999999999999999999\n",
            b"mp-manager fencing-tokens 2\n",
            b"\xff",
            &[0; 4096],
        ] {
            fs::write(path.path().join(TOKENS), damaged).unwrap();
            let error = state.ceiling().unwrap_err().to_string();
            assert!(error.contains("fencing-tokens: ") && error.contains("remove it"), "{error}");
        }
    }
}
