//! `mp-manager rm`

use clap::Args;

use crate::{error::Error, options::Options};

/// Delete objects; whoever waits in one gets an error
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Their names
    #[arg(value_name = "NAME", required_unless_present = "ids")]
    names: Vec<String>,
    /// Delete the object with this id, whether it has a name or not; `ls --unnamed` and `inspect` show
    /// ids. May be given several times
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<u64>,
}

impl Rm {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        options
            .session("rm", async |manager| {
                for name in &self.names {
                    manager.delete(name).await?;
                }
                for &id in &self.ids {
                    manager.delete_by_id(id).await?;
                }
                Ok(())
            })
            .await
    }
}
