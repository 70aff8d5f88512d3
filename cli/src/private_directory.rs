//! The directory of a manager that `run` starts, among the temporary files: its socket and its authkey are
//! there, for this user alone.
//!
//! A directory has a file `lock`, which its process keeps locked: the system unlocks it when the process
//! ends, however it ends. So a directory whose lock can be taken was left by a process that was killed, and
//! the next one removes it.

use std::{
    env::temp_dir,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::process::geteuid;

use crate::{authkey, error::Error};

const PREFIX: &str = "mp-manager-run-";
const SOCKET: &str = "manager.sock";
const AUTHKEY: &str = "authkey";
const LOCK: &str = "lock";
/// The lock before it is locked.
const NEW_LOCK: &str = "new-lock";
const MODE: u32 = 0o700;

/// A directory that only this user can enter; gone when this is dropped.
#[derive(Debug)]
pub(crate) struct PrivateDirectory {
    id: String,
    path: PathBuf,
    /// Says that the directory is in use; kept to be dropped.
    lock: Option<File>,
}

impl PrivateDirectory {
    /// Creates one, and removes those that killed processes have left.
    pub(crate) fn create() -> Result<Self, Error> {
        let parent = temp_dir();
        let named = |error| {
            let place = parent.display();
            Error::io(format!("cannot create a directory in {place} (TMPDIR names another place)"))(
                error,
            )
        };
        let parent = std::path::absolute(&parent).map_err(named)?;
        sweep(&parent);
        let unique = getrandom::u64().map_err(|error| {
            Error::Failed(format!("the system gives no random numbers: {error}"))
        })?;
        let id = format!("{unique:016x}");
        let path = parent.join(format!("{PREFIX}{id}"));
        DirBuilder::new().mode(MODE).create(&path).map_err(named)?;
        let mut directory = Self { id, path, lock: None };
        // A umask may have taken the owner's rights as well.
        fs::set_permissions(&directory.path, Permissions::from_mode(MODE)).map_err(named)?;
        directory.lock = Some(lock(&directory.path).map_err(named)?);
        Ok(directory)
    }

    /// The random part of its name, which no other directory has.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where the manager listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Writes a file of authkeys, and returns its path.
    pub(crate) fn write_authkeys(&self, text: &str) -> Result<PathBuf, Error> {
        let path = self.path.join(AUTHKEY);
        let origin = path.display().to_string();
        authkey::write(&path, text, false).map_err(Error::io(format!("cannot write {origin}")))?;
        Ok(path)
    }

    /// Where a copy reports that its program cannot be started.
    pub(crate) fn report(&self, rank: usize) -> PathBuf {
        self.path.join(format!("cannot-start-{rank}"))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // Gone already if somebody tidied up: that is as well.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a new directory. The file gets its name once it is locked, so that nobody takes it for one that
/// was left.
fn lock(directory: &Path) -> io::Result<File> {
    let new = directory.join(NEW_LOCK);
    let lock = File::create_new(&new)?;
    // Where files cannot be locked nobody finds it unlocked either, and so nobody removes anything.
    let _ = lock.try_lock();
    fs::rename(new, directory.join(LOCK))?;
    Ok(lock)
}

/// Removes the directories that killed processes of this user have left.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            // One that cannot be removed is in nobody's way.
            let _ = remove_if_left(&entry.path());
        }
    }
}

fn remove_if_left(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != geteuid().as_raw() {
        return Ok(());
    }
    let lock = File::open(path.join(LOCK))?;
    // Held until all is gone: two that sweep are not in each other's way.
    if lock.try_lock().is_ok() { fs::remove_dir_all(path) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join(AUTHKEY), "secret").unwrap();
            path
        };
        let (left, used) = (make("mp-manager-run-1"), make("mp-manager-run-2"));
        let (new, other) = (make("mp-manager-run-3"), make("mp-manager-4"));
        drop(lock(&left).unwrap());
        let _lock = lock(&used).unwrap();
        drop(lock(&other).unwrap());
        sweep(parent.path());
        assert!(!left.exists());
        assert!(used.exists() && new.exists() && other.exists());
    }
}
