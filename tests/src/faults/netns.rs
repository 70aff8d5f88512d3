//! Network namespaces: a link that can really be taken down.

use std::{io, net::IpAddr, process::Stdio};

use tokio::process::Command;

/// A namespace with a link to this one; both are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) namespace: String,
    /// This end.
    pub(crate) here: IpAddr,
    device: String,
}

impl Link {
    /// The `n`-th.
    ///
    /// # Errors
    /// If this process may not do that, or there is no `ip`.
    pub(crate) async fn create(n: u8) -> io::Result<Self> {
        let pid = std::process::id();
        let subnet = u8::try_from(pid % 250).unwrap_or_default();
        let (here, there) = (format!("10.{subnet}.{n}.1"), format!("10.{subnet}.{n}.2/24"));
        let namespace = format!("faults-{pid}-{n}");
        let (device, peer) = (format!("f{pid}n{n}"), format!("g{pid}n{n}"));
        ip(&["netns", "add", &namespace]).await?;
        let here = here.parse().map_err(io::Error::other)?;
        let link = Self { namespace, here, device };
        let Self { namespace, device, .. } = &link;
        ip(&["link", "add", device, "type", "veth", "peer", "name", &peer]).await?;
        ip(&["link", "set", &peer, "netns", namespace]).await?;
        ip(&["addr", "add", &format!("{here}/24"), "dev", device]).await?;
        ip(&["link", "set", device, "up"]).await?;
        ip(&["-n", namespace, "addr", "add", &there, "dev", &peer]).await?;
        ip(&["-n", namespace, "link", "set", &peer, "up"]).await?;
        ip(&["-n", namespace, "link", "set", "lo", "up"]).await?;
        Ok(link)
    }

    /// Takes the link down, or up again.
    pub(crate) async fn set_up(&self, up: bool) -> io::Result<()> {
        ip(&["link", "set", &self.device, if up { "up" } else { "down" }]).await
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // The device first: it goes with its namespace only when the last socket in there has.
        for words in [["link", "del", &self.device], ["netns", "del", &self.namespace]] {
            let _ = std::process::Command::new("ip").args(words).stderr(Stdio::null()).status();
        }
    }
}

async fn ip(words: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(words).output().await?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("`ip {}`: {}", words.join(" "), why.trim())))
}
