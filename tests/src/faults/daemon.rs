//! The manager's process.

use mp_manager_server::{Options, Server};
use tokio::io::AsyncReadExt;

use super::Result;
use crate::AUTHKEY;

/// Serves at `address` until standard input ends; says where in one line.
pub(crate) async fn run(address: &str) -> Result<()> {
    let server = Server::bind(&address.parse()?, Options::new(AUTHKEY)).await?;
    println!("{}", server.address());
    let lifeline = async {
        let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    };
    Ok(server.run(lifeline).await?)
}
