//! `mp-manager ping`

use std::time::Instant;

use clap::Args;
use serde_json::json;

use crate::{
    error::Error,
    options::{Format, Options},
    output::print_line,
};

/// Ask the manager for an answer, and say how long it took
#[derive(Debug, Args)]
pub(crate) struct Ping {}

impl Ping {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Error> {
        let took = options
            .session("ping", async |manager| {
                let start = Instant::now();
                manager.ping().await?;
                Ok(start.elapsed())
            })
            .await?;
        let address = options.address.to_string();
        let milliseconds = took.as_secs_f64() * 1e3;
        print_line(&match options.output {
            Format::Table => format!("{address} answered in {milliseconds:.2} ms"),
            Format::Json => json!({"address": address, "milliseconds": milliseconds}).to_string(),
        })
    }
}
