//! Operations that are too long to be done inline: what comes meanwhile happens after them, in order.

use std::time::Duration;

use mp_manager::{Error, Fence, List, Manager, Result};
use mp_manager_tests::daemon::{Daemon, Reach};

/// Long enough for the server to sort it elsewhere.
const LEN: u64 = 30_000;

async fn long_list(manager: &Manager, name: &str) -> Result<List<u64>> {
    let list = manager.list::<u64>(name).await?;
    list.extend((0..LEN).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).await?;
    Ok(list)
}

#[tokio::test]
async fn what_comes_during_a_sort_happens_after_it() -> Result<()> {
    let manager = Manager::start().await?;
    let list = long_list(&manager, "numbers").await?;
    let (sorted, first, pushed, len) =
        tokio::join!(list.sort(), list.get(0), list.push(&0), list.len());
    sorted?;
    pushed?;
    assert_eq!(first?, 0, "0 is the smallest, and the sort was asked for first");
    assert_eq!(len? as u64, LEN + 1);
    assert_eq!(list.get(-1).await?, 0, "pushed after the sort");
    Ok(())
}

/// A list that was deleted during a sort came back to life when more was asked of it meanwhile.
#[tokio::test]
async fn a_list_deleted_during_a_sort_stays_deleted() -> Result<()> {
    let manager = Manager::start().await?;
    for round in 0..3 {
        let name = format!("numbers-{round}");
        let list = long_list(&manager, &name).await?;
        let pushes = async {
            for _ in 0..50 {
                if list.push(&1).await.is_err() {
                    break;
                }
            }
        };
        let (_, deleted, reversed, ()) =
            tokio::join!(list.sort(), manager.delete(&name), list.reverse(), pushes);
        deleted?;
        assert!(matches!(reversed, Err(Error::ObjectNotFound(_))), "{reversed:?}");
        assert!(matches!(list.len().await, Err(Error::ObjectNotFound(_))));
    }
    Ok(())
}

/// Beats waited for the session's lock, which a request held that waited for the list.
#[tokio::test]
async fn a_bystander_keeps_its_lock_while_a_fenced_sort_takes_longer_than_its_lease() -> Result<()>
{
    let daemon = Daemon::start(env!("CARGO_BIN_EXE_victim"), Reach::Tcp).await;
    let owner = daemon.connect(|builder| builder).await;
    let list = owner.list::<u64>("numbers").await?;
    list.extend((0..1000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).await?;
    list.repeat_in_place(1000).await?;
    let owns = owner.lock("owner's").await?.acquire().await?;
    let fenced = list.fenced(Fence::from(&owns));

    let lease = Duration::from_secs(1);
    let bystander = daemon.connect(|builder| builder.lease(lease)).await;
    let holds = bystander.lock("bystander's").await?.acquire().await?;
    let theirs = bystander.list::<u64>("numbers").await?;
    let (sorted, len) = tokio::join!(fenced.sort(), theirs.len());
    sorted?;
    assert_eq!(len?, 1_000_000);
    assert!(!holds.is_lost(), "the bystander has lost its lock");
    let counter = bystander.value("counter", &0_u64).await?;
    counter.fenced(Fence::from(&holds)).set(&1).await
}
