//! The file of a unix socket, which belongs to the server that made it.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io,
    os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::OFlags;
use tokio::{
    net::{UnixListener, UnixStream},
    time::{Instant, sleep},
};

/// How long a server that starts waits for another one that is about to listen on the same path.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// Removes the file when it is dropped, unless another one has taken its place.
///
/// It has to be dropped before its listener is closed: while that is open no other server removes the
/// file, and the system uses its inode for nothing else.
pub(crate) struct SocketFile {
    path: PathBuf,
    id: FileId,
}

impl SocketFile {
    /// Listens on `path`, in place of a socket on which nobody listens any more.
    pub(crate) async fn listen(path: &Path) -> io::Result<(Self, UnixListener)> {
        let _lock = StartLock::acquire(path).await?;
        remove_stale(path).await?;
        let listener = UnixListener::bind(path)?;
        let file = Self { path: path.into(), id: FileId::of(&fs::symlink_metadata(path)?) };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok((file, listener))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path).map(|metadata| FileId::of(&metadata));
        if there.is_ok_and(|there| there == self.id) {
            // Where the directory cannot be written any more, the next server replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Removes a socket on which nobody listens. A socket in use, or another kind of file, is an error.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let message = "a file is there that is not a socket";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        // Would block: as many connections wait for it as may.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(io::Error::new(
            error.kind(),
            format!("cannot find out whether another process listens on the socket: {error}"),
        )),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on the socket")),
    }
}

/// Only one server at a time looks whether somebody listens on a path, and listens there if nobody
/// does: two of them would both find a socket stale, and the second would remove the first one's.
///
/// The lock is a file beside the socket, `flock`ed, and gone when the server listens. One that was left
/// by a server that was killed is not locked, and is used by the next.
struct StartLock {
    path: PathBuf,
    file: File,
}

impl StartLock {
    async fn acquire(socket: &Path) -> io::Result<Self> {
        let mut path = OsString::from(socket);
        path.push(".mp-manager-lock");
        let path = PathBuf::from(path);
        let named = |error: io::Error| {
            let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
            let message = match directory {
                Some(directory) if error.kind() == io::ErrorKind::NotFound => {
                    format!("the directory {} does not exist", directory.display())
                }
                _ => format!("cannot lock {}: {error}", path.display()),
            };
            io::Error::new(error.kind(), message)
        };
        let deadline = Instant::now() + LOCK_TIMEOUT;
        loop {
            let file = open(&path).map_err(named)?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(Self { path, file }),
                // Its last owner has removed it meanwhile.
                Ok(()) => {}
                Err(TryLockError::Error(error)) => return Err(named(error)),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    sleep(LOCK_RETRY_INTERVAL).await;
                }
                Err(TryLockError::WouldBlock) => {
                    let message = format!(
                        "another process is about to listen there, and has {} locked for {} s",
                        path.display(),
                        LOCK_TIMEOUT.as_secs()
                    );
                    return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                }
            }
        }
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        // First: whoever locks it from now on finds that it is gone, and makes a new one.
        let _ = fs::remove_file(&self.path);
        // A process forked meanwhile has the file open as well.
        let _ = self.file.unlock();
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        // Not what somebody else has a symbolic link to.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

/// Whether an open file is the one at a path.
fn is_at(file: &File, path: &Path) -> bool {
    let id = |metadata: io::Result<Metadata>| metadata.ok().map(|metadata| FileId::of(&metadata));
    id(file.metadata()).is_some_and(|open| id(fs::symlink_metadata(path)) == Some(open))
}
