//! `mp-manager ls`

use clap::Args;

use crate::{commands::inspect, error::Error, options::Options};

/// List the named objects
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only those whose names begin with this
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
}

impl Ls {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let prefix = &self.prefix;
        let objects =
            options.session("ls", async |manager| Ok(manager.list_objects(prefix).await?)).await?;
        inspect::print_objects(options.output, &objects)
    }
}
