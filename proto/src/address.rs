//! Where a manager listens.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

/// The port a manager listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 7117;

/// Where a manager listens, and what is spoken there: `tcp://HOST:PORT`, `tls://HOST:PORT` or
/// `unix:PATH`. A mere `HOST:PORT` means TLS, unless it is this machine's loopback: what others can
/// reach is encrypted unless somebody says otherwise. A unix socket is a file, whose permissions say who
/// may connect: Linux's abstract sockets (`unix:@name`) have none, and are refused.
///
/// ```
/// use mp_manager_proto::address::Address;
///
/// let address: Address = "10.0.0.5:7117".parse()?;
/// assert_eq!(address, Address::Tls { host: "10.0.0.5".into(), port: 7117 });
/// let address: Address = "localhost".parse()?;
/// assert_eq!(address, Address::Tcp { host: "localhost".into(), port: 7117 });
/// assert!("unix:/run/manager.sock".parse::<Address>().is_ok());
/// # Ok::<(), mp_manager_proto::address::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// Plain TCP.
    Tcp {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port; 0 lets the system pick one when listening.
        port: u16,
    },
    /// TLS over TCP.
    Tls {
        /// A name or an IP address, without brackets.
        host: String,
        /// The port; 0 lets the system pick one when listening.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
}

/// A text that is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{text}\" is not an address: {problem} (use HOST:PORT, tls://HOST:PORT, tcp://HOST:PORT or \
     unix:PATH)"
)]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl Address {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(_) => true,
            Self::Tcp { host, .. } | Self::Tls { host, .. } => is_loopback(host),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

impl Default for Address {
    fn default() -> Self {
        Self::Tcp { host: "127.0.0.1".into(), port: DEFAULT_PORT }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let problem = |problem| AddressError { text: text.into(), problem };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => Err(problem("the path is missing")),
                // A file's permissions say who may connect; an abstract socket has none.
                path if path.starts_with(['@', '\0']) => Err(problem(
                    "abstract sockets are not supported, and the path of a file that begins with @ \
                     is written unix:./@",
                )),
                path => Ok(Self::Unix(path.into())),
            };
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(scheme), rest),
            None => (None, text),
        };
        let (host, port) = split_port(rest).map_err(problem)?;
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || "/@[]".contains(c)) {
            return Err(problem("the host is missing or malformed"));
        }
        if scheme.is_none() && host.ends_with(".sock") {
            return Err(problem(
                "a host's name does not end with .sock, and a unix socket begins with unix:",
            ));
        }
        let host = host.to_owned();
        match scheme {
            Some("tcp") => Ok(Self::Tcp { host, port }),
            Some("tls") => Ok(Self::Tls { host, port }),
            Some(_) => Err(problem("this scheme is not known")),
            None if is_loopback(&host) => Ok(Self::Tcp { host, port }),
            None => Ok(Self::Tls { host, port }),
        }
    }
}

fn split_port(text: &str) -> Result<(&str, u16), &'static str> {
    const PORT: &str = "the port is not a number from 0 to 65535";
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or("a bracket is not closed")?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, port.parse().map_err(|_| PORT)?)),
            None if rest.is_empty() => Ok((host, DEFAULT_PORT)),
            None => Err("something follows the bracket"),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err("an IPv6 address needs brackets"),
        Some((host, port)) => Ok((host, port.parse().map_err(|_| PORT)?)),
        None => Ok((text, DEFAULT_PORT)),
    }
}

impl fmt::Display for Address {
    /// With its scheme, so that it means the same wherever it is read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Tcp { host, port } => ("tcp", host, port),
            Self::Tls { host, port } => ("tls", host, port),
            // It would be taken for an abstract socket.
            Self::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"@") => {
                return write!(f, "unix:./{}", path.display());
            }
            // Two slashes would be taken for the scheme's.
            Self::Unix(path) if path.as_os_str().as_encoded_bytes().starts_with(b"//") => {
                return write!(f, "unix://{}", path.display());
            }
            Self::Unix(path) => return write!(f, "unix:{}", path.display()),
        };
        if host.contains(':') {
            write!(f, "{scheme}://[{host}]:{port}")
        } else {
            write!(f, "{scheme}://{host}:{port}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_they_are_printed() {
        for text in [
            "tls://10.0.0.5:1",
            "tcp://10.0.0.5:1",
            "tcp://[::1]:7117",
            "tls://localhost:0",
            "tls://[fe80::1%eth0]:7117",
            "unix:/run/x.sock",
            "unix:x.sock",
            "unix:////run/x.sock",
            "unix:./@name",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_others_can_reach_is_encrypted_unless_said_otherwise() {
        for (text, meant) in [
            ("host", "tls://host:7117"),
            ("0.0.0.0:0", "tls://0.0.0.0:0"),
            ("[::]", "tls://[::]:7117"),
            ("localhost.example.org:1", "tls://localhost.example.org:1"),
            ("127.0.0.9:1", "tcp://127.0.0.9:1"),
            ("[::1]", "tcp://[::1]:7117"),
            ("[::ffff:127.0.0.1]:1", "tcp://[::ffff:127.0.0.1]:1"),
            ("LocalHost", "tcp://LocalHost:7117"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), meant);
        }
    }

    #[test]
    fn what_is_no_address_is_named_in_the_error() {
        for text in [
            "",
            ":1",
            "host:x",
            "host:99999",
            "::1",
            "[::1",
            "unix:",
            "unix:@name",
            "unix://@name",
            "ftp://host",
            "tls://",
            "://host",
            "tls:host:1",
            "a b",
            "[a[]:1",
            "[[]",
            "manager.sock",
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\"")), "{error}");
        }
    }

    #[test]
    fn loopback_and_unix_are_local() {
        for (text, local) in [
            ("127.0.0.9:1", true),
            ("tls://[::1]", true),
            ("localhost", true),
            ("unix:x", true),
            ("0.0.0.0", false),
            ("tcp://[::]", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_local(), local, "{text}");
        }
    }
}
