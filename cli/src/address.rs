//! An address as it was given.

use std::{fmt, ops::Deref, str::FromStr};

use mp_manager::Address;

use crate::error::Error;

/// An address, and whether its scheme was given with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    address: Address,
    has_scheme: bool,
}

impl Given {
    /// Where to listen, and how: without TLS if that was asked for.
    pub(crate) fn to_serve(&self, insecure: bool) -> Result<Address, Error> {
        match &self.address {
            Address::Tls { .. } if insecure && self.has_scheme => Err(Error::Usage(format!(
                "{} means TLS and --insecure plain text: give one of them, or tcp:// and --insecure",
                self.address
            ))),
            Address::Tls { host, port } if insecure => {
                Ok(Address::Tcp { host: host.clone(), port: *port })
            }
            address => Ok(address.clone()),
        }
    }
}

impl Deref for Given {
    type Target = Address;

    fn deref(&self) -> &Address {
        &self.address
    }
}

impl FromStr for Given {
    type Err = <Address as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { address: text.parse()?, has_scheme: text.contains("://") })
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
