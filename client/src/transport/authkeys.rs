//! The authkeys a client knows.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mp_manager_proto::authkey::Authkey;

use crate::error::{Error, Result};

/// More than any number of authkeys that a manager takes.
const LONGEST_FILE: u64 = 1 << 20;

/// One or more authkeys, and which of them got us in.
#[derive(Debug, Clone)]
pub(crate) struct Authkeys {
    /// Where they are read from again for every connection: the manager may have a new one by then.
    file: Option<Arc<Path>>,
    /// Shared by all clones: whoever connects again begins with what was accepted.
    known: Arc<Mutex<Known>>,
}

#[derive(Debug)]
struct Known {
    all: Vec<Authkey>,
    accepted: Option<Authkey>,
}

impl Authkeys {
    pub(crate) fn new(all: Vec<Authkey>) -> Result<Self> {
        check(&all)?;
        Ok(Self { file: None, known: Arc::new(Mutex::new(Known { all, accepted: None })) })
    }

    /// Those in a file, which `origin` has named.
    pub(crate) fn from_file(path: &Path, origin: &str) -> Result<Self> {
        let shown = path.display();
        let text = read(path).map_err(|error| {
            let problem = format!("cannot read the authkey from {shown} ({origin}): {error}");
            Error::Configuration(problem)
        })?;
        let authkeys = Authkey::list_from_file(&text)
            .map_err(|error| Error::Configuration(format!("{shown} ({origin}) {error}")))?;
        if authkeys.is_empty() {
            let problem = "has no authkey in it (a line that begins with # is a comment)";
            return Err(Error::Configuration(format!("{shown} ({origin}) {problem}")));
        }
        // A pipe says it once, and the program may change its directory.
        let file = is_file(path).then(|| std::path::absolute(path)).and_then(Result::ok);
        Ok(Self { file: file.map(Arc::from), ..Self::new(authkeys)? })
    }

    /// All of them, in the order in which they were given.
    #[cfg(feature = "embedded")]
    pub(crate) fn to_vec(&self) -> Vec<Authkey> {
        self.lock().all.clone()
    }

    /// Reads the file again, if they are from one. If that cannot be done now, or there is no good
    /// one in it, they stay as they are: the file may be just about to be replaced.
    pub(crate) async fn reread(&self) {
        let Some(file) = self.file.clone() else { return };
        // It may be on a disk that does not answer.
        let read = move || is_file(&file).then(|| read(&file).ok()).flatten();
        let Ok(Some(text)) = tokio::task::spawn_blocking(read).await else { return };
        match Authkey::list_from_file(&text) {
            Ok(all) if check(&all).is_ok() => self.lock().all = all,
            _ => {}
        }
    }

    /// All of them, in the order in which to try them: the one that was accepted last, then as they
    /// were given.
    pub(crate) fn in_turn(&self) -> Vec<Authkey> {
        let Known { all, accepted } = &*self.lock();
        let is_accepted = |authkey: &&Authkey| Some(*authkey) == accepted.as_ref();
        let first = all.iter().filter(is_accepted);
        first.chain(all.iter().filter(|authkey| !is_accepted(authkey))).cloned().collect()
    }

    /// This one got us in.
    pub(crate) fn accept(&self, authkey: Authkey) {
        self.lock().accepted = Some(authkey);
    }

    /// The one that got us in.
    pub(crate) fn accepted(&self) -> Option<Authkey> {
        self.lock().accepted.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

fn check(all: &[Authkey]) -> Result<()> {
    if all.is_empty() {
        return Err(Error::Configuration("no authkey: give at least one".into()));
    }
    if all.iter().any(|authkey| authkey.secret().is_empty()) {
        return Err(Error::Configuration("the authkey is empty".into()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(authkeys: &Authkeys) -> Vec<Vec<u8>> {
        authkeys.in_turn().iter().map(|authkey| authkey.to_text().to_vec()).collect()
    }

    #[test]
    fn what_was_accepted_comes_first_also_for_clones() {
        let authkeys = Authkeys::new(["a", "b", "c"].map(Authkey::from).to_vec()).unwrap();
        assert_eq!(texts(&authkeys), [b"a", b"b", b"c"]);
        authkeys.clone().accept("b".into());
        assert_eq!(texts(&authkeys), [b"b", b"a", b"c"]);
        assert_eq!(authkeys.accepted(), Some(Authkey::from("b")));
        assert!(Authkeys::new(Vec::new()).is_err());
    }

    #[tokio::test]
    async fn a_file_is_read_again_and_one_without_authkeys_is_not_heeded() {
        let file = std::env::temp_dir().join(format!("authkeys-{}", std::process::id()));
        let write = |text: &str| fs::write(&file, text).unwrap();
        write("old\n");
        let authkeys = Authkeys::from_file(&file, "the test").unwrap();
        authkeys.accept("old".into());
        write("new\nold\n");
        authkeys.reread().await;
        assert_eq!(texts(&authkeys), [b"old", b"new"]);
        write("new\n");
        authkeys.reread().await;
        assert_eq!(texts(&authkeys), [b"new"]);
        for unusable in ["\n", "# later\n", "\u{feff}newer\n"] {
            write(unusable);
            authkeys.reread().await;
            assert_eq!(texts(&authkeys), [b"new"], "{unusable:?}");
        }
        write("# since May\nnewer\n");
        authkeys.reread().await;
        assert_eq!(texts(&authkeys), [b"newer"]);
        write("new\n");
        authkeys.reread().await;
        fs::remove_file(&file).unwrap();
        authkeys.reread().await;
        assert_eq!(texts(&authkeys), [b"new"]);
        assert!(Authkeys::from_file(&file, "the test").is_err());
    }
}
