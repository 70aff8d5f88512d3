//! Which suite the proofs of a handshake use.
//!
//! Whoever hears a proof can try guesses on it for as long as he likes. That is hopeless with a
//! strong authkey; a weak one must not be proven as it is where others may listen, or answer in the
//! manager's place.
//!
//! | the client's authkey | the address | what it offers |
//! |---|---|---|
//! | strong | any | HMAC-SHA256 |
//! | weak | of this machine | both: on the way there may be a tunnel to a manager elsewhere |
//! | weak | any other | Argon2id and HMAC-SHA256 alone, whatever the server may prefer |
//!
//! A server takes the first unless it has weak authkeys and others can reach it. What was offered is
//! in the transcript, so that nobody on the way can take something from it.

use crate::{authkey::Authkey, v1::Suite};

/// What a client offers to prove this authkey with; `is_local` if only its own machine can reach
/// the address.
#[must_use]
pub fn offered(authkey: &Authkey, is_local: bool) -> Vec<Suite> {
    match (authkey.is_weak(), is_local) {
        (false, _) => vec![Suite::HmacSha256],
        (true, true) => vec![Suite::HmacSha256, Suite::Argon2idHmacSha256],
        (true, false) => vec![Suite::Argon2idHmacSha256],
    }
}

/// What a server takes of it, if anything; `stretches` if it has weak authkeys and others can reach
/// it.
#[must_use]
pub fn chosen(offered: &[i32], stretches: bool) -> Option<Suite> {
    let is_offered = |suite: &Suite| offered.contains(&(*suite).into());
    let mut preferred = [Suite::HmacSha256, Suite::Argon2idHmacSha256];
    if stretches {
        preferred.reverse();
    }
    preferred.into_iter().find(is_offered)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Option<Suite> = Some(Suite::HmacSha256);
    const STRETCHED: Option<Suite> = Some(Suite::Argon2idHmacSha256);

    #[test]
    fn a_weak_authkey_is_stretched_beyond_this_machine() {
        let strong = Authkey::new([7; 16]);
        let weak = Authkey::new([7; 15]);
        for (authkey, is_local, stretches, suite) in [
            (&strong, false, false, PLAIN),
            (&strong, false, true, PLAIN),
            (&strong, true, true, PLAIN),
            (&weak, false, false, STRETCHED),
            (&weak, false, true, STRETCHED),
            (&weak, true, false, PLAIN),
            (&weak, true, true, STRETCHED),
        ] {
            let offered: Vec<i32> = offered(authkey, is_local).into_iter().map(i32::from).collect();
            assert_eq!(chosen(&offered, stretches), suite);
        }
    }

    #[test]
    fn what_is_not_offered_is_not_taken() {
        for offered in [&[][..], &[0], &[99]] {
            assert_eq!(chosen(offered, false), None);
            assert_eq!(chosen(offered, true), None);
        }
    }
}
