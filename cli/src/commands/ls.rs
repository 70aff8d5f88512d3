//! `mp-manager ls`

use clap::Args;

use crate::{commands::inspect, error::Error, options::Options};

/// List the named objects, or those without a name
#[derive(Debug, Args)]
pub(crate) struct Ls {
    /// Only those whose names begin with this
    #[arg(default_value = "", hide_default_value = true)]
    prefix: String,
    /// List the objects without a name, with their ids, in the order in which they were made
    #[arg(long, conflicts_with = "prefix")]
    unnamed: bool,
}

impl Ls {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let Self { prefix, unnamed } = &self;
        let objects = options
            .session("ls", async |manager| {
                Ok(match unnamed {
                    true => manager.list_unnamed().await?,
                    false => manager.list_objects(prefix).await?,
                })
            })
            .await?;
        inspect::print_objects(options.output, &objects)
    }
}
