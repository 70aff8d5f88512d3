//! The shared secret.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

/// A shorter authkey can be guessed by whoever hears a proof of it.
pub const STRONG_LEN: usize = 16;

/// What follows it in a text are the secret's bytes in hexadecimal.
const HEX: &[u8] = b"hex:";

/// What begins a line that is no secret.
const COMMENT: &[u8] = b"#";

const BYTE_ORDER_MARK: char = '\u{feff}';

const STRETCH_LABEL: &[u8] = b"mp-manager v1 authkey";
const STRETCH_MEMORY_KIB: u32 = 19 << 10;
const STRETCH_PASSES: u32 = 2;
const STRETCH_LANES: u32 = 1;
const STRETCHED_LEN: usize = 32;

/// Why a text has no authkey that another program would read in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A byte-order mark, as some editors put at the beginning, would be a part of the authkey.
    #[error("has a byte-order mark (U+FEFF) in it: save it as UTF-8 without one")]
    ByteOrderMark,
    /// Two bytes for each character, as some shells write.
    #[error("is text in UTF-16: save it as UTF-8")]
    Utf16,
    /// What follows `hex:` are no bytes in hexadecimal.
    #[error(
        "has `hex:` without pairs of hexadecimal digits after it: an authkey that is to begin with \
         `hex:` is written in hexadecimal itself"
    )]
    Hexadecimal,
}

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

    /// What [`list_from_text`](Self::list_from_text) reads as this secret alone: the secret itself if
    /// it can stand in an environment variable, else its bytes in hexadecimal.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<Vec<u8>> {
        let is_read_back = Self::check_text(&self.0).is_ok()
            && matches!(&*Self::list_from_text(&self.0), [alone] if alone == self);
        if self.0.is_empty() || (!self.0.contains(&0) && is_read_back) {
            return self.0.clone();
        }
        let digits = self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let digits = digits.map(|digit| b"0123456789abcdef"[usize::from(digit)]);
        Zeroizing::new(HEX.iter().copied().chain(digits).collect())
    }

    /// The secrets of a variable or a string that may have several, one on each line: the first is
    /// the one to prefer. What is no text is one secret, as by [`from_text`](Self::from_text), and so
    /// is a single line.
    ///
    /// A line that begins with `#` is a comment, as in a [file](Self::list_from_file), so that a
    /// variable may have what is in a file; but if there is no other line, each is a secret.
    ///
    /// ```
    /// use mp_manager_proto::authkey::Authkey;
    ///
    /// let authkeys = Authkey::list_from_text(b"the new one\n\n# until May\nthe old one\n");
    /// assert_eq!(authkeys, [Authkey::new("the new one"), Authkey::new("the old one")]);
    /// assert_eq!(Authkey::list_from_text(b"#1 fan"), [Authkey::new("#1 fan")]);
    /// ```
    #[must_use]
    pub fn list_from_text(text: &[u8]) -> Vec<Self> {
        let Some(lines) = lines(text) else { return Self::from_text(text).into_iter().collect() };
        let (comments, others): (Vec<&[u8]>, Vec<&[u8]>) =
            lines.partition(|line| line.starts_with(COMMENT));
        let secrets = if others.is_empty() { comments } else { others };
        secrets.into_iter().filter_map(Self::from_text).collect()
    }

    /// The secrets of a file that may have several, one on each line: the first is the one to
    /// prefer. A line that begins with `#` is a comment; a secret that begins with it is written in
    /// hexadecimal, after `hex:`. What is no text is one secret, as by
    /// [`from_text`](Self::from_text).
    ///
    /// # Errors
    /// If it is text that another program writes or reads as other bytes.
    ///
    /// ```
    /// use mp_manager_proto::authkey::{Authkey, TextError};
    ///
    /// let file = b"# for the queue\nsecret\n";
    /// assert_eq!(Authkey::list_from_file(file), Ok(vec![Authkey::new("secret")]));
    /// let file = "\u{feff}secret\n".as_bytes();
    /// assert_eq!(Authkey::list_from_file(file), Err(TextError::ByteOrderMark));
    /// ```
    pub fn list_from_file(text: &[u8]) -> Result<Vec<Self>, TextError> {
        Self::check_text(text)?;
        Ok(match lines(text) {
            Some(lines) => lines
                .filter(|line| !line.starts_with(COMMENT))
                .filter_map(Self::from_text)
                .collect(),
            None => Self::from_text(text).into_iter().collect(),
        })
    }

    /// Whether a text is encoded as an authkey's has to be. Random bytes are.
    ///
    /// # Errors
    /// If it has a byte-order mark, is UTF-16, or has something else than bytes after `hex:`.
    pub fn check_text(text: &[u8]) -> Result<(), TextError> {
        if std::str::from_utf8(text).is_ok_and(|text| text.contains(BYTE_ORDER_MARK)) {
            return Err(TextError::ByteOrderMark);
        }
        if is_utf16(text) {
            return Err(TextError::Utf16);
        }
        let has_no_bytes = |line: &[u8]| {
            let digits = line.trim_ascii().strip_prefix(HEX);
            digits.is_some_and(|digits| bytes_of_hex(digits).is_none_or(|bytes| bytes.is_empty()))
        };
        let is_wrong = match lines(text) {
            Some(mut lines) => lines.any(has_no_bytes),
            None => has_no_bytes(text),
        };
        if is_wrong { Err(TextError::Hexadecimal) } else { Ok(()) }
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

/// The lines of a text, without white space around them, that are not empty; `None` if it is no text:
/// random bytes have line feeds in them, and what is between two may be a single byte.
fn lines(text: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    std::str::from_utf8(text).ok().filter(|text| !text.contains(is_control_character))?;
    let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    Some(lines.filter(|line| !line.is_empty()))
}

/// Whether it is UTF-16, in either byte order, whose characters are ASCII but for a byte-order mark.
/// Random bytes of the length of an authkey never look like that.
fn is_utf16(text: &[u8]) -> bool {
    let (units, []) = text.as_chunks::<2>() else { return false };
    let is_ascii = |decode: fn([u8; 2]) -> u16| {
        let mut units = units.iter().map(|&unit| decode(unit)).peekable();
        units.next_if_eq(&(BYTE_ORDER_MARK as u16));
        units.peek().is_some() && units.all(|unit| (1..0x80).contains(&unit))
    };
    is_ascii(u16::from_le_bytes) || is_ascii(u16::from_be_bytes)
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

/// Text is read as a variable's is: what `fs::read_to_string` gave is the same authkey, and of several
/// the first, as by [`list_from_text`](Authkey::list_from_text).
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
    fn a_line_of_a_file_that_begins_with_a_hash_is_a_comment() {
        let file = |text: &[u8]| Authkey::list_from_file(text).unwrap();
        let key = || vec![Authkey::new("key")];
        for text in ["# why\nkey\n", "key\n#old key", " # why\r\n\r\nkey\r\n", "#\n#\nkey"] {
            assert_eq!(file(text.as_bytes()), key(), "{text}");
            // As a variable that has what is in the file.
            assert_eq!(Authkey::list_from_text(text.as_bytes()), key(), "{text}");
            assert_eq!(Authkey::from(text), Authkey::new("key"), "{text}");
        }
        assert_eq!(file(b"key # mine"), [Authkey::new("key # mine")]);
        assert_eq!(file(b"hex:236b"), [Authkey::new("#k")]);
        assert_eq!(file(b"#\x01\xff"), [Authkey::new(b"#\x01\xff")]);
        assert_eq!(file(b"#key\n"), []);
        assert_eq!(Authkey::from("#key"), Authkey::new("#key"));
        assert_eq!(list(b"#new\n#old\n"), [&b"#new"[..], b"#old"]);
    }

    #[test]
    fn text_of_another_encoding_is_named() {
        let utf16 = |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(bytes).collect()
        };
        for text in ["\u{feff}key\r\n", "# why\n\u{feff}key"] {
            assert_eq!(Authkey::list_from_file(text.as_bytes()), Err(TextError::ByteOrderMark));
        }
        for text in ["\u{feff}key\r\n", "k", "hex:00\n"] {
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                assert_eq!(Authkey::list_from_file(&utf16(text, bytes)), Err(TextError::Utf16));
            }
        }
        for random in [&b""[..], b"\xff\xfe", b"\xfe\xff\x80\x80", b"\0\0", b"a\0b", b"\0a\0\x80"] {
            assert_eq!(Authkey::check_text(random), Ok(()), "{random:?}");
        }
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
        for secret in [
            &b"key"[..],
            b" key",
            b"key\n",
            b"a\0b",
            b"\xff\xfe",
            b"hex:00",
            b"hex:0",
            b"",
            b"#key",
            b"key\nother",
            b"#\nkey",
            b"\xef\xbb\xbfkey",
        ] {
            let authkey = Authkey::new(secret);
            let text = authkey.to_text();
            assert!(!text.contains(&0), "{text:?}");
            let expected = (!secret.is_empty()).then_some(authkey);
            assert_eq!(Authkey::from_text(&text), expected, "{secret:?}");
            assert_eq!(Authkey::list_from_text(&text), Vec::from_iter(expected), "{secret:?}");
            assert_eq!(Authkey::check_text(&text), Ok(()), "{secret:?}");
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
