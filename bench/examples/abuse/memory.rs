//! What an unauthenticated connection costs in memory.

use std::{io, time::Duration};

use clap::Args;
use tokio::time::sleep;

use crate::{kind::Kind, measured::Measured, processes::Attacker};

/// Measures the server's memory for connections that have not authenticated.
#[derive(Args)]
pub(crate) struct Memory {
    #[command(flatten)]
    measured: Measured,
    /// How many connections.
    #[arg(long, default_value_t = 5000)]
    connections: u32,
}

impl Memory {
    pub(crate) async fn measure(&self) -> io::Result<()> {
        for kind in [Kind::Silent, Kind::Preface, Kind::Hello, Kind::Greedy] {
            let daemon = self.measured.start(&["--handshake-timeout", "600"])?;
            let before = daemon.process().memory_kib()?;
            let attacker = Attacker::start(
                kind,
                daemon.socket_address()?,
                self.connections,
                &[],
                self.measured.compete,
            )?;
            sleep(Duration::from_secs(1)).await;
            let kib = daemon.process().memory_kib()?.saturating_sub(before);
            println!(
                "{}: {:.1} KiB for each of {} connections ({})",
                kind.name(),
                kib as f64 / f64::from(self.connections),
                self.connections,
                attacker.stop()?,
            );
        }
        Ok(())
    }
}
