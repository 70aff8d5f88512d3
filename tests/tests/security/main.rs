//! Who should not be in does not get in, whatever he does with the connection, and each failure says
//! why. Who should be in gets in, and has no certificates to manage.

#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails its test")]

mod authkeys;
mod bindings;
mod certificates;
mod clients;
mod environment;
mod middle;
mod resuming;
mod rogue;
mod weak;
mod works;
mod wrong_scheme;

use mp_manager::{Error, Manager};
use mp_manager_tests::{AUTHKEY, within};

/// An honest client comes in.
async fn comes_in(address: &str) -> Manager {
    let manager = within(Manager::connect(address, AUTHKEY)).await.unwrap();
    within(manager.ping()).await.unwrap();
    manager
}

/// An honest client sees that something is wrong, and says what.
#[track_caller]
fn is_told(error: &Error, parts: &[&str]) {
    let said = error.to_string();
    for part in parts {
        assert!(said.contains(part), "\"{part}\" is not in: {said}");
    }
    assert!(!said.contains(AUTHKEY), "{said}");
}

/// An honest client gets no session, because one side could not authenticate the other.
async fn fails_to_authenticate(address: &str, parts: &[&str]) {
    let error = within(Manager::connect(address, AUTHKEY)).await.unwrap_err();
    assert!(matches!(error, Error::AuthenticationFailed(_)), "{error:?}");
    is_told(&error, parts);
}

/// An honest client gets no connection.
async fn fails_to_connect(address: &str, parts: &[&str]) {
    let error = within(Manager::connect(address, AUTHKEY)).await.unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    is_told(&error, parts);
}
