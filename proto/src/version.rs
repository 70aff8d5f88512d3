//! Which version of the protocol two sides speak.
//!
//! A client states the range of versions that it speaks, the server takes the newest that it speaks as well.
//! A version is for what an older peer could not follow: ARCHITECTURE.md says what that is.

use crate::v1::{Challenge, Error, Hello, Reason};

/// The newest version that this build speaks.
pub const NEWEST: u32 = 1;

/// The oldest version that this build speaks.
pub const OLDEST: u32 = 1;

/// This build, to people.
const PROGRAM: &str = concat!("mp-manager ", env!("CARGO_PKG_VERSION"));

/// The version that a server of this build speaks with whoever says this.
///
/// # Errors
/// If it speaks none of theirs.
pub fn agree(hello: &Hello) -> Result<u32, Error> {
    let (oldest, newest) = offered(hello);
    let version = newest.min(NEWEST);
    if version >= oldest.max(OLDEST) {
        return Ok(version);
    }
    let (client, theirs, ours) = (client(hello), range(oldest, newest), range(OLDEST, NEWEST));
    let older = if newest < OLDEST { "client" } else { "server" };
    let message = format!(
        "the client, {client}, speaks {theirs} of the protocol; this server, {PROGRAM}, {ours}"
    );
    Err(Error::new(Reason::UnsupportedVersion, message).with_hint(format!(
        "upgrade the {older}, or use a release of mp-manager for both that speaks the same version"
    )))
}

/// The version that a server has agreed to, for the client that said hello. A server of before versions were
/// agreed upon names none: it takes the newest that is offered, which has to be 1.
///
/// # Errors
/// If the client did not offer it.
pub fn agreed(hello: &Hello, challenge: &Challenge) -> Result<u32, Error> {
    let (oldest, newest) = offered(hello);
    let version = challenge.version.max(1);
    let is_named = challenge.version > 0;
    if (oldest..=newest).contains(&version) && (is_named || newest == version) {
        return Ok(version);
    }
    let ours = range(oldest, newest);
    let message = format!(
        "the server speaks version {version} of the protocol; this client, {PROGRAM}, {ours}"
    );
    Err(Error::new(Reason::UnsupportedVersion, message)
        .with_hint("use a release of mp-manager for both that speaks the same version"))
}

/// The oldest and the newest version that a client offers.
fn offered(hello: &Hello) -> (u32, u32) {
    let oldest = if hello.min_version == 0 { hello.version } else { hello.min_version };
    (oldest, hello.version)
}

fn range(oldest: u32, newest: u32) -> String {
    if oldest == newest {
        format!("version {newest}")
    } else {
        format!("versions {oldest} to {newest}")
    }
}

/// A client, to people.
fn client(hello: &Hello) -> String {
    match &hello.process {
        Some(process) if !process.name.is_empty() => {
            format!("{:?} with process id {}", process.name, process.pid)
        }
        _ => "which does not say its name".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::Process;

    fn hello(min_version: u32, version: u32) -> Hello {
        let process = Some(Process { name: "importer".into(), pid: 7, ..Process::default() });
        Hello { version, min_version, process, ..Hello::default() }
    }

    #[test]
    fn the_newest_that_both_speak_is_spoken() {
        for (min_version, version) in [(0, 1), (1, 1), (1, NEWEST), (1, NEWEST + 1), (1, u32::MAX)]
        {
            let agreed = agree(&hello(min_version, version));
            assert_eq!(agreed, Ok(version.min(NEWEST)), "{min_version} to {version}");
        }
    }

    #[test]
    fn a_mismatch_names_both_sides() {
        for (min_version, version, theirs, older) in [
            (0, NEWEST + 1, format!("version {}", NEWEST + 1), "server"),
            (
                NEWEST + 1,
                NEWEST + 3,
                format!("versions {} to {}", NEWEST + 1, NEWEST + 3),
                "server",
            ),
            (0, 0, "version 0".into(), "client"),
            // A range that is none.
            (NEWEST + 1, NEWEST, format!("versions {} to {NEWEST}", NEWEST + 1), "server"),
        ] {
            let error = agree(&hello(min_version, version)).unwrap_err();
            assert_eq!(error.reason(), Reason::UnsupportedVersion);
            for part in [theirs.as_str(), "importer", "version 1", "mp-manager 0."] {
                assert!(error.message.contains(part), "{error}");
            }
            assert!(error.hint.contains(&format!("upgrade the {older}")), "{error}");
        }
    }

    #[test]
    fn a_server_speaks_what_was_offered() {
        let challenge = |version| Challenge { version, ..Challenge::default() };
        assert_eq!(agreed(&hello(1, 1), &challenge(0)), Ok(1));
        assert_eq!(agreed(&hello(1, 3), &challenge(2)), Ok(2));
        for (min_version, version, chosen) in [(1, 1, 2), (2, 3, 0), (1, 3, 0), (2, 3, 1)] {
            let error = agreed(&hello(min_version, version), &challenge(chosen)).unwrap_err();
            assert_eq!(error.reason(), Reason::UnsupportedVersion);
            assert!(error.message.contains("mp-manager 0."), "{error}");
        }
    }
}
