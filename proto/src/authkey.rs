//! The shared secret.

use std::fmt;

use zeroize::Zeroizing;

/// The secret that server and clients share. It is never sent, printed or logged, and its memory is
/// wiped when it is dropped.
///
/// ```
/// use mp_manager_proto::authkey::Authkey;
///
/// let authkey = Authkey::new("correct horse battery staple");
/// assert_eq!(format!("{authkey:?}"), "Authkey(…)");
/// ```
#[derive(Clone, PartialEq, Eq)]
#[doc(alias = "authkey")]
pub struct Authkey(Zeroizing<Vec<u8>>);

impl Authkey {
    /// The secret as it is.
    #[must_use]
    pub fn new(secret: impl AsRef<[u8]>) -> Self {
        Self(Zeroizing::new(secret.as_ref().to_vec()))
    }

    /// The secret as a file or an environment variable has it: white space around it is not part
    /// of it. `None` if nothing is left.
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let secret = text.trim_ascii();
        (!secret.is_empty()).then(|| Self::new(secret))
    }

    /// The secret's bytes, for computing proofs.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Authkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authkey(…)")
    }
}

impl From<&[u8]> for Authkey {
    fn from(secret: &[u8]) -> Self {
        Self::new(secret)
    }
}

impl From<&str> for Authkey {
    fn from(secret: &str) -> Self {
        Self::new(secret)
    }
}

impl From<String> for Authkey {
    fn from(secret: String) -> Self {
        Self(Zeroizing::new(secret.into_bytes()))
    }
}

impl From<Vec<u8>> for Authkey {
    fn from(secret: Vec<u8>) -> Self {
        Self(Zeroizing::new(secret))
    }
}

impl<const N: usize> From<&[u8; N]> for Authkey {
    fn from(secret: &[u8; N]) -> Self {
        Self::new(secret)
    }
}

impl From<&Self> for Authkey {
    fn from(authkey: &Self) -> Self {
        authkey.clone()
    }
}
