//! Where the authkey comes from: never from an argument, which everybody on the machine can read.

use std::{
    fmt,
    fs::{self, DirBuilder, File, Metadata, Permissions},
    io::{self, Read, Write},
    os::unix::{
        ffi::OsStringExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    },
    path::{Path, PathBuf},
};

use mp_manager::{Address, Authkey};
use mp_manager_server::MAX_AUTHKEYS;
use tempfile::{Builder, NamedTempFile};

use crate::error::Error;

const KEY_LEN: usize = 32;
/// The mode of an authkey's file, and of directories that are created for it.
const MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// More than any number of authkeys that a manager takes.
const LONGEST_FILE: u64 = 1 << 20;
/// The bits of a mode that let every user read or write. A group's are somebody's decision.
const OTHERS: u32 = 0o006;

/// One or more authkeys, and where they came from.
pub(crate) struct Keys {
    pub(crate) authkeys: Vec<Authkey>,
    pub(crate) origin: String,
    /// The file to read them from again; what is from a pipe is there once.
    pub(crate) file: Option<PathBuf>,
    /// The permissions of that file, if all users of this machine can read or replace its content.
    exposed: Option<u32>,
}

impl Keys {
    /// Warns if other users can read the file.
    pub(crate) fn warn_if_exposed(&self) {
        if let Some(mode) = self.exposed {
            let origin = &self.origin;
            tracing::warn!(
                "every user of this machine can read or write the authkey: {origin} has mode \
                 {mode:04o} (`chmod 600 {origin}`)"
            );
        }
    }

    /// Fails if other users can read the file.
    pub(crate) fn refuse_if_exposed(&self) -> Result<(), Error> {
        let Some(mode) = self.exposed else { return Ok(()) };
        let origin = &self.origin;
        Err(Error::Usage(format!(
            "every user of this machine can read or write the authkey, which lets in other machines: \
             {origin} has mode {mode:04o} (`chmod 600 {origin}`, or give --allow-readable-authkey)"
        )))
    }
}

impl fmt::Display for Keys {
    /// How many there are, and never which.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.authkeys.len() {
            1 => write!(f, "the authkey is from {}", self.origin),
            count => write!(f, "{count} authkeys are from {}", self.origin),
        }
    }
}

/// The authkey for a client: what is given, else on this machine the one `serve` has written.
pub(crate) fn for_client(address: &Address, file: Option<&Path>) -> Result<Keys, Error> {
    if let Some(keys) = given(file)? {
        keys.warn_if_exposed();
        return Ok(keys);
    }
    let ways = "give --authkey-file, or set MP_MANAGER_AUTHKEY_FILE or MP_MANAGER_AUTHKEY";
    if !address.is_local() {
        return Err(Error::Usage(format!("no authkey for {address}: {ways}")));
    }
    let path = user_file()?;
    match fs::exists(&path) {
        Ok(false) => Err(Error::Usage(format!(
            "no authkey for {address}: `mp-manager serve` writes one to {} when it is started \
             without; or {ways}",
            path.display()
        ))),
        _ => {
            let keys = from_file(&path)?;
            keys.warn_if_exposed();
            Ok(keys)
        }
    }
}

/// The authkey for a server: what is given, else on this machine one that only this user can read.
pub(crate) fn for_server(address: &Address, file: Option<&Path>) -> Result<Keys, Error> {
    if let Some(keys) = given(file)? {
        return Ok(keys);
    }
    if !address.is_local() {
        return Err(Error::Usage(format!(
            "refusing to listen on {address} without an authkey, as other machines can reach it: \
             `mp-manager keygen FILE` writes one, then give --authkey-file FILE"
        )));
    }
    let path = user_file()?;
    match create_user_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::Usage(format!(
            "cannot write an authkey to {}: {error}; give --authkey-file",
            path.display()
        ))),
        _ => from_file(&path),
    }
}

/// A new random key, as a line of text.
pub(crate) fn generate() -> Result<String, Error> {
    let mut key = [0; KEY_LEN];
    getrandom::fill(&mut key)
        .map_err(|error| Error::Failed(format!("the system gives no random numbers: {error}")))?;
    Ok(crate::json::hex(&key) + "\n")
}

/// Writes a file that only this user can read: whole or not at all.
pub(crate) fn write(path: &Path, key: &str, overwrite: bool) -> io::Result<()> {
    let file = temporary(path, key)?;
    let persisted = if overwrite { file.persist(path) } else { file.persist_noclobber(path) };
    persisted.map(drop).map_err(|error| error.error)
}

/// In the same directory, so that it can take the place of `path`.
fn temporary(path: &Path, text: &str) -> io::Result<NamedTempFile<File>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The crate's own way to open it adds the temporary path to errors.
    let open = |path: &Path| File::options().write(true).create_new(true).mode(MODE).open(path);
    let mut temporary = Builder::new().make_in(directory, open)?;
    let file = temporary.as_file_mut();
    // A umask may have taken the owner's rights as well.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(temporary)
}

/// Writes a key above those that a file has.
pub(crate) fn add(path: &Path, mut key: String) -> Result<(), Error> {
    let origin = path.display();
    let text = read(path).map_err(Error::io(format!("cannot read {origin}")))?;
    let authkeys = Authkey::list_from_file(&text)
        .map_err(|error| Error::Failed(format!("{origin} {error}")))?;
    if authkeys.len() >= MAX_AUTHKEYS {
        return Err(Error::Failed(format!(
            "{origin} has {MAX_AUTHKEYS} authkeys, which is all that a manager takes: remove old ones"
        )));
    }
    let is_lines =
        |text: &str| !text.contains(|c: char| c.is_control() && !c.is_ascii_whitespace());
    let Some(text) = String::from_utf8(text).ok().filter(|text| is_lines(text)) else {
        return Err(Error::Failed(format!(
            "{origin} is no text, so no line can be added (in a text, hex: and an authkey's bytes \
             in hexadecimal is the same authkey)"
        )));
    };
    key.push_str(&text);
    // Whoever reads it, as the manager does, has to be able to read it again.
    let replace = || {
        // The file itself, if it is known by another name.
        let path = fs::canonicalize(path)?;
        let before = fs::metadata(&path)?;
        let file = temporary(&path, &key)?;
        let now = file.as_file().metadata()?;
        if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
            fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
        }
        file.as_file().set_permissions(before.permissions())?;
        file.persist(path)?;
        Ok(())
    };
    replace().map_err(Error::io(format!("cannot write {origin}")))
}

fn given(file: Option<&Path>) -> Result<Option<Keys>, Error> {
    if let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) {
        return from_file(path).map(Some);
    }
    let variable = mp_manager::AUTHKEY_VARIABLE;
    let Some(value) = std::env::var_os(variable) else { return Ok(None) };
    let text = value.into_vec();
    Authkey::check_text(&text).map_err(|error| Error::Usage(format!("{variable} {error}")))?;
    let authkeys = Authkey::list_from_text(&text);
    if authkeys.is_empty() {
        let message = format!("{variable} is empty: set it to the authkey, or unset it");
        return Err(Error::Usage(message));
    }
    Ok(Some(Keys { authkeys, origin: variable.into(), file: None, exposed: None }))
}

/// Reads a file of authkeys; one that is far too long, such as a device without end, is none.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > LONGEST_FILE {
        let message = format!("it has more than {LONGEST_FILE} bytes: is it the right file?");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}

/// The authkeys of a file: one on each line that is no comment.
pub(crate) fn from_file(path: &Path) -> Result<Keys, Error> {
    let origin = path.display().to_string();
    let text = read(path)
        .map_err(|error| Error::Usage(format!("cannot read the authkey from {origin}: {error}")))?;
    let authkeys = Authkey::list_from_file(&text)
        .map_err(|error| Error::Usage(format!("{origin} {error}")))?;
    if authkeys.is_empty() {
        let is = if text.trim_ascii().is_empty() {
            "is empty"
        } else {
            "has only comments, as a line is that begins with #"
        };
        return Err(Error::Usage(format!(
            "{origin} {is}: `mp-manager keygen --force {origin}` writes an authkey to it"
        )));
    }
    // A pipe is there once, and the mode of its file says nothing.
    let metadata = fs::metadata(path).ok().filter(Metadata::is_file);
    let mode = metadata.as_ref().map(|metadata| metadata.mode() & 0o7777);
    let exposed = mode.filter(|mode| mode & OTHERS != 0);
    Ok(Keys { authkeys, origin, file: metadata.map(|_| path.into()), exposed })
}

/// Where this user's own authkey is, by the rules of the XDG base directories.
fn user_file() -> Result<PathBuf, Error> {
    let directory =
        |variable| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    directory("XDG_CONFIG_HOME")
        .or_else(|| Some(directory("HOME")?.join(".config")))
        .map(|config| config.join("mp-manager").join("authkey"))
        .ok_or_else(|| {
            let message = "no place for an authkey, as HOME is not set to an absolute path: give --authkey-file";
            Error::Usage(message.into())
        })
}

fn create_user_file(path: &Path) -> io::Result<()> {
    if fs::exists(path)? {
        return Ok(());
    }
    // This program's directory, and the one for configuration that it is in. A home directory that does
    // not exist is not ours to create.
    let directories: Vec<&Path> = path.ancestors().skip(1).take(2).collect();
    for directory in directories.into_iter().rev() {
        create_directory(directory)?;
    }
    let key = generate().map_err(io::Error::other)?;
    write(path, &key, false)
}

/// Creates a directory that only this user can enter, whatever the umask is. The one that it is in has to
/// exist.
fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(DIRECTORY_MODE)),
        // Somebody else was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(without(path, error)),
    }
}

/// Names what is missing if a directory cannot be created because the one it is in does not exist.
fn without(directory: &Path, error: io::Error) -> io::Error {
    match directory.parent() {
        Some(parent) if error.kind() == io::ErrorKind::NotFound && !parent.exists() => {
            io::Error::new(error.kind(), format!("{} does not exist", parent.display()))
        }
        _ => error,
    }
}
