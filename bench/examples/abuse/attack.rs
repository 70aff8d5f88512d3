//! What an attacking process does: it says a line when it is under way, and what it has done when its
//! input ends.

use std::{io, net::SocketAddr, time::Instant};

use clap::Args;

use crate::{
    attacker::obey,
    kind::Kind,
    sessions::{self, Manner},
    strangers,
};

/// Attacks a daemon until its input ends.
#[derive(Args)]
pub(crate) struct Attack {
    kind: Kind,
    /// Whom.
    #[arg(long)]
    target: SocketAddr,
    /// How much: connections, logins a second, or acts of a hostile session in ten seconds.
    #[arg(long)]
    rate: u32,
    /// What hostile sessions do.
    #[arg(long, value_delimiter = ',')]
    manners: Vec<Manner>,
}

impl Attack {
    pub(crate) async fn run(self) -> io::Result<()> {
        let Self { kind, target, rate, manners } = self;
        let begin = Instant::now();
        tokio::select! {
            said = attack(kind, target, rate, &manners) => said?,
            () = obey() => {}
        }
        let done = match kind {
            Kind::Logins => strangers::LOGINS.report(),
            Kind::Sessions => sessions::DONE.report(),
            _ => strangers::OPENED.report(),
        };
        println!("{done} in {:.1} s", begin.elapsed().as_secs_f64());
        Ok(())
    }
}

async fn attack(kind: Kind, target: SocketAddr, rate: u32, manners: &[Manner]) -> io::Result<()> {
    match kind {
        Kind::Logins => strangers::log_in(target, rate).await,
        Kind::Sessions => sessions::misbehave(target, rate, manners).await,
        _ => strangers::stay(kind, target, rate).await,
    }
}
