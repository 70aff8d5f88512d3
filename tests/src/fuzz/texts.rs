//! What users type, or keep in files and environment variables.

use std::str::FromStr;

use mp_manager::Fence;
use mp_manager_proto::{address::Address, authkey::Authkey};

/// Addresses.
pub fn addresses(data: &[u8]) {
    if let Some(address) = is_read_as_it_is_printed::<Address>(data) {
        let _ = address.is_local();
    }
}

/// Fences.
pub fn fences(data: &[u8]) {
    is_read_as_it_is_printed::<Fence>(data);
}

/// Authkeys: white space around one is not part of it, and everything else is.
pub fn authkeys(data: &[u8]) {
    let Some(authkey) = Authkey::from_text(data) else {
        return assert!(data.iter().all(u8::is_ascii_whitespace));
    };
    let secret = authkey.secret();
    let at = data.windows(secret.len()).position(|part| part == secret);
    let (before, rest) = data.split_at(at.expect("the secret is part of the text"));
    let after = &rest[secret.len()..];
    assert!(before.iter().chain(after).all(u8::is_ascii_whitespace));
    assert!(Authkey::from_text(secret) == Some(Authkey::new(secret)));
}

fn is_read_as_it_is_printed<T>(data: &[u8]) -> Option<T>
where
    T: FromStr<Err: ToString> + ToString + PartialEq,
{
    let text = str::from_utf8(data).ok()?;
    match text.parse::<T>() {
        Ok(value) => {
            let printed = value.to_string();
            let read = printed.parse::<T>();
            assert!(read.is_ok_and(|read| read == value), "{text:?} is printed as {printed:?}");
            Some(value)
        }
        Err(error) => {
            // Whoever typed it sees what it was.
            assert!(error.to_string().contains(text));
            None
        }
    }
}
