//! The directories of embedded managers' sockets, among the temporary files.
//!
//! A directory has a file `lock`, which its manager keeps `flock`ed: the system unlocks it when the
//! process ends, however it ends. So a directory whose lock can be taken is nobody's any more, and a
//! manager that starts sweeps those that killed processes have left.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat},
    process::geteuid,
};

use crate::session::fork::Home;

const PREFIX: &str = "mp-manager-";
const SOCKET: &str = "manager.sock";
/// The server has it while it begins to listen.
const START_LOCK: &str = "manager.sock.mp-manager-lock";
const LOCK: &str = "lock";

/// How often a sweeper may remove a directory before it is locked.
const ATTEMPTS: usize = 10;

/// A directory that only this user can enter; gone when this is dropped by the process that made it.
#[derive(Debug)]
pub(crate) struct PrivateDirectory {
    path: PathBuf,
    home: Home,
    /// Says that the directory is in use.
    #[expect(dead_code, reason = "kept to be dropped")]
    lock: File,
}

impl PrivateDirectory {
    pub(crate) fn create_in(parent: &Path) -> io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let unique = getrandom::u64().map_err(io::Error::other)?;
            let path = parent.join(format!("{PREFIX}{unique:016x}"));
            DirBuilder::new().mode(0o700).create(&path)?;
            if let Some(lock) = lock(&path)? {
                return Ok(Self { path, home: Home::here(), lock });
            }
        }
        Err(io::Error::other("others remove the directory each time"))
    }

    /// Where the manager listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        if !self.home.is_here() {
            return;
        }
        // Gone already if somebody tidied up: that is as well.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Locks a new directory; `None` if a sweeper took it for one that was left.
fn lock(directory: &Path) -> io::Result<Option<File>> {
    let path = directory.join(LOCK);
    let lock = match File::create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        created => created?,
    };
    if matches!(lock.try_lock(), Err(TryLockError::WouldBlock)) {
        return Ok(None);
    }
    // Where files cannot be locked, no sweeper can either, and so none removes anything.
    let is_there = fs::symlink_metadata(&path).is_ok();
    Ok(is_there.then_some(lock))
}

/// Removes the directories that killed processes of this user have left. Whatever is not certainly such
/// a directory stays.
pub(crate) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten().filter(|entry| is_name(&entry.file_name())) {
        // One that cannot be removed is in nobody's way.
        let _ = remove_if_left(&entry.path());
    }
}

fn is_name(name: &OsStr) -> bool {
    let unique = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    unique.is_some_and(|unique| {
        unique.len() == 16 && unique.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn remove_if_left(path: &Path) -> io::Result<()> {
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    // The descriptor names this directory, even if somebody puts another one in its place.
    let directory = openat(CWD, path, flags | OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let directory = File::from(directory);
    if directory.metadata()?.uid() != geteuid().as_raw() {
        return Ok(());
    }
    match openat(&directory, LOCK, flags | OFlags::RDWR, Mode::empty()) {
        Ok(lock) => {
            let lock = File::from(lock);
            if lock.try_lock().is_err() {
                return Ok(());
            }
            // The lock goes last: should this process be killed, another one can go on.
            for name in [SOCKET, START_LOCK, LOCK] {
                let _ = unlinkat(&directory, name, AtFlags::empty());
            }
        }
        // Its process was killed before it made the lock, or is about to, and will notice.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    // Fails if there is something else in it.
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::{
            fs::{chown, symlink},
            net::UnixListener,
        },
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use tempfile::TempDir;

    use super::*;

    fn parent() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    /// A directory as a killed process leaves it.
    fn left(parent: &Path, name: &str) -> PathBuf {
        let path = parent.join(name);
        fs::create_dir(&path).unwrap();
        File::create_new(path.join(LOCK)).unwrap();
        drop(UnixListener::bind(path.join(SOCKET)).unwrap());
        File::create_new(path.join(START_LOCK)).unwrap();
        path
    }

    const NAME: &str = "mp-manager-0123456789abcdef";

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let parent = parent();
        let whole = left(parent.path(), NAME);
        // It was killed before there was anything in it.
        let empty = parent.path().join("mp-manager-0000000000000000");
        fs::create_dir(&empty).unwrap();
        sweep(parent.path());
        assert!(!whole.exists() && !empty.exists());
    }

    #[test]
    fn the_directory_of_a_manager_that_lives_stays() {
        let parent = parent();
        let directory = PrivateDirectory::create_in(parent.path()).unwrap();
        let listener = UnixListener::bind(directory.socket()).unwrap();
        sweep(parent.path());
        assert!(directory.socket().exists());
        drop((listener, directory));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_certainly_left_stays() {
        let parent = parent();
        for name in ["mp-manager-", "mp-manager-0123456789ABCDEF", "mp-manager-0123456789abcdef0"] {
            left(parent.path(), name);
        }
        // Something else is in it, or it has no lock.
        let with_more = left(parent.path(), NAME);
        fs::write(with_more.join("notes"), "precious").unwrap();
        let without_lock = left(parent.path(), "mp-manager-1111111111111111");
        fs::remove_file(without_lock.join(LOCK)).unwrap();
        // It is not the directory itself.
        let elsewhere = left(parent.path(), "elsewhere");
        symlink(&elsewhere, parent.path().join("mp-manager-2222222222222222")).unwrap();
        sweep(parent.path());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 7);
        assert!(with_more.join("notes").exists() && without_lock.join(SOCKET).exists());
        assert!(elsewhere.join(SOCKET).exists() && elsewhere.join(LOCK).exists());
    }

    #[test]
    fn another_users_directory_stays() {
        let parent = parent();
        let path = left(parent.path(), NAME);
        if chown(&path, Some(12_345), None).is_err() {
            eprintln!("skipped: only root can give a directory to another user");
            return;
        }
        sweep(parent.path());
        assert!(path.join(SOCKET).exists());
    }

    #[test]
    fn a_directory_that_is_being_made_is_not_lost_to_a_sweeper() {
        let parent = parent();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        sweep(parent.path());
                    }
                });
            }
            for _ in 0..2_000 {
                // That others were faster ten times is possible, if unlikely.
                if let Ok(directory) = PrivateDirectory::create_in(parent.path()) {
                    assert!(directory.path.join(LOCK).exists());
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }
}
