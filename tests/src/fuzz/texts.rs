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

/// Authkeys: white space around one is not part of it, and everything else is, unless it is in
/// hexadecimal.
pub fn authkeys(data: &[u8]) {
    let text = data.trim_ascii();
    let Some(authkey) = Authkey::from_text(data) else { return assert!(text.is_empty()) };
    let secret = authkey.secret();
    if secret != text {
        let digits = text.strip_prefix(b"hex:").expect("neither as it is nor in hexadecimal");
        let shown: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(digits.eq_ignore_ascii_case(shown.as_bytes()), "{digits:?} was read as {shown}");
    }
    assert!(Authkey::from_text(&authkey.to_text()) == Some(authkey.clone()));
    assert!(Authkey::list_from_text(&authkey.to_text()) == [authkey]);
    // A variable may have what is in a file.
    if let Ok(authkeys) = Authkey::list_from_file(data)
        && !authkeys.is_empty()
    {
        assert!(authkeys == Authkey::list_from_text(data));
    }
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
