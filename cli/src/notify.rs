//! Tells the service manager that the daemon is ready, reloads, stops, and is alive (`sd_notify(3)`).
//!
//! The crate sd-notify says the same, on a socket that blocks: a service manager that does not read would keep us
//! from serving. The environment stays as it is: the daemon starts no processes that could inherit it.

use std::{
    ffi::OsString,
    io,
    os::unix::{ffi::OsStrExt, net::SocketAddr},
    time::Duration,
};

use mp_manager_server::Handle;
use rustix::time::{ClockId, clock_gettime};
use tokio::{
    net::UnixDatagram,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::environment::variable;

/// How long the service manager has to take a message.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Nobody needs to hear more often that the daemon is alive.
const SHORTEST_BEAT: Duration = Duration::from_millis(1);

/// The service manager that started this process, if one did and listens.
#[derive(Debug, Clone)]
pub(crate) struct ServiceManager {
    /// `None` if there is none.
    socket: Option<SocketAddr>,
}

impl ServiceManager {
    /// The one of `$NOTIFY_SOCKET`.
    pub(crate) fn from_environment() -> Self {
        let socket = variable("NOTIFY_SOCKET").and_then(|name| match address(&name) {
            Ok(address) => Some(address),
            Err(error) => {
                tracing::warn!("nobody is told of NOTIFY_SOCKET, {}: {error}", name.display());
                None
            }
        });
        Self { socket }
    }

    /// The daemon serves, as `status` says.
    pub(crate) async fn ready(&self, status: &str) {
        self.say(&format!("READY=1\nSTATUS={status}")).await;
    }

    /// The daemon reads its files again; it is [ready](Self::ready) when it has.
    pub(crate) async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        let us = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={us}\nSTATUS=reading its files again"))
            .await;
    }

    /// The daemon comes to its end.
    pub(crate) async fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=shutting down").await;
    }

    /// Says that the daemon is alive, twice as often as the service manager wants to hear it, and only while the
    /// server serves. Completes at once if it does not want to.
    pub(crate) async fn keep_alive(self, server: Handle) {
        let Some(every) = watchdog(variable).filter(|_| self.socket.is_some()) else { return };
        let mut ticks = interval((every / 2).max(SHORTEST_BEAT));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !server.ping().await {
                return;
            }
            self.say("WATCHDOG=1").await;
        }
    }

    async fn say(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        let said = match timeout(TIMEOUT, send(socket, state.as_bytes())).await {
            Ok(said) => said,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        };
        if let Err(error) = said {
            tracing::warn!(%error, "the service manager was not told {}", state.replace('\n', ", "));
        }
    }
}

/// A socket for each message: the service manager may have started again.
async fn send(to: &SocketAddr, state: &[u8]) -> io::Result<()> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    socket.connect_addr(to)?;
    socket.set_nonblocking(true)?;
    UnixDatagram::from_std(socket)?.send(state).await.map(drop)
}

/// A path, or an abstract name after `@`.
fn address(name: &OsString) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::linux::net::SocketAddrExt;
            SocketAddr::from_abstract_name(name)
        }
        [b'/', ..] => SocketAddr::from_pathname(name),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it is neither a path nor an abstract name that begins with @",
        )),
    }
}

/// How often the service manager wants to hear that this process is alive, if it does.
fn watchdog(variable: impl Fn(&str) -> Option<OsString>) -> Option<Duration> {
    let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
    let us = number("WATCHDOG_USEC").filter(|us| *us > 0)?;
    // Inherited from a process that is watched, it is not for us.
    let is_for_us = variable("WATCHDOG_PID").is_none()
        || number("WATCHDOG_PID") == Some(std::process::id().into());
    is_for_us.then_some(Duration::from_micros(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_that_it_names() {
        let watchdog = |us: &str, pid: Option<String>| {
            super::watchdog(|name| match name {
                "WATCHDOG_USEC" => Some(us.into()),
                _ => pid.clone().map(OsString::from),
            })
        };
        let (own, second) = (std::process::id(), Some(Duration::from_secs(1)));
        assert_eq!(watchdog("1000000", Some(own.to_string())), second);
        assert_eq!(watchdog("1000000", None), second);
        for pid in ["1", "", "x"] {
            assert_eq!(watchdog("1000000", Some(pid.into())), None, "{pid}");
        }
        for us in ["0", "", "-1", "soon"] {
            assert_eq!(watchdog(us, None), None, "{us}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_is_a_path_or_abstract() {
        use std::os::linux::net::SocketAddrExt;
        let name = address(&"@mp-manager".into()).unwrap();
        assert_eq!(name.as_abstract_name(), Some(&b"mp-manager"[..]));
        assert!(address(&"/run/notify".into()).unwrap().as_pathname().is_some());
        for text in ["vsock:2:1234", "relative", ""] {
            assert!(address(&text.into()).is_err(), "{text}");
        }
    }
}
