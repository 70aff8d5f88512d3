//! How to listen and to connect.

use std::time::Duration;

use mp_manager_proto::{address::Address, authkey::Authkey, connection::DEFAULT_MAX_MESSAGE_BYTES};

use crate::{
    error::{Error, Result},
    transport::io_thread::missing,
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// How to listen, or to connect, with other limits than usual.
///
/// ```
/// # use mp_manager::{Error, Result, connection};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let builder = connection::Builder::new().max_message_bytes(1 << 10);
/// let listener = builder.bind("127.0.0.1:0", "authkey").await?;
///
/// let client = connection::Client::connect(listener.address(), "authkey").await?;
/// let too_long = client.send_bytes(&[0; 2 << 10]).await;
/// assert!(matches!(too_long, Err(Error::LimitExceeded(_))));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder listens or connects when it is told to"]
pub struct Builder {
    pub(super) max_message_bytes: u32,
    pub(super) timeout: Duration,
}

impl Builder {
    /// The defaults.
    pub fn new() -> Self {
        Self { max_message_bytes: DEFAULT_MAX_MESSAGE_BYTES, timeout: TIMEOUT }
    }

    /// Maximum length of a message that this end takes, in bytes: 64 MiB unless told otherwise, and one at
    /// least. The other end is told so, and refuses to send a longer one. As many bytes may be kept of a message
    /// that has not arrived as a whole.
    pub fn max_message_bytes(self, bytes: u32) -> Self {
        // 0 would stand for the usual limit.
        Self { max_message_bytes: bytes.max(1), ..self }
    }

    /// How long connecting may take or, of a listener, how long a peer has to prove the authkey; 10 s unless
    /// told otherwise.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Parses the address and checks the authkey; refuses what would go in the clear, and threads without a runtime.
    pub(super) fn check(address: &str, authkey: Authkey) -> Result<(Address, Authkey)> {
        check_runtime()?;
        Ok((checked_address(address)?, checked_authkey(authkey)?))
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// The address, if messages can be kept from others there.
fn checked_address(address: &str) -> Result<Address> {
    let address: Address = address.parse()?;
    match &address {
        Address::Tcp { host, port } if !address.is_local() => {
            let tls = Address::Tls { host: host.clone(), port: *port };
            Err(Error::Configuration(format!(
                "plain text on {address} could be read and changed by others on the way: use {tls}"
            )))
        }
        _ => Ok(address),
    }
}

fn checked_authkey(authkey: Authkey) -> Result<Authkey> {
    if authkey.secret().is_empty() {
        return Err(Error::Configuration("the authkey is empty".into()));
    }
    Ok(authkey)
}

fn check_runtime() -> Result<()> {
    missing().map_or(Ok(()), |missing| {
        Err(Error::Configuration(format!(
            "a connection needs {missing} (or use mp_manager::blocking::connection)"
        )))
    })
}
