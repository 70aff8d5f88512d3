//! `mp-manager rm`

use clap::Args;

use crate::{error::Error, options::Options};

/// Delete objects; whoever waits in one gets an error
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        options
            .session("rm", async |manager| {
                for name in &self.names {
                    manager.delete(name).await?;
                }
                Ok(())
            })
            .await
    }
}
