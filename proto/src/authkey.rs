//! The shared secret.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

/// A shorter authkey can be guessed by whoever hears a proof of it.
pub const STRONG_LEN: usize = 16;

/// What follows it in a text are the secret's bytes in hexadecimal.
const HEX: &[u8] = b"hex:";

const STRETCH_LABEL: &[u8] = b"mp-manager v1 authkey";
const STRETCH_MEMORY_KIB: u32 = 19 << 10;
const STRETCH_PASSES: u32 = 2;
const STRETCH_LANES: u32 = 1;
const STRETCHED_LEN: usize = 32;

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

    /// The secret as a file, an environment variable or a string has it: white space around it is
    /// not part of it, and `hex:` followed by hexadecimal digits stands for those bytes. `None` if
    /// nothing is left.
    ///
    /// ```
    /// use mp_manager_proto::authkey::Authkey;
    ///
    /// assert_eq!(Authkey::from_text(b"secret\n"), Some(Authkey::new("secret")));
    /// assert_eq!(Authkey::from_text(b"hex:00ff"), Some(Authkey::new([0, 255])));
    /// ```
    #[must_use]
    pub fn from_text(text: &[u8]) -> Option<Self> {
        let secret = text.trim_ascii();
        let bytes = secret.strip_prefix(HEX).and_then(bytes_of_hex);
        (!secret.is_empty()).then(|| bytes.map_or_else(|| Self::new(secret), Self))
    }

    /// What [`from_text`](Self::from_text) reads as this secret: the secret itself if it can stand
    /// in an environment variable, else its bytes in hexadecimal.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        let is_read_back = Self::from_text(&self.0).as_ref() == Some(self);
        if self.0.is_empty() || (!self.0.contains(&0) && is_read_back) {
            return self.0.clone();
        }
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.map(|digit| b"0123456789abcdef"[usize::from(digit)]);
        Zeroizing::new(HEX.iter().copied().chain(digits).collect())
    }

    /// The secrets of a file that may have several, one on each line: the first is the one to
    /// prefer. What is no text is one secret, as by [`from_text`](Self::from_text), and so is a
    /// single line.
    ///
    /// ```
    /// use mp_manager_proto::authkey::Authkey;
    ///
    /// let authkeys = Authkey::list_from_text(b"the new one\n\nthe old one\n");
    /// assert_eq!(authkeys, [Authkey::new("the new one"), Authkey::new("the old one")]);
    /// ```
    #[must_use]
    pub fn list_from_text(text: &[u8]) -> Vec<Self> {
        // Random bytes have line feeds in them, and what is between two may be a single byte.
        let is_text =
            std::str::from_utf8(text).is_ok_and(|text| !text.contains(is_control_character));
        if is_text {
            text.split(|&byte| byte == b'\n').filter_map(Self::from_text).collect()
        } else {
            Self::from_text(text).into_iter().collect()
        }
    }

    /// Whether it is short enough to be guessed by whoever hears a proof of it.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.0.len() < STRONG_LEN
    }

    /// What takes its place in proofs to a certain server where a weak authkey must not be used as
    /// it is: Argon2id of it, which takes 19 MiB and some tens of milliseconds, as every guess does.
    #[must_use]
    pub fn stretched(&self, server_id: u64) -> Self {
        let salt = [STRETCH_LABEL, &server_id.to_be_bytes()].concat();
        let mut key = Zeroizing::new(vec![0; STRETCHED_LEN]);
        #[expect(clippy::expect_used, reason = "all parameters and lengths are constants")]
        {
            let parameters =
                Params::new(STRETCH_MEMORY_KIB, STRETCH_PASSES, STRETCH_LANES, Some(STRETCHED_LEN));
            Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters.expect("in range"))
                .hash_password_into(self.secret(), &salt, &mut key)
                .expect("the lengths are in range");
        }
        Self(key)
    }

    /// The secret's bytes, for computing proofs.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.0
    }
}

/// None if it is not hexadecimal, or empty.
fn bytes_of_hex(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let bytes = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty()).map(Zeroizing::new)
}

fn is_control_character(character: char) -> bool {
    character.is_control() && !character.is_ascii_whitespace()
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

/// Text is read as a file's is: what `fs::read_to_string` gave is the same authkey, and of several the
/// first, as by [`list_from_text`](Authkey::list_from_text).
impl From<&str> for Authkey {
    fn from(text: &str) -> Self {
        // One that is empty is refused by whoever is to use it.
        Self::list_from_text(text.as_bytes()).into_iter().next().unwrap_or_else(|| Self::new(""))
    }
}

/// As that of a `&str`.
impl From<String> for Authkey {
    fn from(secret: String) -> Self {
        Self::from(Zeroizing::new(secret).as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &[u8]) -> Vec<Vec<u8>> {
        Authkey::list_from_text(text).iter().map(|authkey| authkey.secret().to_vec()).collect()
    }

    #[test]
    fn a_file_has_one_authkey_on_each_line() {
        assert_eq!(list(b"new\r\n\n  \n old key \n"), [&b"new"[..], b"old key"]);
        assert_eq!(list(b"\n \r\n"), Vec::<Vec<u8>>::new());
        assert_eq!(list(b""), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_single_line_and_what_is_no_text_are_one_authkey_as_ever() {
        for text in
            [&b"key"[..], b" key\n", b"\tk e y", b"\x01\n\x02\x03", b"\xff\n\xfe", b"a\0\nb"]
        {
            assert_eq!(Authkey::list_from_text(text), [Authkey::from_text(text).unwrap()]);
        }
    }

    #[test]
    fn whatever_it_is_it_can_be_said_in_text() {
        for secret in
            [&b"key"[..], b" key", b"key\n", b"a\0b", b"\xff\xfe", b"hex:00", b"hex:0", b""]
        {
            let authkey = Authkey::new(secret);
            let text = authkey.to_text();
            assert!(!text.contains(&0), "{text:?}");
            let expected = (!secret.is_empty()).then_some(authkey);
            assert_eq!(Authkey::from_text(&text), expected, "{secret:?}");
        }
        assert_eq!(*Authkey::new("key").to_text(), b"key");
        assert_eq!(*Authkey::new(b"\0\xff\n").to_text(), b"hex:00ff0a");
    }

    #[test]
    fn hexadecimal_is_read_if_it_is_some() {
        assert_eq!(Authkey::from_text(b" hex:0aFf\n"), Some(Authkey::new([10, 255])));
        for text in ["hex:", "hex:0", "hex:0g", "hex:+1", "Hex:00"] {
            assert_eq!(Authkey::from(text), Authkey::new(text));
        }
    }

    #[test]
    fn a_string_is_what_a_file_would_be() {
        assert_eq!(Authkey::from("key\n"), Authkey::new("key"));
        assert_eq!(Authkey::from(" key ".to_owned()), Authkey::new("key"));
        assert_eq!(Authkey::from(" \n"), Authkey::new(""));
        assert_eq!(Authkey::from("the new one\nthe old one\n"), Authkey::new("the new one"));
        assert_eq!(Authkey::from(b" key "), Authkey::new(" key "));
    }

    /// As any other implementation has it: this is part of the protocol.
    #[test]
    fn stretching_is_argon2id() {
        let stretched = Authkey::new("password").stretched(0x0102_0304_0506_0708);
        let hex: String = stretched.secret().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "6c643dc18410f954356d0fa9f3422d74b005524ec037acffd2a6a932ebcdfb6a");
        assert!(!stretched.is_weak());
    }
}
