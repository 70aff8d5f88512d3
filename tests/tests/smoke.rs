//! A client over TCP: what it stores, another finds.

use mp_manager::{Manager, Result};
use mp_manager_tests::{AUTHKEY, TestServer};

#[tokio::test]
async fn two_sessions_share_a_dict() -> Result<()> {
    let server = TestServer::start();
    let one = Manager::connect(&server.address(), AUTHKEY).await?;
    let two = Manager::connect(&server.address(), AUTHKEY).await?;
    one.dict::<String, u64>("scores").await?.insert("alice", &3).await?;
    assert_eq!(two.dict::<String, u64>("scores").await?.get("alice").await?, Some(3));
    Ok(())
}
