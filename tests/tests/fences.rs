//! Fenced operations: executed only while a grant stands, whoever asks.

use std::time::Duration;

use mp_manager::{Error, Fence, Manager, Result};

#[tokio::test]
async fn a_fence_is_good_in_another_session_until_its_grant_ends() -> Result<()> {
    let manager = Manager::start().await?;
    let environment: Vec<_> = manager.environment().into_iter().map(|(_, value)| value).collect();
    let other = Manager::connect(manager.address(), environment[1].as_encoded_bytes()).await?;
    let guard = manager.lock("lock").await?.acquire().await?;
    let fence: Fence = Fence::from(&guard).to_string().parse()?;

    let value = other.value("value", &0_u64).await?;
    value.fenced(fence).set(&1).await?;
    guard.release().await?;
    let late = value.fenced(fence).set(&2).await;
    assert!(matches!(late, Err(Error::Fenced(_))), "{late:?}");
    assert_eq!(value.get().await?, 1);
    Ok(())
}

#[tokio::test]
async fn who_was_overtaken_cannot_write_any_more() -> Result<()> {
    let manager = Manager::start().await?;
    let scores = manager.dict::<String, u64>("scores").await?;
    let lock = manager.lock("lock").await?;
    let stopped = lock.acquire().await?;
    lock.release_token(stopped.token()).await?;
    let successor = lock.acquire().await?;
    scores.fenced(&successor).insert("alice", &2).await?;
    let late = scores.fenced(&stopped).insert("alice", &1).await;
    assert!(matches!(late, Err(Error::Fenced(_))), "{late:?}");
    assert_eq!(scores.get("alice").await?, Some(2));
    Ok(())
}

#[tokio::test]
async fn every_kind_of_grant_is_a_fence() -> Result<()> {
    let manager = Manager::start().await?;
    let list = manager.list::<u64>("list").await?;
    let level = manager.rlock("rlock").await?.acquire().await?;
    let condition = manager.condition("condition").await?.acquire().await?;
    let permit = manager.semaphore("semaphore", 2).await?.acquire().await?;
    let fences = [Fence::from(&level), Fence::from(&condition), Fence::from(&permit)];
    for fence in fences {
        list.fenced(fence).push(&fence.token()).await?;
    }
    drop((level, condition, permit));
    for fence in fences {
        let late = list.fenced(fence).push(&0).await;
        assert!(matches!(late, Err(Error::Fenced(_))), "{late:?}");
    }
    assert_eq!(list.len().await?, 3);
    Ok(())
}

#[tokio::test]
async fn what_is_fenced_never_waits() -> Result<()> {
    let manager = Manager::start().await?;
    let jobs = manager.queue::<u64>("jobs").maxsize(1).await?;
    let guard = manager.lock("lock").await?.acquire().await?;
    let fenced = jobs.fenced(&guard);
    fenced.put(&1).await?;
    assert!(matches!(fenced.put(&2).await, Err(Error::QueueFull(_))));
    assert_eq!(fenced.get().await?, 1);
    for nothing in [fenced.get().await.map(drop), fenced.lease().await.map(drop)] {
        assert!(matches!(nothing, Err(Error::Empty(_))), "{nothing:?}");
    }
    // Nor with a timeout: whoever gets an answer for one that has passed believes to have waited.
    let long = Duration::from_secs(3600);
    for nothing in [
        fenced.get_timeout(long).await.map(drop),
        fenced.lease_timeout(long).await.map(drop),
        fenced.get_many(2).await.map(drop),
        fenced.get_many_timeout(2, long).await.map(drop),
    ] {
        assert!(matches!(nothing, Err(Error::Empty(_))), "{nothing:?}");
        let said = nothing.unwrap_err().to_string();
        assert!(said.contains("what is fenced does not wait"), "{said}");
    }
    assert_eq!(fenced.try_get().await?, None);
    let join = fenced.join_timeout(long).await;
    assert!(matches!(join, Err(Error::InvalidArgument(_))), "{join:?}");
    fenced.put(&3).await?;
    assert!(matches!(fenced.put_timeout(&4, long).await, Err(Error::QueueFull(_))));
    assert_eq!(fenced.get_timeout(long).await?, Some(3));
    fenced.task_done().await?;
    // The item that was taken is not finished.
    let join = fenced.join().await;
    assert!(matches!(join, Err(Error::InvalidArgument(_))), "{join:?}");
    fenced.task_done().await?;
    fenced.join().await?;
    Ok(())
}

#[tokio::test]
async fn a_fence_of_another_manager_stands_nowhere() -> Result<()> {
    let (here, there) = (Manager::start().await?, Manager::start().await?);
    // Both locks are the first object of their managers, and held.
    let _guard = here.lock("lock").await?.acquire().await?;
    let foreign = there.lock("lock").await?.acquire().await?;
    let set = here.set::<u64>("set").await?;
    assert!(matches!(set.fenced(&foreign).add(&1).await, Err(Error::Fenced(_))));
    assert!(set.is_empty().await?);
    Ok(())
}
