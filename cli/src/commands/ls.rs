//! `mp-manager ls`

use clap::Args;
use mp_manager::{ObjectInfo, Pages};

use crate::{
    commands::inspect::{OBJECT_HEADINGS, object_json, object_row},
    error::Error,
    options::Options,
    output::{Rows, print_aside},
};

/// As many rows are printed at a time.
const ROWS: usize = 1000;

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
        let rows = Rows::new(options.output, OBJECT_HEADINGS);
        let Self { prefix, unnamed } = &self;
        options
            .session("ls", async |manager| {
                let objects = match unnamed {
                    true => manager.iter_unnamed(),
                    false => manager.iter_objects(prefix),
                };
                print_objects(objects, rows).await
            })
            .await
    }
}

/// Prints the objects as they come: there may be more of them than anybody has room for.
async fn print_objects(
    mut objects: Pages<ObjectInfo>,
    mut rows: Rows<{ OBJECT_HEADINGS.len() }>,
) -> Result<(), Error> {
    loop {
        let mut some: Vec<ObjectInfo> = Vec::new();
        while some.len() < ROWS
            && let Some(object) = objects.next().await?
        {
            some.push(object);
        }
        print_aside(rows.text(&some, object_row, object_json)).await?;
        if some.len() < ROWS {
            return print_aside(rows.end().into()).await;
        }
    }
}
