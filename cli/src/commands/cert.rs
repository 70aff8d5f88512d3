//! `mp-manager cert`

use std::path::PathBuf;

use clap::Args;
use mp_manager_server::kept_certificate;

use crate::{error::Error, options::Options, output};

/// Print the certificate that the manager shows with TLS, for clients that pin it
///
/// From a running manager it is printed only if the manager proves that it knows the authkey, so that
/// nobody in the middle can have it exchanged. A certificate that a manager makes for itself stays the
/// same if it has a --state-dir, and is for the name `mp-manager`, which clients that check a name have
/// to expect. Clients of this library need none.
#[derive(Debug, Args)]
pub(crate) struct Cert {
    /// Read it from the state directory of a manager on this machine instead of asking the manager
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl Cert {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        if let Some(state_dir) = &self.state_dir {
            return output::print(&kept_certificate(state_dir)?);
        }
        let certificate =
            options.session("cert", async |manager| Ok(manager.certificate())).await?;
        let pem = certificate.ok_or_else(|| {
            Error::Absent(format!(
                "there is no certificate at {}, which is not served with TLS (use tls://HOST:PORT)",
                options.address
            ))
        })?;
        output::print(&pem)
    }
}
